"""A passage: cleaned text of one style, what markup fixed in it, and the text spoken for it.

Plain text is one passage after another; SSML makes one for each stretch of equal style. Offsets
into the source are kept for every character through all of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker.text.characters import is_hanzi
from worker.text.clean import Cleaned
from worker.text.normalise import Piece
from worker.text.syllables import Syllable

LONGEST_SILENCE_MS: Final = 10_000  # between two segments, however many breaks there are

# Stands in the text for an element whose reading the markup fixes; cleaning removes these
# (private use) from anything a user writes.
PLACEHOLDERS: Final = range(0xF0000, 0xFFFFE)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What is said for a placeholder: text, with readings or syllables where those are fixed too.

    `whole`: one word, nothing inside is cut. `readings` has one entry for each character.
    """

    spoken: str
    readings: tuple[str, ...] | None = None
    syllables: tuple[Syllable, ...] | None = None
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What of a voice decides how its text is read.

    `symbols` False leaves them out, for engines that take text. `language` other than `zh` keeps
    the text as written, only cleaned and split. An emotion that is not among `emotions` is
    refused; None allows all the model knows.
    """

    language: str = "zh"
    symbols: bool = True
    emotions: frozenset[str] | None = None


# The traits of a voice by the name markup has for it; of the job's own voice for None.
Cast = Callable[[str | None], Traits]


def alone(traits: Traits) -> Cast:
    """The cast of which every voice has the same `traits`."""
    return lambda _: traits


@dataclass(frozen=True, kw_only=True)
class Voicing:
    """How a passage is to be spoken where the markup says so; None leaves it to the request."""

    voice: str | None = None
    emotion: str | None = None
    intensity: float | None = None
    speed: float | None = None
    pitch: float | None = None
    volume: float | None = None


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Text to split and speak in one style, with silences the markup asks for around it.

    `content` is the whole document's text without markup, None where there is no markup.
    """

    cleaned: Cleaned
    content: Cleaned | None = None
    fixed: Mapping[str, Fixed] = field(default_factory=dict)
    voicing: Voicing = field(default_factory=Voicing)
    silence_before_ms: int = 0
    silence_after_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Normalised text with, for every character, where in the cleaned sentence it comes from.

    `origins[i]` are two offsets; they differ by one where the character stands for itself.
    `fixed` are the ranges of `text` that the markup fixed, `numbers` those that are numerals.
    """

    text: str
    origins: Sequence[tuple[int, int]]
    fixed: Sequence[tuple[int, int, Fixed]] = ()
    numbers: Sequence[tuple[int, int]] = ()


_DIGIT: Final = "[零一二三四五六七八九十百千万亿两幺]"
NUMERALS: Final = re.compile(f"{_DIGIT}(?:{_DIGIT}|点(?={_DIGIT}))*")
# In a time of day 点 is a unit of its own.
_CLOCK: Final = re.compile(f"{_DIGIT}+")
_NO_SPACE_BESIDE: Final = frozenset("，。！？、；：…“”‘’（）《》【】")


def speak(pieces: Sequence[Piece], text: str, fixed: Mapping[str, Fixed]) -> Spoken:
    """The words of `pieces` in one string: single spaces, none beside Chinese punctuation."""
    said: list[str] = []
    origins: list[tuple[int, int]] = []
    ranges: list[tuple[int, int, Fixed]] = []
    numbers: list[tuple[int, int]] = []
    for piece in pieces:
        element = fixed.get(text[piece.start]) if fixed else None
        spoken = element.spoken if element else piece.spoken
        begin = len(said)
        if piece.plain and element is None and " " not in spoken:
            said += spoken
            ends = range(piece.start + 1, piece.end + 1)
            origins += zip(range(piece.start, piece.end), ends, strict=True)
            continue
        for char, origin in zip(spoken, _origins(piece, spoken, text), strict=True):
            if char == " " and (not said or said[-1] == " " or said[-1] in _NO_SPACE_BESIDE):
                continue
            if char in _NO_SPACE_BESIDE and said and said[-1] == " " and len(said) > begin:
                said.pop()
                origins.pop()
            said.append(char)
            origins.append(origin)
        if element:
            ranges.append((begin, len(said), element))
        elif not piece.plain:
            pattern = _CLOCK if piece.rule.startswith("clock") else NUMERALS
            found = pattern.finditer("".join(said[begin:]))
            numbers += [(begin + m.start(), begin + m.end()) for m in found]
    if said and said[-1] == " ":
        said.pop()
        origins.pop()
    return Spoken(text="".join(said), origins=origins, fixed=ranges, numbers=numbers)


def _origins(piece: Piece, spoken: str, text: str) -> list[tuple[int, int]]:
    if piece.plain:
        return [(i, i + 1) for i in range(piece.start, piece.end)]
    origins = [(piece.start, piece.end)] * len(spoken)
    # Chinese characters that a rule took along still stand for themselves.
    at = 0
    for i in range(piece.start, piece.end):
        if is_hanzi(text[i]):
            found = spoken.find(text[i], at)
            if found >= 0:
                origins[found] = (i, i + 1)
                at = found + 1
    return origins
