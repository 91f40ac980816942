"""What a caption shows of a segment: its source text in words, each with what is spoken for it.

A Chinese character is a word of its own, a Latin word or a number is one, marks and blanks cling
to the word beside them: no character of the source is left over.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from worker.text.characters import OPENING, is_hanzi, is_spoken

# A cut: so many characters of the source and so many of the spoken text lie before it.
Cut = tuple[int, int]
Span = tuple[int, int]


def caption_words(text: str, spoken: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Sizes in `text` and in `spoken` of one word after the other, covering both.

    `spans[i]` is the stretch of `text` that `spoken[i]` is said for; a rule's words all have the
    whole stretch the rule took.
    """
    if not text:
        return []
    end = (len(text), len(spoken))
    cuts = [(0, 0), *_stairs(_narrowed(spans), len(text)), end]
    whole = [*_singled(text, spoken, cuts), end]
    kept = [cut for cut in whole if cut in ((0, 0), end) or not _inside_word(text, cut[0])]
    return _clinging(text, spoken, kept)


def _narrowed(spans: Sequence[Span]) -> list[Span]:
    """The spans without what single characters before or after them in the same rule take."""
    found = list(spans)
    before = 0
    for i, (low, high) in enumerate(found):
        if high - low == 1:
            before = high
        else:
            found[i] = (max(low, min(before, high)), high)
    after = max((high for _, high in spans), default=0)
    for i in range(len(found) - 1, -1, -1):
        low, high = found[i]
        if high - low == 1:
            after = low
        else:
            found[i] = (low, max(low, min(after, high)))
    return found


def _stairs(spans: Sequence[Span], length: int) -> list[Cut]:
    """The cuts no span reaches across; between two of them neither text is empty."""
    ends = accumulate((high for _, high in spans), max)
    starts = [*accumulate((low for low, _ in reversed(spans)), min)][::-1]
    cuts: list[Cut] = []
    for i, end in enumerate(ends):
        if i + 1 == len(starts) or not end <= starts[i + 1] or not 0 < starts[i + 1] < length:
            continue
        if cuts and cuts[-1][0] == starts[i + 1]:
            cuts.pop()  # spoken words without a source go with those before them
        cuts.append((starts[i + 1], i + 1))
    return cuts


def _singled(text: str, spoken: str, cuts: Sequence[Cut]) -> Iterator[Cut]:
    """Where each word begins; one that is spoken as it is written comes apart."""
    for (a, p), (b, q) in pairwise(cuts):
        if b - a > 1 and text[a:b] == spoken[p:q]:
            yield from ((a + k, p + k) for k in range(b - a))
        else:
            yield a, p


def _inside_word(text: str, at: int) -> bool:
    left, right = text[at - 1], text[at]
    if left in "'’":
        return _joins(right) and _joins(text[at - 2 : at - 1])
    return _joins(left) and (_joins(right) or (right in "'’" and _joins(text[at + 1 : at + 2])))


def _joins(char: str) -> bool:
    """Whether `char` makes one word with its like: letters with case, digits, no ideographs."""
    if char.isascii():
        return char.isalnum()
    return bool(char) and not is_hanzi(char) and unicodedata.category(char) in (
        "Lu", "Ll", "Lt", "Lm", "Mn", "Nd",
    )  # fmt: skip


def _clinging(text: str, spoken: str, cuts: Sequence[Cut]) -> list[tuple[int, int]]:
    """The words between cuts; the silent ones join the one before, opening marks the one after."""
    words: list[tuple[int, int]] = []
    held = (0, 0)
    for (a, p), (b, q) in pairwise(cuts):
        silent = not any(map(is_spoken, spoken[p:q]))
        marks = text[a:b].strip()
        opens = bool(marks) and all(char in OPENING for char in marks)
        if not silent:
            words.append((held[0] + b - a, held[1] + q - p))
            held = (0, 0)
        elif opens or held != (0, 0) or not words:
            held = (held[0] + b - a, held[1] + q - p)
        else:
            words[-1] = (words[-1][0] + b - a, words[-1][1] + q - p)
    if held != (0, 0):
        last = words.pop() if words else (0, 0)
        words.append((last[0] + held[0], last[1] + held[1]))
    return words
