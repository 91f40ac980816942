"""Two texts side by side: which stretch of one belongs to which of the other, in few numbers.

Most of a Chinese text is spoken character for character, so a sentence takes a handful.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, repeat

# `[n, a, b]` rows: `n` pairs one after the other, each of `a` of the one and `b` of the other.
Runs = tuple[tuple[int, int, int], ...]


def packed(pairs: Iterable[tuple[int, int]]) -> Runs:
    """The pairs of sizes with equal neighbours counted.

    >>> packed([(1, 1), (1, 1), (5, 4)])
    ((2, 1, 1), (1, 5, 4))
    """
    return tuple((len([*same]), *pair) for pair, same in groupby(pairs))


def unpacked(runs: Runs) -> Iterator[tuple[int, int]]:
    """The pairs that were packed."""
    for n, a, b in runs:
        yield from repeat((a, b), n)
