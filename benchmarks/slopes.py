"""Does a figure grow? A straight line through its samples, its error, and what is said of a bound.

Nothing is measured here. Samples that follow one another closely are alike, which would make the
error look smaller than it is: so the line goes through the means of blocks of them.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

N_BLOCKS = 15
# Student's t, two-sided 95 %, by degrees of freedom: two fewer than there are blocks.
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26,
        10: 2.23, 11: 2.20, 12: 2.18, 13: 2.16}  # fmt: skip
HOUR_S = 3600.0

Point = tuple[float, float]  # seconds, value


class Verdict(StrEnum):
    """What the samples say of a bound."""

    FLAT = "flat"
    GROWS = "grows"
    UNSURE = "unsure"  # the bound lies within the error: a longer run tells


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a figure may grow by in an hour: so much, or that share of its mean if it is more."""

    per_hour: float
    share: float = 0.0

    def of(self, mean: float) -> float:
        return max(self.per_hour, self.share * abs(mean))


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A line through samples. With 95 % the true slope lies within `error` of `per_hour`."""

    per_hour: float
    error: float
    mean: float
    least: float
    most: float

    def verdict(self, bound: Bound) -> Verdict:
        limit = bound.of(self.mean)
        if self.per_hour - self.error > limit:
            return Verdict.GROWS
        return Verdict.UNSURE if self.per_hour + self.error > limit else Verdict.FLAT


def blocks(points: Sequence[Point], n_blocks: int = N_BLOCKS) -> list[Point]:
    """The points' means in up to so many groups of neighbours."""
    n = min(n_blocks, len(points))
    edges = [round(i * len(points) / n) for i in range(n + 1)]
    groups = [points[a:b] for a, b in pairwise(edges)]
    return [
        (statistics.fmean(at for at, _ in group), statistics.fmean(value for _, value in group))
        for group in groups
    ]


def slope(points: Sequence[Point]) -> Slope:
    """The line of least squares through the blocks' means. Raises `ValueError` under 3 points."""
    if len(points) < 3:
        raise ValueError(f"{len(points)} samples: a slope with its error needs 3 or more")
    means = blocks(points)
    mean_s = statistics.fmean(at for at, _ in means)
    mean = statistics.fmean(value for _, value in means)
    spread = sum((at - mean_s) ** 2 for at, _ in means)
    per_s = sum((at - mean_s) * (value - mean) for at, value in means) / spread
    residue = sum((value - mean - per_s * (at - mean_s)) ** 2 for at, value in means)
    freedom = len(means) - 2
    error = T_95[freedom] * math.sqrt(residue / freedom / spread)
    values = [value for _, value in points]
    return Slope(
        per_hour=per_s * HOUR_S,
        error=error * HOUR_S,
        mean=statistics.fmean(values),
        least=min(values),
        most=max(values),
    )
