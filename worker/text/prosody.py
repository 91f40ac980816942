"""Pauses: prosodic words of two to four syllables and the break after each, levels 1 to 4.

Works on words and marks alone; levels are the model's own (`#1` word, `#2` phrase, `#3` comma,
`#4` end). Which tokens they become is `symbols`' business.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from worker.text import tables
from worker.text.words import Word, WordKind

_LONGEST_WORD: Final = 4
_LONGEST_CLAUSE: Final = 9
_SHORTEST_PHRASE: Final = 3
_STRONG: Final = frozenset("，：；…—。！？,;:!?")
_WEAK: Final = frozenset("、（）()【】[]")


class Group(NamedTuple):
    """A prosodic word and the level of the break after it, 1 to 4."""

    words: tuple[Word, ...]
    level: int


def groups(words: Sequence[Word], syllables: Callable[[Word], int]) -> list[Group]:
    """The prosodic words of a segment; the last one's level is 4. `syllables` counts a word's
    that is not Chinese.

    Words without syllables must not be among `words`; marks and spaces may.
    """
    spoken, gaps = _gaps(words)
    if not spoken:
        return []
    hanzi = WordKind.HANZI
    sizes = [len(word.text) if word.kind is hanzi else syllables(word) for word in spoken]
    _join(spoken, gaps, sizes)
    _phrase(spoken, gaps, sizes)
    gaps[-1] = 4
    found: list[Group] = []
    held: list[Word] = []
    for word, gap in zip(spoken, gaps, strict=True):
        held.append(word)
        if gap:
            found.append(Group(words=tuple(held), level=gap))
            held = []
    return found


def _gaps(words: Sequence[Word]) -> tuple[list[Word], list[int]]:
    """Words that are spoken, and the level of the break that the marks after each ask for."""
    spoken: list[Word] = []
    gaps: list[int] = []
    for i, word in enumerate(words):
        if word.kind is WordKind.HANZI or word.kind is WordKind.LATIN:
            spoken.append(word)
            gaps.append(1)
        elif gaps:
            gaps[-1] = max(gaps[-1], _mark_level(words, i))
    return spoken, gaps


def _mark_level(words: Sequence[Word], i: int) -> int:
    mark = words[i]
    if mark.kind is WordKind.SPACE:
        chinese = i + 1 < len(words) and words[i - 1].kind is words[i + 1].kind is WordKind.HANZI
        return 2 if chinese else 1
    if mark.text in _STRONG:
        return 3
    return 2 if mark.text in _WEAK else 1


def _join(spoken: Sequence[Word], gaps: list[int], sizes: Sequence[int]) -> None:
    """Sets the gap to 0 between words that make one prosodic word."""
    size = sizes[0]
    for i in range(len(spoken) - 1):
        following = sizes[i + 1]
        if gaps[i] == 1 and _belong(spoken, i, size, following):
            gaps[i] = 0
            size += following
        else:
            size = following


def _belong(spoken: Sequence[Word], i: int, size: int, following: int) -> bool:
    left, right = spoken[i], spoken[i + 1]
    if left.kind is WordKind.LATIN or right.kind is WordKind.LATIN or left.end != right.start:
        return False
    if size + following > _LONGEST_WORD + 1 and right.tag[:2] != "nr":
        # Only the parts of a name may be longer.
        return False
    if right.text in tables.word_set("prosody.tsv", "particle"):
        return size + following <= _LONGEST_WORD + 1
    if (left.tag[:1] == "m" and right.tag[:1] in ("q", "m")) or right.text == "个":
        return size + following <= _LONGEST_WORD + 1
    if left.tag.startswith("nr") and right.tag.startswith("nr") and len(left.text) == 1:
        return True
    if right.text in tables.word_set("prosody.tsv", "enclitic") and following == 1 and size > 1:
        return size <= _LONGEST_WORD and left.tag[:1] in ("n", "v", "s", "t", "r", "m", "q")
    if size + following > _LONGEST_WORD:
        return False
    if left.text in tables.word_set("prosody.tsv", "proclitic") and len(left.text) == 1:
        # 很好, 不去, 这天: the small word leans on what follows unless it closed a word already.
        return size == 1 or left.text in ("不", "很", "没", "一")
    return size == 1 and following == 1


def _phrase(spoken: Sequence[Word], gaps: list[int], sizes: Sequence[int]) -> None:
    """Raises gaps to 2 in clauses that are too long for one breath."""
    start = 0
    for i, gap in enumerate(gaps):
        if gap > 1 or i == len(gaps) - 1:
            _divide(spoken, gaps, sizes, start, i)
            start = i + 1


def _divide(
    spoken: Sequence[Word], gaps: list[int], sizes: Sequence[int], start: int, end: int
) -> None:
    """Cuts the words `start` to `end` (inclusive) at their best edge until no part is too long."""
    pending = [(start, end)]
    while pending:
        low, high = pending.pop()
        total = sum(sizes[low : high + 1])
        if total <= _LONGEST_CLAUSE or high <= low:
            continue
        cut = _best_edge(spoken, gaps, sizes, low, high, total)
        if cut is None:
            continue
        gaps[cut] = 2
        pending += [(low, cut), (cut + 1, high)]


def _best_edge(
    spoken: Sequence[Word], gaps: list[int], sizes: Sequence[int], low: int, high: int, total: int
) -> int | None:
    best, best_score = None, -100.0
    before = 0
    for i in range(low, high):
        before += sizes[i]
        if gaps[i] != 1 or min(before, total - before) < _SHORTEST_PHRASE:
            continue
        target = min(total / 2, 7.0)
        score = _edge(spoken[i], spoken[i + 1]) - abs(before - target) * 0.6
        if score > best_score:
            best, best_score = i, score
    return best


def _edge(left: Word, right: Word) -> float:
    """How good a phrase boundary the edge between two words is."""
    score = 0.0
    if right.text in tables.word_set("prosody.tsv", "conjunction"):
        score += 3
    if left.text in tables.word_set("prosody.tsv", "conjunction") or left.tag[:1] in (
        "p",
        "d",
        "m",
    ):
        score -= 3
    if right.tag[:1] == "p":
        score += 2
    if right.tag[:1] in ("v", "d") and left.tag[:1] in ("n", "r", "t", "s", "f"):
        score += 2
    if left.tag[:1] in ("f", "t"):
        score += 1.5
    if left.text == "的":
        score += 0.5
    if left.text in ("了", "着", "过"):
        score += 1
    if left.tag[:1] in ("a", "v", "b") and right.tag[:1] == "n":
        score -= 1
    return score
