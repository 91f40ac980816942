from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from shared.schemas import SegmentSpec
from worker.text.frontend import Frontend, Options
from worker.timings import shifted, timing_rows
from worker.types import Rendering, Timing, Wave

FRONTEND = Frontend()
WAVE = Wave(samples=np.zeros(16_000, np.float32), rate_hz=16_000)


def spec(text: str) -> SegmentSpec:
    (segment,) = FRONTEND.segments(text, Options())
    return SegmentSpec(
        index=0,
        start=0,
        end=len(text),
        spoken=segment.spoken,
        symbols=segment.symbols,
        syllables=segment.syllables,
        voice="v",
        emotion="neutral",
        emotion_intensity=1.0,
        n_chars=len(text),
    )


def by_symbols(asked: SegmentSpec) -> Rendering:
    """A rendering in which each unit takes a tenth of a second."""
    n_units = len((asked.symbols or "").split(" "))
    rows = [Timing(start=i, end=i + 1, start_s=i / 10, end_s=(i + 1) / 10) for i in range(n_units)]
    return Rendering(wave=WAVE, timings=tuple(rows), timed="symbols")


def heard(text: str) -> list[tuple[str, float, float]]:
    asked = spec(text)
    rows = timing_rows(asked, by_symbols(asked))
    return [(asked.spoken[r.start : r.end], round(r.start_s, 3), round(r.end_s, 3)) for r in rows]


def test_a_syllable_takes_its_phones_and_a_break_nobodys() -> None:
    # Two phones a syllable; 你好 and 世界 are words, with a break after each.
    assert heard("你好，世界。") == [
        ("你", 0.0, 0.2),
        ("好", 0.2, 0.4),
        ("世", 0.5, 0.7),
        ("界", 0.7, 0.9),
    ]


def test_a_latin_word_takes_all_its_syllables() -> None:
    rows = heard("我用iPhone拍。")
    assert [word for word, _, _ in rows] == ["我", "用", "iPhone", "拍"]
    assert all(end_s <= start_s for (_, _, end_s), (_, start_s, _) in pairwise(rows))


@pytest.mark.parametrize("text", ["花儿开了。", "2026年11月22日，涨5.2%。", "NASA说：1234567890！"])
def test_times_of_characters_never_overlap(text: str) -> None:
    rows = heard(text)
    assert all(a[2] <= b[1] for a, b in pairwise(rows))
    assert all(start_s < end_s for _, start_s, end_s in rows)


def test_times_by_character_are_taken_as_they_are() -> None:
    timing = Timing(start=0, end=2, start_s=0.1, end_s=0.4)
    given = Rendering(wave=WAVE, timings=(timing,))
    assert timing_rows(replace(spec("你好"), symbols=None), given) == (timing,)


def test_times_move_with_the_cut_and_stay_inside() -> None:
    rows = [(0, 1, 0.0, 0.15), (1, 2, 0.15, 0.4), (2, 3, 0.4, 0.9)]
    timings = [Timing(start=a, end=b, start_s=c, end_s=d) for a, b, c, d in rows]
    assert shifted(timings, 0.1, 0.5) == ((0, 1, 0, 50), (1, 2, 50, 300), (2, 3, 300, 500))
