"""When the characters of a segment's spoken text are heard, from what its engine tells."""

from collections.abc import Iterator, Sequence

from shared.alignment import unpacked
from shared.schemas import SegmentSpec
from worker.types import Rendering, Timing, TimingRows


def timing_rows(spec: SegmentSpec, rendering: Rendering) -> tuple[Timing, ...]:
    """The rendering's timings by characters of `spec.spoken`, whatever the engine counts in."""
    if rendering.timed == "characters" or not spec.symbols:
        return rendering.timings
    return tuple(_by_characters(spec, _syllables(spec.symbols, rendering.timings)))


def shifted(timings: Sequence[Timing], by_s: float, duration_s: float) -> TimingRows:
    """The timings in milliseconds of a wave of `duration_s` whose first `by_s` seconds went."""

    def ms(at_s: float) -> int:
        return round(1000 * min(duration_s, max(0.0, at_s - by_s)))

    return tuple((row.start, row.end, ms(row.start_s), ms(row.end_s)) for row in timings)


def _syllables(symbols: str, timings: Sequence[Timing]) -> Iterator[tuple[float, float]]:
    """From when to when each syllable sounds; breaks are no part of any."""
    begin_s = 0.0
    for unit, timing in zip(symbols.split(" "), timings, strict=True):
        flag = unit.split("$", 3)[2]
        if flag in ("s_begin", "s_both"):
            begin_s = timing.start_s
        if flag in ("s_end", "s_both"):
            yield begin_s, timing.end_s


def _by_characters(spec: SegmentSpec, syllables: Iterator[tuple[float, float]]) -> Iterator[Timing]:
    at = 0
    for n_chars, n_syllables in unpacked(spec.syllables):
        its = [next(syllables) for _ in range(n_syllables)]
        if its:
            yield Timing(start=at, end=at + n_chars, start_s=its[0][0], end_s=its[-1][1])
        at += n_chars
