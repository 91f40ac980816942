"""Cuts for length: sentences that are too long for the model come apart at their best places."""

from collections.abc import Sequence
from typing import Final

from worker.text import tables
from worker.text.words import Word, WordKind

TARGET_SYLLABLES: Final = 60
HARD_SYLLABLES: Final = 100
_EARLIEST: Final = 20
_BEST: Final = 40
_CLAUSE: Final = frozenset("；：，。！？…;:,!?")
_LIST: Final = frozenset("、—）)】”’》」』")


def cuts(words: Sequence[Word], weights: Sequence[int], free: Sequence[bool]) -> list[int]:
    """Indices of words that begin a new segment, in order; none when all fits.

    `weights` are syllables; `free[i]` says that the text may be cut before word `i`.
    """
    found: list[int] = []
    start = 0
    left = sum(weights)
    while left > TARGET_SYLLABLES:
        cut = _cut(words, weights, free, start)
        if cut is None:
            break
        found.append(cut)
        left -= sum(weights[start:cut])
        start = cut
    return found


def _cut(
    words: Sequence[Word], weights: Sequence[int], free: Sequence[bool], start: int
) -> int | None:
    """The best place in the window after `start`; past it the first place there is."""
    best: tuple[int, int] | None = None
    cut = None
    total = 0
    for i in range(start, len(words) - 1):
        total += weights[i]
        if total > TARGET_SYLLABLES and cut is not None:
            return cut
        forced = total > HARD_SYLLABLES
        if total < _EARLIEST or not (free[i + 1] or forced) or _closes(words[i + 1]):
            continue
        if total > TARGET_SYLLABLES:
            return i + 1
        score = (_rank(words[i], words[i + 1]), abs(total - _BEST))
        if best is None or score < best:
            best, cut = score, i + 1
    return cut if total + weights[-1] > TARGET_SYLLABLES else None


def _closes(word: Word) -> bool:
    """Marks and spaces stay with what they follow."""
    return word.kind in (WordKind.MARK, WordKind.SPACE) and word.text not in ("“", "‘", "（", "《")


def _rank(left: Word, right: Word) -> int:
    if left.kind is WordKind.MARK and left.text in _CLAUSE:
        return 0
    if left.kind is WordKind.MARK and left.text in _LIST:
        return 1
    if right.text in tables.word_set("prosody.tsv", "cut_before"):
        return 2
    return 3 if left.text in tables.word_set("prosody.tsv", "cut_after") else 4
