"""The frontend: text or SSML in, segments with spoken text and symbols out, as a stream.

Everything between is in the modules beside this one; here they meet. Data is loaded at the first
use, once for the process that holds the `Frontend`.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.errors import TextTooLong
from worker.text import ssml
from worker.text.clean import clean
from worker.text.parts import Part, merged, placed
from worker.text.passages import Cast, Passage, Traits, alone
from worker.text.speaker import Draft, Speaker
from worker.text.split import blocks, sentences
from worker.text.symbols import Style
from worker.types import Segment, Substitution

MANDARIN: Final = alone(Traits())


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read a job's text.

    `cast` has the traits of the job's voice, and of those that SSML may name. `max_chars` refuses
    longer texts. `captions` adds to each segment what a caption shows of it.
    """

    markup: Literal["text", "ssml"] = "text"
    cast: Cast = MANDARIN
    style: Style = field(default_factory=Style)
    lenient: bool = False
    max_chars: int | None = None
    captions: bool = False


class Frontend:
    """Text to segments. Safe to share between threads; `lexicon` maps words to their readings."""

    def __init__(self, lexicon: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._lexicon = dict(lexicon or {})
        self._lock = threading.Lock()
        self._loaded: Speaker | None = None

    def load(self, *, symbols: bool = True) -> None:
        """Loads the data ahead of the first text; without `symbols` only what texts need."""
        speaker = self._speaker()
        if symbols:
            speaker.load_readings()

    def _speaker(self) -> Speaker:
        with self._lock:
            if self._loaded is None:
                self._loaded = Speaker(self._lexicon)
            return self._loaded

    def segments(
        self,
        text: str | Iterable[str],
        options: Options | None = None,
        substitutions: list[Substitution] | None = None,
    ) -> Iterator[Segment]:
        """The segments of `text` in reading order, made as they are asked for.

        Their spans follow one another and cover the text. What could not be spoken as written is
        added to `substitutions`. Text of which nothing can be spoken gives no segment. Raises
        `TextTooLong`, and for SSML `ssml.InvalidMarkup`, which names line and column, and what
        `cast` raises.
        """
        index = 0
        for part in self.parts(text, options):
            if substitutions is not None:
                substitutions.extend(part.substitutions)
            if part.spoken:
                yield part.segment(index)
                index += 1

    def parts(self, text: str | Iterable[str], options: Options | None = None) -> Iterator[Part]:
        """The segments with their words and readings, for those who look closer.

        Text of which nothing can be spoken gives one part whose `spoken` is empty.
        """
        chosen = options or Options()
        chunks = [text] if isinstance(text, str) else text
        if chosen.markup == "ssml":
            passages: Iterable[tuple[str, int, Passage]] = ssml.passages(
                "".join(chunks), cast=chosen.cast, lenient=chosen.lenient
            )
        else:
            passages = _plain(chunks, chosen.max_chars)
        speaker = self._speaker()
        return merged(
            part
            for source, base, passage in passages
            for part in placed(
                _drafts(speaker, passage, chosen), source, base, passage, chosen.captions
            )
        )


def _drafts(speaker: Speaker, passage: Passage, options: Options) -> Iterator[Draft]:
    traits = options.cast(passage.voicing.voice)
    for sentence in sentences(passage.cleaned.text):
        yield from speaker.drafts(passage, sentence, options.style, traits)


def _plain(chunks: Iterable[str], max_chars: int | None) -> Iterator[tuple[str, int, Passage]]:
    base = 0
    for block in blocks(chunks):
        if max_chars is not None and base + len(block) > max_chars:
            raise TextTooLong(f"The text is longer than {max_chars} characters", limit=max_chars)
        yield block, base, Passage(cleaned=clean(block, base))
        base += len(block)
