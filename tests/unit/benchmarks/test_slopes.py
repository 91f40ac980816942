"""Slopes of made-up series, and what is said of them."""

import random

import pytest

from benchmarks.slopes import Bound, Point, Verdict, blocks, slope

BOUND = Bound(per_hour=6.0)


def series(per_hour: float, *, noise: float = 0.0, minutes: int = 30, seed: int = 1) -> list[Point]:
    """A sample every 10 s about 100, growing, with noise of so much."""
    chance = random.Random(seed)
    return [
        (
            at,
            100 + per_hour * at / 3600 + chance.gauss(0, noise)
            if noise
            else 100 + per_hour * at / 3600,
        )
        for at in map(float, range(0, minutes * 60, 10))
    ]


@pytest.mark.parametrize("per_hour", [-20.0, 0.0, 0.5, 40.0])
def test_a_straight_line_has_its_slope_and_no_error(per_hour: float) -> None:
    line = slope(series(per_hour))
    assert line.per_hour == pytest.approx(per_hour, abs=1e-6)
    assert line.error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_told_as_an_error_that_covers_the_true_slope(seed: int) -> None:
    line = slope(series(12.0, noise=3.0, seed=seed))
    assert line.error > 0
    # 95 % is not every time: twice the error is.
    assert abs(line.per_hour - 12.0) < 2 * line.error


@pytest.mark.parametrize(
    ("per_hour", "noise", "verdict"),
    [
        (0.0, 0.5, Verdict.FLAT),
        (-50.0, 0.5, Verdict.FLAT),
        (30.0, 0.5, Verdict.GROWS),
        (6.0, 5.0, Verdict.UNSURE),
    ],
)
def test_a_bound_is_kept_broken_or_not_told(
    per_hour: float, noise: float, verdict: Verdict
) -> None:
    assert slope(series(per_hour, noise=noise)).verdict(BOUND) is verdict


def test_a_saw_that_returns_does_not_grow() -> None:
    saw = [(float(at), float(at % 300)) for at in range(0, 1800, 10)]
    assert slope(saw).verdict(BOUND) is not Verdict.GROWS


def test_a_bound_may_be_a_share_of_the_mean() -> None:
    bound = Bound(per_hour=1.0, share=0.2)
    assert bound.of(100) == 20
    assert bound.of(1) == 1
    assert slope(series(15.0)).verdict(bound) is Verdict.FLAT


def test_blocks_hold_every_point_once() -> None:
    points = [(float(i), float(i)) for i in range(100)]
    means = blocks(points, 7)
    assert len(means) == 7
    assert [at for at, _ in means] == sorted(at for at, _ in means)
    assert blocks(points[:3], 15) == points[:3]


def test_two_samples_are_no_line() -> None:
    with pytest.raises(ValueError, match="3 or more"):
        slope([(0.0, 1.0), (10.0, 2.0)])
