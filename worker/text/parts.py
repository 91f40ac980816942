"""Parts: what the frontend knows of a segment, placed in the source and without gaps between.

A stretch of which nothing can be spoken joins the part before it, or the first one to come.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from shared.alignment import Runs, packed
from worker.text.captions import caption_words
from worker.text.characters import is_hanzi
from worker.text.clean import Cleaned, Removal
from worker.text.passages import LONGEST_SILENCE_MS, Passage, Voicing
from worker.text.speaker import Draft
from worker.text.split import End
from worker.types import Segment, Substitution

SILENCE_MS: Final = {End.HARD: 280, End.PARAGRAPH: 500, End.SOFT: 120}
# A substitution quotes no more of the source than this.
_QUOTED_CHARS: Final = 200
NOTHING: Final = "nothing to speak"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A segment with its words and readings; `spoken` is empty where nothing can be said.

    `pinyin` has one entry for each character of `text`: its surface reading, or None. `caption` is
    the text without markup, `caption_words` how it is spoken; both only where they are asked for.
    """

    start: int
    end: int
    text: str
    spoken: str
    symbols: str | None = None
    words: tuple[str, ...] = ()
    pinyin: tuple[str | None, ...] = ()
    substitutions: tuple[Substitution, ...] = ()
    ends: End = End.HARD
    voicing: Voicing = field(default_factory=Voicing)
    silence_before_ms: int = 0
    silence_after_ms: int | None = None
    syllables: Runs = ()
    caption: str = ""
    caption_words: tuple[tuple[int, int], ...] = ()

    def segment(self, index: int) -> Segment:
        """The part as the engines get it."""
        after = self.silence_after_ms
        return Segment(
            index=index,
            start=self.start,
            end=self.end,
            text=self.text,
            spoken=self.spoken,
            symbols=self.symbols,
            emotion=self.voicing.emotion,
            emotion_intensity=self.voicing.intensity,
            voice=self.voicing.voice,
            speed=self.voicing.speed,
            pitch=self.voicing.pitch,
            volume=self.voicing.volume,
            silence_before_ms=self.silence_before_ms,
            silence_after_ms=SILENCE_MS[self.ends] if after is None else after,
            syllables=self.syllables,
            caption=self.caption,
            caption_words=packed(self.caption_words),
        )


def placed(
    drafts: Iterable[Draft], source: str, base: int, passage: Passage, captions: bool = False
) -> Iterator[Part]:
    """The drafts of a passage as parts whose spans cover `source`, which begins at `base`."""
    shown = _Shown(passage.content, source, base) if captions else None
    removals = list(passage.cleaned.removals)
    held: Part | None = None
    at = base
    for draft in drafts:
        if held is not None:
            yield held
        end = max(at, passage.cleaned.offsets[draft.end])
        held = _part(draft, source[at - base : end - base], at, passage)
        if shown:
            held = shown.captioned(held, draft, passage)
        held, removals = _with_removals(held, source, base, removals)
        at = end
    if held is None:
        silence_ms = passage.silence_before_ms
        held = Part(start=base, end=base, text="", spoken="", silence_before_ms=silence_ms)
    stop = base + len(source)
    if at < stop:
        bare = _bare(at, stop, source[at - base :], shown.text(at, stop) if shown else "")
        held = _joined(held, bare)
    held, _ = _with_removals(held, source, base, removals)
    if passage.silence_after_ms is not None:
        held = replace(held, silence_after_ms=passage.silence_after_ms)
    yield held


def _part(draft: Draft, text: str, at: int, passage: Passage) -> Part:
    offsets = passage.cleaned.offsets
    pinyin: list[str | None] = [None] * len(text)
    for place, reading in draft.pinyin:
        if is_hanzi(text[offsets[place] - at]):
            pinyin[offsets[place] - at] = reading
    substitutions = tuple(
        Substitution(
            start=offsets[u.start],
            end=offsets[u.end],
            text=_quoted(text[offsets[u.start] - at : offsets[u.end] - at]),
            replacement="",
            reason=u.reason,
        )
        for u in draft.unread
    )
    return Part(
        start=at,
        end=at + len(text),
        text=text,
        spoken=draft.spoken,
        symbols=draft.symbols,
        words=draft.words,
        pinyin=tuple(pinyin),
        syllables=draft.syllables,
        substitutions=substitutions,
        ends=draft.ends,
        voicing=passage.voicing,
        silence_before_ms=passage.silence_before_ms if draft.first else 0,
    )


def _quoted(text: str) -> str:
    """Source text as reports carry it: not too long, and without what JSON can not hold."""
    return text[:_QUOTED_CHARS].encode("utf-8", "replace").decode()


class _Shown:
    """A passage's text as captions show it, by places in the source."""

    def __init__(self, content: Cleaned | None, source: str, base: int) -> None:
        self._content = content or Cleaned(text=source, offsets=range(base, base + len(source)))

    def text(self, start: int, end: int) -> str:
        return self._content.text[self._at(start) : self._at(end)]

    def captioned(self, part: Part, draft: Draft, passage: Passage) -> Part:
        """The part with what a caption shows of it."""
        begin, size = self._at(part.start), self._at(part.end) - self._at(part.start)
        offsets = passage.cleaned.offsets

        def place(at: int) -> int:
            return max(0, min(size, self._at(offsets[draft.sentence + at]) - begin))

        text = self.text(part.start, part.end)
        if not part.spoken:
            return replace(part, caption=text)
        spans = [(place(low), place(high)) for low, high in draft.origins]
        return replace(
            part, caption=text, caption_words=tuple(caption_words(text, part.spoken, spans))
        )

    def _at(self, place: int) -> int:
        return bisect_left(self._content.offsets, place)


def _bare(start: int, end: int, text: str, caption: str) -> Part:
    return Part(
        start=start, end=end, text=text, spoken="", pinyin=(None,) * len(text), caption=caption
    )


def _with_removals(
    part: Part, source: str, base: int, removals: list[Removal]
) -> tuple[Part, list[Removal]]:
    """What cleaning took out inside the part's span, as substitutions; the others come back."""
    mine = [r for r in removals if r.start < part.end]
    if not mine:
        return part, removals
    found = tuple(
        Substitution(
            start=r.start,
            end=r.end,
            text=_quoted(source[r.start - base : r.end - base]),
            replacement="",
            reason=r.reason,
        )
        for r in mine
    )
    both = sorted((*part.substitutions, *found), key=lambda s: s.start)
    return replace(part, substitutions=tuple(both)), removals[len(mine) :]


def merged(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts that can be spoken, the others joined to their neighbours; at least one part
    for a text that is not empty."""
    held: Part | None = None
    for part in parts:
        if held is None:
            held = part
        elif not part.spoken or not held.spoken:
            held = _joined(held, part)
        else:
            yield held
            held = part
    if held is None or held.start == held.end:
        return
    if held.spoken and held.silence_after_ms is None:
        # Nothing comes after the last one.
        held = replace(held, silence_after_ms=0)
    yield held if held.spoken else _unspoken(held)


def _joined(first: Part, second: Part) -> Part:
    """Two parts as one, of which at most one is spoken."""
    main = first if first.spoken else second
    before_ms, after_ms = _silences(first, second)
    return replace(
        main,
        start=first.start,
        end=second.end,
        text=first.text + second.text,
        pinyin=first.pinyin + second.pinyin,
        substitutions=first.substitutions + second.substitutions,
        ends=End.PARAGRAPH
        if End.PARAGRAPH in (first.ends, second.ends) and main is first
        else main.ends,
        silence_before_ms=before_ms,
        silence_after_ms=after_ms,
        caption=first.caption + second.caption,
        caption_words=_grown(
            main.caption_words, len(first.caption + second.caption), main is first
        ),
    )


def _silences(first: Part, second: Part) -> tuple[int, int | None]:
    """What is silent before and after two parts as one: what the markup asks around an unspoken
    part adds up on its side of the spoken one."""
    before_ms, after_ms = first.silence_before_ms, second.silence_after_ms
    between_ms = (first.silence_after_ms or 0) + second.silence_before_ms
    if not first.spoken:
        return min(LONGEST_SILENCE_MS, before_ms + between_ms), after_ms
    if after_ms is None and not between_ms:
        return before_ms, first.silence_after_ms
    return before_ms, min(LONGEST_SILENCE_MS, between_ms + (after_ms or 0))


def _grown(
    words: tuple[tuple[int, int], ...], n_chars: int, at_end: bool
) -> tuple[tuple[int, int], ...]:
    """The words with their last or first one so long that all together have `n_chars`."""
    if not words:
        return ()
    place = -1 if at_end else 0
    added = n_chars - sum(size for size, _ in words)
    grown = [*words]
    grown[place] = (grown[place][0] + added, grown[place][1])
    return tuple(grown)


def _unspoken(part: Part) -> Part:
    """A text of which nothing can be spoken is reported as a whole."""
    whole = Substitution(
        start=part.start,
        end=part.end,
        text=_quoted(part.text),
        replacement="",
        reason=NOTHING,
    )
    return replace(part, substitutions=(*part.substitutions, whole))
