"""Words of normalised text with their part of speech: rjieba on the Chinese, the rest as it is."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

import rjieba

from worker.text import tables
from worker.text.characters import HANZI, LATIN

_TOKEN: Final = re.compile(
    f"(?P<hanzi>[{HANZI}]+)|(?P<latin>[{LATIN}]+(?:['’][{LATIN}]+)*)|(?P<space>[ \n]+)|(?P<mark>.)",
    re.DOTALL,
)
_NUMERALS: Final = "零一二三四五六七八九十百千万亿两幺点"
_NUMBER: Final = re.compile(f"[{_NUMERALS}]+")
# Digits with the unit that closes them: 三百, 二十五万, 点五.
_UNITS: Final = re.compile("点?[零一二三四五六七八九两幺]*[十百千万亿]*")
_LONGEST_NUMBER: Final = 5
_DIGIT_GROUP: Final = 4
# After a numeral these are its unit, whatever longer word the dictionary sees.
_UNIT_CHARS: Final = frozenset("年月日号点时分秒个元人岁天次米")


class WordKind(StrEnum):
    """What a word is made of."""

    HANZI = "hanzi"
    LATIN = "latin"
    SPACE = "space"
    MARK = "mark"


_KINDS: Final = {kind.value: kind for kind in WordKind}
# Parts of speech among which a number or demonstrative may hold its measure word.
_COMES_APART: Final = frozenset(("m", "r", "t"))


class Word(NamedTuple):
    """A word at `start` in the spoken text; `tag` is jieba's part of speech, or empty.

    A tuple, because texts are made of these and a frozen dataclass takes three times as long.
    """

    text: str
    start: int
    kind: WordKind
    tag: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Segmenter:
    """Cuts text into words; the dictionary is jieba's, inside rjieba. Safe across threads."""

    def __init__(self, extra: Iterable[tuple[str, int, str]] = ()) -> None:
        self._jieba = rjieba.Jieba()
        self._joined = tables.mapping("joined_words.tsv")
        for word, weight, tag in extra:
            self._jieba.add_word(word, weight, tag)

    def has_word(self, word: str) -> bool:
        """Whether the dictionary has `word`."""
        return bool(self._jieba.has_word(word))

    def words(self, spoken: str, numbers: Sequence[tuple[int, int]] = ()) -> list[Word]:
        """The words of `spoken`, in order, covering all of it; each of `numbers` is one word."""
        found: list[Word] = []
        at = 0
        for begin, end in numbers:
            self._text(spoken[at:begin], at, found)
            kind = WordKind.HANZI
            found.append(Word(text=spoken[begin:end], start=begin, kind=kind, tag="m"))
            at = end
            if (
                spoken[at : at + 1]
                and spoken[at] in _UNIT_CHARS
                and not self._unit_word(spoken, at)
            ):
                found.append(Word(text=spoken[at], start=at, kind=kind, tag="q"))
                at += 1
        self._text(spoken[at:], at, found)
        return found

    def _unit_word(self, spoken: str, at: int) -> bool:
        """Whether a longer measure word begins at `at`: 分钟, 个月, 年代."""
        return spoken.startswith(_long_measures(), at)

    def _text(self, text: str, at: int, found: list[Word]) -> None:
        for match in _TOKEN.finditer(text):
            kind = _KINDS[match.lastgroup or ""]
            start = at + match.start()
            if kind is WordKind.HANZI:
                self._cut(match.group(), start, found)
            else:
                tag = "eng" if kind is WordKind.LATIN else ""
                found.append(Word(match.group(), start, kind, tag))

    def _corrected(self, word: str, tag: str) -> list[tuple[str, str]]:
        """A word of jieba's; the few it lists that are two words come apart."""
        joined = self._joined.get(word)
        if joined is None:
            return _parts(word, tag)
        tagged = (pair for part in joined.split(" ") for pair in self._jieba.tag(part))
        return [pair for one in tagged for pair in _parts(*one)]

    def _cut(self, text: str, at: int, found: list[Word]) -> None:
        kind = WordKind.HANZI
        for word, tag in self._jieba.tag(text):
            if tag not in _COMES_APART and word not in self._joined:
                found.append(Word(word, at, kind, tag))
                at += len(word)
                continue
            for part, part_tag in self._corrected(word, tag):
                found.append(Word(part, at, kind, part_tag))
                at += len(part)


def _parts(word: str, tag: str) -> list[tuple[str, str]]:
    """A number or demonstrative glued to its measure word comes apart: 三个, 这种, 二零二六年."""
    if tag not in _COMES_APART or len(word) < 2:
        return [(word, tag)]
    if word[0] in "这那每各某哪":
        cut, head = 1, "r"
    else:
        number = _NUMBER.match(word)
        cut, head = (number.end() if number else 0), "m"
    rest = word[cut:]
    if not cut or word in tables.word_set("prosody.tsv", "whole") or rest not in _measures():
        return [(word, tag)]
    return [(word[:cut], head), (rest, "q")]


def _measures() -> frozenset[str]:
    return tables.word_set("measures.tsv", "measure")


@cache
def _long_measures() -> tuple[str, ...]:
    return tuple(word for word in tables.words("measures.tsv", "measure") if len(word) > 1)


def breathed(word: Word) -> list[Word]:
    """A long numeral in parts of a few syllables, as it is said; any other word as it is."""
    if word.tag != "m" or len(word.text) <= _LONGEST_NUMBER or not _NUMBER.fullmatch(word.text):
        return [word]
    units = [unit for unit in _UNITS.findall(word.text) if unit]
    if len(units) == 1:
        text = word.text
        units = [text[i : i + _DIGIT_GROUP] for i in range(0, len(text), _DIGIT_GROUP)]
    parts: list[str] = []
    for unit in units:
        if parts and len(parts[-1]) + len(unit) <= _LONGEST_NUMBER:
            parts[-1] += unit
        else:
            parts.append(unit)
    found, at = [], word.start
    for part in parts:
        found.append(Word(text=part, start=at, kind=word.kind, tag="m"))
        at += len(part)
    return found
