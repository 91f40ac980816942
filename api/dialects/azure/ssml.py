"""Azure's SSML as the farm's: voices, styles and prosody under our names, the rest as it is.

Parsed by expat, with document types, entities and processing instructions refused. What would
change the words, or mix in other sound, and has no counterpart is an error; hints about pauses
and pronunciation styles that have none are left out. What our own elements may hold is checked
by the worker that speaks them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from api.dialects.azure.names import FindVoice
from api.dialects.azure.values import emotion_of, read_pitch, read_rate, read_volume
from shared.schemas import Voice

MAX_BYTES: Final = 64 * 1024  # of one document, as the farm reads them
LONGEST_BREAK_MS, SHORTEST_BREAK_MS = 10_000, 50
SAY_AS: Final = {
    "cardinal": "cardinal", "number": "cardinal", "digits": "digits", "number_digit": "digits",
    "characters": "characters", "spell-out": "characters", "telephone": "telephone",
    "address": "address", "date": "date", "time": "time", "currency": "currency", "name": "name",
    "unit": "measure",
}  # fmt: skip
UNDONE: Final = frozenset(
    {"audio", "lexicon", "math", "mstts:backgroundaudio", "mstts:audioduration", "mstts:dialog",
     "mstts:voiceconversion", "mstts:ttsembedding"}
)  # fmt: skip
HINTS: Final = frozenset({"bookmark", "mstts:silence", "mstts:viseme"})
WRAPPERS: Final = frozenset({"lang", "emphasis"})
_SYLLABLE: Final = re.compile(r"([a-zü:]+)\s*([1-5])")
_SECONDS: Final = re.compile(r"\+?([0-9]{1,5}(?:\.[0-9]{1,3})?)(s|ms)")


class MarkupFaultError(ValueError):
    """What is wrong with a document, with its line."""


@dataclass(frozen=True, kw_only=True)
class Markup:
    """A document in the farm's SSML, and the name of its first voice, None where it names none."""

    ssml: str
    voice: str | None


def translated(source: str, find_voice: FindVoice) -> Markup:
    """The document in the farm's own elements.

    `find_voice` gives the voice behind a name of Azure's, the default one for None. Raises
    `MarkupFaultError`, and what `find_voice` raises.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise MarkupFaultError(
            f"the document has {size} bytes, at most {MAX_BYTES} are read; split it"
        )
    return _Translation(find_voice).run(source)


class _Translation:
    def __init__(self, find_voice: FindVoice) -> None:
        self._find_voice = find_voice
        self._out: list[str] = []
        self._closing: list[str] = []
        self._voices: list[Voice] = []
        self._first: str | None = None
        self._parser = self._make()

    def _make(self) -> Any:
        parser = expat.ParserCreate("utf-8")
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self._end()
        parser.CharacterDataHandler = lambda text: self._out.append(escape(text))
        for name in ("StartDoctypeDecl", "EntityDecl", "ProcessingInstruction", "SkippedEntity"):
            setattr(parser, f"{name}Handler", self._refuse)
        return parser

    def _refuse(self, *_: object) -> None:
        raise self._fault("document types, entities and processing instructions are not read")

    def _fault(self, message: str) -> MarkupFaultError:
        return MarkupFaultError(f"line {self._parser.CurrentLineNumber}: {message}")

    def run(self, source: str) -> Markup:
        try:
            self._parser.Parse(source.encode("utf-8", "surrogatepass"), True)
        except expat.ExpatError as error:
            raise self._fault(
                f"the markup is not well-formed: {expat.ErrorString(error.code)}"
            ) from error
        return Markup(ssml="".join(self._out).strip(), voice=self._first)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._closing and name != "speak":
            raise self._fault(f"the document is a <{name[:40]}>, not a <speak>")
        if name in UNDONE:
            raise self._fault(f"the farm has nothing like <{name}>")
        make = _ELEMENTS.get(name)
        if make is None and name not in HINTS and name not in WRAPPERS:
            raise self._fault(f"<{name[:40]}> is not known")
        try:
            tag, given = make(self, attributes) if make else ("", {})
        except ValueError as error:
            raise self._fault(f"<{name}>: {error}") from error
        self._closing.append(f"</{tag}>" if tag else "")
        if tag:
            pairs = "".join(f" {key}={quoteattr(value)}" for key, value in given.items())
            self._out.append(f"<{tag}{pairs}>")

    def _end(self) -> None:
        closing = self._closing.pop()
        self._out.append(closing)
        if closing == "</voice>":
            self._voices.pop()

    # Elements: the tag and attributes in their place, no tag where only their content stays.

    def speak(self, _: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        if self._closing:
            raise ValueError("stands inside another element")
        return "speak", {}

    def voice(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        if "name" not in attributes:
            raise ValueError("needs a name")
        if attributes.get("effect"):
            raise ValueError("the farm has no effects")
        found = self._find_voice(attributes["name"]).voice
        self._voices.append(found)
        self._first = self._first or found.name
        return "voice", {"name": found.name}

    def express_as(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        voice = self._voices[-1] if self._voices else self._find_voice(None).voice
        emotion = emotion_of(attributes.get("style", ""), voice.emotions)
        if emotion is None:
            return "", {}
        given = {"category": emotion}
        if "styledegree" in attributes:
            given["intensity"] = f"{read_degree(attributes['styledegree']):g}"
        return "emotion", given

    def prosody(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        for name in ("contour", "range"):
            if name in attributes:
                raise ValueError(f"the farm has no {name}")
        given = {}
        if "rate" in attributes:
            given["rate"] = f"{round(read_rate(attributes['rate']) * 100, 3):g}%"
        if "pitch" in attributes:
            given["pitch"] = f"{round(read_pitch(attributes['pitch']), 3):+g}st"
        if "volume" in attributes:
            given["volume"] = str(round(read_volume(attributes["volume"]) * 50))
        return ("prosody", given) if given else ("", {})

    def pause(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        time = attributes.get("time")
        if time is None:
            return "break", {"strength": attributes.get("strength", "medium")}
        found = _SECONDS.fullmatch(time.strip())
        ms = round(float(found[1]) * (1000 if found[2] == "s" else 1)) if found else -1
        if not 0 <= ms <= LONGEST_BREAK_MS:
            raise ValueError(f"time is up to {LONGEST_BREAK_MS}ms, such as 750ms or 1.5s")
        return ("break", {"time": f"{ms}ms"}) if ms >= SHORTEST_BREAK_MS else ("", {})

    def say_as(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        kind = SAY_AS.get(attributes.get("interpret-as", ""))
        return ("say-as", {"interpret-as": kind}) if kind else ("", {})

    def phoneme(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        alphabet, ph = attributes.get("alphabet", "ipa"), attributes.get("ph", "")
        syllables = _SYLLABLE.findall(ph)
        if alphabet != "sapi" or _SYLLABLE.sub("", ph).strip(" -&"):
            raise ValueError('the farm reads pinyin with tones: alphabet="sapi" ph="zeng 1"')
        return "phoneme", {"alphabet": "py", "ph": " ".join("".join(one) for one in syllables)}

    def sub(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        return "sub", {"alias": attributes.get("alias", "")}

    def sentence(self, _: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        return "s", {}

    def paragraph(self, _: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        return "p", {}


def read_degree(given: str | float) -> float:
    """The intensity of a style, 0.01 to 2."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", str(given)) or not 0.01 <= float(given) <= 2:
        raise ValueError("styledegree is a number from 0.01 to 2")
    return float(given)


_Element = Callable[[_Translation, Mapping[str, str]], tuple[str, dict[str, str]]]
_ELEMENTS: Final[dict[str, _Element]] = {
    "speak": _Translation.speak,
    "voice": _Translation.voice,
    "mstts:express-as": _Translation.express_as,
    "prosody": _Translation.prosody,
    "break": _Translation.pause,
    "say-as": _Translation.say_as,
    "phoneme": _Translation.phoneme,
    "sub": _Translation.sub,
    "s": _Translation.sentence,
    "p": _Translation.paragraph,
}
