"""The scan that asks the rule families, and the pieces it makes."""

import re
import unicodedata
from typing import Final, NamedTuple

from worker.text import tables
from worker.text.characters import HANZI
from worker.text.normalise import (
    cardinals,
    codes,
    dates,
    english,
    latin,
    maths,
    measures,
    money,
    phones,
    ranges,
    ratios,
    signs,
    times,
    versions,
    web,
)
from worker.text.normalise.hant import Simplifier
from worker.text.normalise.rule import Rule
from worker.text.normalise.spaces import loosen, tighten

# Punctuation that stays as it is, to become a pause later or nothing.
MARKS: Final = "，。！？、；：“”‘’（）《》〈〉「」『』【】〔〕…—·,;:!?.()[]{}\"'‐–-~ \n"
_PLAIN: Final = re.compile(f"[{HANZI}，。！？、；：“”‘’（）《》「」『』【】… \n]+")
# A circle typed for 〇: 二○○九年.
_CIRCLE: Final = re.compile("(?<=[〇○一二三四五六七八九])○(?=[〇○一二三四五六七八九年月日])")
_FAMILIES: Final = (
    web, dates, times, phones, codes, versions, ratios, money, measures, ranges, maths, latin,
    cardinals, signs,
)  # fmt: skip


class Piece(NamedTuple):
    """Part of a sentence and what is said for it.

    `start` and `end` are offsets into the cleaned sentence. `plain`: character for character.
    `rule` names what spoke it. `unread` says why nothing is said for it, empty for layout.
    """

    start: int
    end: int
    spoken: str
    rule: str
    plain: bool = False
    unread: str = ""


class _Family(NamedTuple):
    """Rules with one pattern that matches wherever one of theirs does, to be asked first."""

    any_rule: re.Pattern[str]
    rules: tuple[Rule, ...]


def _gated(rules: tuple[Rule, ...]) -> _Family:
    patterns = "|".join(f"(?:{rule.pattern.pattern})" for rule in rules)
    return _Family(any_rule=re.compile(patterns), rules=rules)


class Normaliser:
    """The rules with their data, built once; `pieces` is safe to call from several threads."""

    def __init__(self) -> None:
        self._rules = tuple(_gated(family.rules()) for family in _FAMILIES)
        self._english = (_gated(english.rules()), *self._rules)
        self._signs = tables.mapping("signs.tsv")
        self._simplifier = Simplifier()

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of a cleaned sentence, one after the other, covering all of it."""
        rules = self._english if english.is_english(text) else self._rules
        # Same length, so offsets hold; contexts are simplified words.
        text = self._simplifier.simplify(_CIRCLE.sub("〇", text))
        tight, places = tighten(text)
        if not places:
            return self._scan(text, rules)
        return [
            piece._replace(
                start=loosen(places, tight, piece.start), end=loosen(places, tight, piece.end)
            )
            for piece in self._scan(tight, rules)
        ]

    def _scan(self, text: str, rules: tuple[_Family, ...]) -> list[Piece]:
        found: list[Piece] = []
        at = 0
        while at < len(text):
            plain = _PLAIN.match(text, at)
            if plain:
                end = plain.end()
                spoken = text[at:end].replace("\n", " ")
                found.append(Piece(start=at, end=end, spoken=spoken, rule="plain", plain=True))
            else:
                found.append(self._piece(text, at, rules))
                end = found[-1].end
            at = end
        return found

    def spoken(self, text: str) -> str:
        """What is said for a cleaned sentence, in one string."""
        return join(self.pieces(text))

    def _piece(self, text: str, at: int, families: tuple[_Family, ...]) -> Piece:
        for family in families:
            if family.any_rule.match(text, at) is None:
                continue
            for candidate in family.rules:
                match = candidate.pattern.match(text, at)
                if match and match.end() > at:
                    said = candidate.speak(match)
                    if said is not None:
                        return Piece(start=at, end=match.end(), spoken=said, rule=candidate.name)
        return self._single(text, at)

    def _single(self, text: str, at: int) -> Piece:
        """A character no rule took: a mark, layout, a letter in disguise, or unread."""
        char = text[at]
        if char in MARKS:
            return Piece(start=at, end=at + 1, spoken=_mark(text, at), rule="mark")
        if char in self._signs or unicodedata.category(char)[0] in "PZ":
            # Signs of layout are silent by design; one that means something is reported.
            means = not char.isascii() and unicodedata.category(char)[0] == "S"
            why = "sign that is not read" if means else ""
            return Piece(start=at, end=at + 1, spoken=" ", rule="layout", unread=why)
        folded = unicodedata.normalize("NFKC", char)
        if folded != char and re.fullmatch(f"[{HANZI}A-Za-z0-9.,/()+=-]{{1,12}}", folded):
            # Compatibility characters hold several of the usual ones: ㍻, 𝐀, ㏂.
            spoken = "".join(
                self._piece(folded, i, self._rules).spoken if c.isdigit() else c
                for i, c in enumerate(folded)
            )
            return Piece(start=at, end=at + 1, spoken=spoken, rule="compatibility")
        return Piece(start=at, end=at + 1, spoken=" ", rule="unread", unread=_why(char))


def _mark(text: str, at: int) -> str:
    """A mark as it stays in the spoken text; dashes and tildes inside words are only a space."""
    char = text[at]
    if char in "‐–-~":
        return " "
    if char == "—":
        return "—" if text[at - 1 : at] == "—" or text[at + 1 : at + 2] == "—" else " "
    return char


def _why(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "L":
        return "letter of a script that is not read"
    return "sign that is not read" if category[0] == "S" else "character that is not read"


_SPACES: Final = re.compile(" +")
_SPACE_BY_MARK: Final = re.compile(" ?([，。！？、；：…“”‘’（）《》【】]) ?")


def join(pieces: list[Piece]) -> str:
    """The pieces' words in one line: single spaces, none beside Chinese punctuation."""
    text = _SPACES.sub(" ", "".join(piece.spoken for piece in pieces))
    return _SPACE_BY_MARK.sub(r"\1", text).strip()
