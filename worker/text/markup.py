"""What each SSML element means: builds passages from starts, ends and text with their places."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from shared.errors import InvalidMarkup
from worker.text import say_as, tables
from worker.text.clean import Cleaned, Removal, clean
from worker.text.passages import (
    LONGEST_SILENCE_MS,
    PLACEHOLDERS,
    Cast,
    Fixed,
    Passage,
    Voicing,
)
from worker.text.prosody_values import BadValueError, aliyun, prosody
from worker.text.spelled import cmu, pinyin
from worker.text.symbols import inventory

_SEGMENT_BREAK_MS: Final = 200
_COMMA_BREAK_MS: Final = 100
_SHOWN_CHARS: Final = 40
_STRENGTHS: Final = {"none": 0, "x-weak": 50, "weak": 100, "medium": 400, "strong": 700,
                     "x-strong": 1000}  # fmt: skip
_INLINE: Final = frozenset(["break", "w", "sub", "phoneme", "say-as"])
_CONTENT: Final = {
    "speak": _INLINE | {"voice", "emotion", "prosody", "s", "p"},
    "voice": _INLINE | {"emotion", "prosody", "s", "p"},
    "prosody": _INLINE | {"voice", "emotion", "prosody", "s", "p"},
    "p": _INLINE | {"emotion", "prosody", "s", "voice"},
    "emotion": _INLINE | {"s", "p", "prosody"},
    "s": _INLINE | {"emotion", "prosody"},
    "w": frozenset(["phoneme", "sub", "say-as"]),
    "sub": frozenset[str](),
    "phoneme": frozenset[str](),
    "say-as": frozenset[str](),
    "break": frozenset[str](),
}
ATTRIBUTES: Final = {
    "speak": ["voice", "rate", "pitch", "volume", "encodeType", "sampleRate", "xml:lang"],
    "voice": ["name"],
    "emotion": ["category", "intensity"],
    "prosody": ["rate", "pitch", "volume"],
    "break": ["time", "strength"],
    "sub": ["alias"],
    "phoneme": ["alphabet", "ph"],
    "say-as": ["interpret-as"],
    "s": ["xml:lang"],
    "p": ["xml:lang"],
    "w": [],
}
_FORBIDDEN: Final = ("bgm", "backgroundMusicVolume", "effect", "effectValue")


@dataclass(kw_only=True)
class _Open:
    """An element that is open: what it collects for itself, and the style around it."""

    name: str
    attributes: dict[str, str]
    start: int
    outer: Voicing
    text: str = ""


@dataclass(kw_only=True)
class _Draft:
    """A passage being collected: cleaned text with the source offset of each character."""

    start: int
    voicing: Voicing
    silence_before_ms: int = 0
    parts: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    cleaned: list[Cleaned] = field(default_factory=list)
    fixed: dict[str, Fixed] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not any(part.strip() for part in self.parts)


class Builder:
    """Collects a document; `finish` gives its passages."""

    def __init__(self, source: str, *, cast: Cast, lenient: bool) -> None:
        self._source = source
        self._cast = cast
        self._lenient = lenient
        self._open: list[_Open] = []
        self._done: list[tuple[_Draft, int | None]] = []
        self._draft = _Draft(start=0, voicing=Voicing())
        self._stripped: list[str] = []
        self._content: list[str] = []
        self._places: list[int] = []
        self._silence_ms = 0
        self._breaks = 0

    def spoken(self, kind: str, text: str) -> str:
        """What is said for an element's text as `kind`; `text` is a kind, too."""
        return say_as.spoken(kind, text) if self.chinese else clean(text).text.strip()

    @property
    def chinese(self) -> bool:
        """Whether the voice at hand is; otherwise what elements say is kept as written."""
        return self._cast(self._draft.voicing.voice).language == "zh"

    def check_emotion(self, emotion: str, voice: str | None, place: int) -> None:
        """Raises `InvalidMarkup` where `voice` has no such emotion."""
        emotions = self._cast(voice).emotions
        if emotions is None:
            emotions = inventory("emotions") - {"none"}
        if emotion not in emotions:
            shown, known = emotion[:_SHOWN_CHARS], ", ".join(sorted(emotions))
            raise self.error("unsupported_emotion", f"{shown} is none of {known}", place)

    def error(self, code: str, message: str, place: int) -> InvalidMarkup:
        """The error at a character of the source, with its line and column from 1."""
        before = self._source[:place]
        line = before.count("\n") + 1
        column = place - (before.rfind("\n") + 1) + 1
        return InvalidMarkup(code, message, line=line, column=column)

    def start(self, name: str, attributes: dict[str, str], place: int) -> None:
        if name not in _CONTENT:
            if not self._lenient or ":" in name:
                raise self.error(
                    "unknown_tag", f"The tag <{name[:_SHOWN_CHARS]}> is not read", place
                )
            self._stripped.append(name)
            return
        parent = self._open[-1].name if self._open else None
        self._check_place(name, parent, place)
        self._check_attributes(name, attributes, place)
        outer = self._draft.voicing
        self._open.append(_Open(name=name, attributes=attributes, start=place, outer=outer))
        if name in _OPENING:
            voicing = _OPENING[name](self, attributes, outer, place)
            self._split(place, voicing)
        elif name in ("s", "p"):
            self._split(place, outer)
        elif name == "break":
            self._pause(attributes, place)

    def _check_place(self, name: str, parent: str | None, place: int) -> None:
        if name == "speak":
            if self._open:
                raise self.error("nested_speak", "<speak> stands inside another element", place)
        elif parent is None:
            raise self.error("unknown_tag", f"<{name}> stands outside <speak>", place)
        elif name not in _CONTENT[parent]:
            raise self.error("bad_nesting", f"<{name}> can not stand in <{parent}>", place)

    def _check_attributes(self, name: str, attributes: dict[str, str], place: int) -> None:
        for key in attributes:
            if key in ATTRIBUTES[name] or key == "xml:lang":
                continue
            why = "is not supported" if key in _FORBIDDEN else f"is not known on <{name}>"
            raise self.error(
                "unknown_attribute", f"The attribute {key[:_SHOWN_CHARS]} {why}", place
            )

    def end(self, name: str, place: int) -> None:
        if self._stripped and self._stripped[-1] == name and name not in _CONTENT:
            self._stripped.pop()
            return
        element = self._open.pop()
        if name in _OPENING or name in ("s", "p"):
            self._split(place, element.outer, after_ms=500 if name == "p" else None)
        elif name in _CLOSING:
            self._add_fixed(_CLOSING[name](self, element), element)
            self._report_lost(element, place)
        elif name == "speak":
            self._split(place, element.outer)

    def text(self, text: str, place: int, *, literal: bool) -> None:
        """Character data at `place`; not `literal` where a reference stands for it."""
        self._content.append(text)
        self._places += range(place, place + len(text)) if literal else [place] * len(text)
        if self._open and self._open[-1].name in _CLOSING:
            self._open[-1].text += text
            return
        if self._open and self._open[-1].name == "break":
            raise self.error("bad_nesting", "<break> holds text", place)
        draft = self._draft
        cleaned = clean(text, place)
        if not literal:
            # A reference such as &#x4f60; stands for one character of the text.
            removals = tuple(replace(r, start=place, end=place + 1) for r in cleaned.removals)
            offsets = [place] * (len(cleaned.text) + 1)
            cleaned = Cleaned(text=cleaned.text, offsets=offsets, removals=removals)
        draft.parts.append(cleaned.text)
        draft.offsets.extend(cleaned.offsets[:-1])
        draft.cleaned.append(cleaned)

    def _add_fixed(self, fixed: Fixed, element: _Open) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.name == "w":
            parent.text += fixed.spoken
            return
        self._place_fixed(fixed, element.start)

    def _report_lost(self, element: _Open, place: int) -> None:
        """What of an element's text or alias can not be said is reported for the whole element."""
        said = element.attributes.get("alias", element.text)
        reason = say_as.lost(said) if self.chinese else ""
        if reason and element.name != "phoneme":
            removal = Removal(start=element.start, end=place, reason=reason)
            self._draft.cleaned.append(Cleaned(text="", offsets=(place,), removals=(removal,)))

    def _place_fixed(self, fixed: Fixed, place: int) -> None:
        draft = self._draft
        char = chr(PLACEHOLDERS.start + len(draft.fixed))
        draft.fixed[char] = fixed
        draft.parts.append(char)
        draft.offsets.append(place)

    def _split(self, place: int, voicing: Voicing, after_ms: int | None = None) -> None:
        """Ends the passage at `place`; an empty one only changes its style."""
        if self._draft.empty:
            self._draft.voicing = voicing
            if after_ms and self._done and self._done[-1][1] is None:
                self._done[-1] = (self._done[-1][0], after_ms)
            return
        self._done.append((self._draft, after_ms))
        self._draft = _Draft(start=place, voicing=voicing)

    def _pause(self, attributes: dict[str, str], place: int) -> None:
        duration_ms = _break_ms(self, attributes, place)
        self._breaks += 1
        if duration_ms < _SEGMENT_BREAK_MS and not self._draft.empty:
            if duration_ms:
                mark = "，" if duration_ms >= _COMMA_BREAK_MS else "、"
                mark = mark if self.chinese else ", "
                self._place_fixed(Fixed(spoken=mark), place)
            return
        self._split(place, self._draft.voicing)
        if self._done:
            draft, after_ms = self._done[-1]
            total = min(LONGEST_SILENCE_MS, (after_ms or 0) + duration_ms)
            self._done[-1] = (draft, total)
        else:
            self._silence_ms = min(LONGEST_SILENCE_MS, self._silence_ms + duration_ms)

    def finish(self) -> list[tuple[str, int, Passage]]:
        """The passages; together they cover the source."""
        if not self._draft.empty or not self._done:
            self._done.append((self._draft, None))
        self._done[0][0].silence_before_ms = self._silence_ms
        if self._breaks and all(draft.empty for draft, _ in self._done):
            raise self.error("no_text", "There is nothing to speak but breaks", 0)
        content = Cleaned(text="".join(self._content), offsets=self._places)
        starts = [0, *(draft.start for draft, _ in self._done[1:]), len(self._source)]
        return [
            (self._source[a:b], a, _passage(draft, b, after_ms, content))
            for (draft, after_ms), a, b in zip(self._done, starts, starts[1:], strict=False)
        ]


def _passage(draft: _Draft, end: int, after_ms: int | None, content: Cleaned) -> Passage:
    removals = tuple(r for cleaned in draft.cleaned for r in cleaned.removals)
    cleaned = Cleaned(text="".join(draft.parts), offsets=[*draft.offsets, end], removals=removals)
    return Passage(
        cleaned=cleaned,
        content=content,
        fixed=draft.fixed,
        voicing=draft.voicing,
        silence_before_ms=draft.silence_before_ms,
        silence_after_ms=after_ms,
    )


def _break_ms(builder: Builder, attributes: dict[str, str], place: int) -> int:
    time, strength = attributes.get("time"), attributes.get("strength")
    if time is None:
        if strength is None:
            return 1000
        if strength not in _STRENGTHS:
            raise builder.error(
                "bad_attribute", f"strength is one of {', '.join(_STRENGTHS)}", place
            )
        return _STRENGTHS[strength]
    match = re.fullmatch(r"([0-9]{1,5})(s|ms)", time)
    duration_ms = int(match.group(1)) * (1000 if match.group(2) == "s" else 1) if match else 0
    if not match or not 50 <= duration_ms <= LONGEST_SILENCE_MS:
        raise builder.error("bad_attribute", "time is 1s to 10s or 50ms to 10000ms", place)
    return duration_ms


def _speak(builder: Builder, attributes: dict[str, str], outer: Voicing, place: int) -> Voicing:
    try:
        speed, pitch, volume = aliyun(attributes)
    except BadValueError as error:
        raise builder.error("bad_attribute", str(error), place) from error
    return replace(outer, voice=attributes.get("voice"), speed=speed, pitch=pitch, volume=volume)


def _voice(builder: Builder, attributes: dict[str, str], outer: Voicing, place: int) -> Voicing:
    if not attributes.get("name"):
        raise builder.error("bad_attribute", "<voice> needs a name", place)
    if outer.emotion:
        builder.check_emotion(outer.emotion, attributes["name"], place)
    return replace(outer, voice=attributes["name"])


def _emotion(builder: Builder, attributes: dict[str, str], outer: Voicing, place: int) -> Voicing:
    category = attributes.get("category")
    if not category:
        raise builder.error("bad_attribute", "<emotion> needs a category", place)
    builder.check_emotion(category, outer.voice, place)
    written = attributes.get("intensity", "1.0")
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", written) or not 0.01 <= float(written) <= 2:
        raise builder.error("bad_attribute", "intensity is a number from 0.01 to 2.0", place)
    return replace(outer, emotion=category, intensity=float(written))


def _prosody(builder: Builder, attributes: dict[str, str], outer: Voicing, place: int) -> Voicing:
    try:
        speed, pitch, volume = prosody(attributes)
    except BadValueError as error:
        raise builder.error("bad_attribute", str(error), place) from error
    return replace(
        outer,
        speed=_product(speed, outer.speed),
        pitch=outer.pitch if pitch is None else pitch + (outer.pitch or 0.0),
        volume=_product(volume, outer.volume),
    )


def _product(factor: float | None, outer: float | None) -> float | None:
    if factor is None or outer is None:
        return outer if factor is None else factor
    return factor * outer


def _sub(builder: Builder, element: _Open) -> Fixed:
    alias = element.attributes.get("alias", "")
    if not 1 <= len(alias) <= 200:
        raise builder.error("bad_attribute", "alias has 1 to 200 characters", element.start)
    return Fixed(spoken=builder.spoken("text", alias))


def _word(builder: Builder, element: _Open) -> Fixed:
    return Fixed(spoken=builder.spoken("text", element.text), whole=True)


def _phoneme(builder: Builder, element: _Open) -> Fixed:
    alphabet, written = element.attributes.get("alphabet"), element.attributes.get("ph", "")
    text = clean(element.text).text.strip()
    if alphabet not in ("py", "cmu") or not written:
        raise builder.error(
            "bad_attribute", "<phoneme> needs alphabet py or cmu, and ph", element.start
        )
    if alphabet == "cmu":
        syllables = cmu(written)
        if not syllables or not text:
            raise builder.error("bad_phone", "ph is no ARPAbet word", element.start)
        return Fixed(spoken=text, syllables=syllables, whole=True)
    readings = pinyin(written)
    if readings is None:
        raise builder.error("bad_pinyin", "ph is no pinyin with tones 1 to 5", element.start)
    filled = [part for r in readings for part in ([r, ""] if _is_erhua(r) else [r])]
    if len(filled) != len(text):
        filled = readings
    if len(filled) != len(text):
        raise builder.error(
            "phoneme_count", "ph has not one syllable for each character", element.start
        )
    return Fixed(spoken=text, readings=tuple(filled), whole=True)


def _is_erhua(reading: str) -> bool:
    return reading[:-1].endswith("r") and reading[:-1] != "er"


def _say_as(builder: Builder, element: _Open) -> Fixed:
    kind = element.attributes.get("interpret-as", "")
    if kind not in tables.words("say_as.tsv", "kinds"):
        known = ", ".join(tables.words("say_as.tsv", "kinds"))
        raise builder.error("bad_attribute", f"interpret-as is one of {known}", element.start)
    text = clean(element.text).text
    readings = say_as.readings(kind, text) if builder.chinese else None
    return Fixed(spoken=builder.spoken(kind, text), readings=readings)


_Opening = Callable[[Builder, dict[str, str], Voicing, int], Voicing]
_OPENING: Final[dict[str, _Opening]] = {
    "speak": _speak, "voice": _voice, "emotion": _emotion, "prosody": _prosody,
}  # fmt: skip
_CLOSING: Final[dict[str, Callable[[Builder, _Open], Fixed]]] = {
    "sub": _sub, "w": _word, "phoneme": _phoneme, "say-as": _say_as,
}  # fmt: skip
