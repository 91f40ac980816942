import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.alignment import packed
from shared.audio.join import pause_samples
from shared.captions import read_sentences
from shared.schemas import CaptionsResult, SegmentSpec
from worker.captions import CaptionWriter, timed_words
from worker.types import TimingRows, Wave

PLAIN = SegmentSpec(
    index=0,
    start=0,
    end=4,
    spoken="今天，好",
    voice="fake",
    emotion="neutral",
    emotion_intensity=1.0,
    n_chars=4,
    caption="今天，好",
    caption_words=packed([(1, 1), (2, 2), (1, 1)]),
)


def wave(duration_ms: float, rate_hz: int = 16_000) -> Wave:
    return Wave(samples=np.zeros(round(duration_ms * rate_hz / 1000), np.float32), rate_hz=rate_hz)


def written(
    path: Path, *segments: tuple[SegmentSpec, Wave, TimingRows]
) -> tuple[CaptionsResult, list[dict[str, object]]]:
    with CaptionWriter("j1", path) as writer:
        for segment in segments:
            writer.add(*segment)
        result = writer.finish()
    return result, json.loads(path.read_text(encoding="utf-8"))["sentences"]


def times(spec: SegmentSpec, rows: TimingRows, duration_ms: int = 1_000) -> list[object]:
    return [
        (word.text, word.start_ms, word.end_ms) for word in timed_words(spec, rows, duration_ms)
    ]


def test_words_have_the_times_of_their_sounding_characters() -> None:
    rows = ((0, 1, 50, 200), (1, 3, 200, 300), (3, 4, 600, 900))
    assert times(PLAIN, rows) == [("今", 50, 200), ("天，", 200, 300), ("好", 600, 900)]


def test_a_row_of_several_characters_is_shared_by_those_that_sound() -> None:
    assert times(PLAIN, ((0, 4, 0, 900),)) == [("今", 0, 300), ("天，", 300, 600), ("好", 600, 900)]


def test_without_timings_the_wave_is_shared() -> None:
    assert times(PLAIN, (), 900) == times(PLAIN, ((0, 4, 0, 900),))


def test_a_number_takes_the_time_of_all_its_words() -> None:
    year = replace(
        PLAIN, spoken="二零二六年", caption="2026年", caption_words=packed([(4, 4), (1, 1)])
    )
    rows = tuple((i, i + 1, 100 * i, 100 * (i + 1)) for i in range(5))
    assert times(year, rows) == [("2026", 0, 400), ("年", 400, 500)]


def test_characters_no_row_covers_take_no_time() -> None:
    assert times(PLAIN, ((1, 2, 200, 300),)) == [("今", 0, 0), ("天，", 200, 300), ("好", 300, 300)]


def test_sentences_stand_where_their_sound_is_joined(tmp_path: Path) -> None:
    rows = ((0, 1, 50, 200), (1, 3, 200, 300), (3, 4, 600, 900))
    first = replace(PLAIN, silence_before_ms=100, silence_after_ms=280)
    result, found = written(tmp_path / "c", (first, wave(1_000), rows), (PLAIN, wave(1_000), rows))
    assert [(one["start_ms"], one["end_ms"]) for one in found] == [(150, 1_000), (1_430, 2_280)]
    assert [one["text"] for one in found] == ["今天，好"] * 2
    data = (tmp_path / "c").read_bytes()
    assert result.key == f"jobs/j1/captions-{result.sha256[:16]}.json"
    assert result.size_bytes == len(data)
    assert len([*read_sentences([data])]) == 2


SEGMENTS = st.lists(
    st.tuples(
        st.integers(0, 900),  # silence before
        st.integers(0, 900),  # silence after
        st.floats(0, 2_000),  # the wave's length
        st.lists(st.integers(0, 2_500), min_size=6, max_size=6).map(sorted),
    ),
    min_size=1,
    max_size=8,
)


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SEGMENTS, st.sampled_from([8_000, 16_000, 22_050, 44_100]))
def test_times_only_grow_and_stay_inside_the_audio(
    tmp_path: Path, segments: list[tuple[int, int, float, list[int]]], rate_hz: int
) -> None:
    given_segments, n_samples = [], 0
    for before_ms, after_ms, duration_ms, edges in segments:
        rows = tuple((i, i + 1, edges[2 * i], edges[2 * i + 1]) for i in range(3))
        one = replace(PLAIN, silence_before_ms=before_ms, silence_after_ms=after_ms)
        sound = wave(duration_ms, rate_hz)
        given_segments.append((one, sound, rows))
        pauses = pause_samples(before_ms, rate_hz) + pause_samples(after_ms, rate_hz)
        n_samples += len(sound.samples) + pauses
    _, found = written(tmp_path / "c", *given_segments)
    edges_ms = [
        word[edge]  # type: ignore[index]  # JSON
        for one in found
        for word in one["words"]  # type: ignore[attr-defined]  # JSON
        for edge in ("start_ms", "end_ms")
    ]
    assert all(earlier <= later for earlier, later in pairwise([0, *edges_ms]))
    assert edges_ms[-1] <= n_samples * 1000 / rate_hz
    assert len(found) == len(segments)


def test_sentences_are_on_the_disk_before_the_last_one_comes(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaptionWriter("j1", path) as writer:
        for _ in range(2_000):
            writer.add(PLAIN, wave(1), ())
        assert path.stat().st_size > 100_000


@pytest.mark.parametrize("text", ['"引号"\\', "换\n行", "😀"])
def test_any_text_survives(tmp_path: Path, text: str) -> None:
    one = replace(PLAIN, caption=text, spoken="好", caption_words=packed([(len(text), 1)]))
    _, found = written(tmp_path / "c", (one, wave(100), ()))
    assert [sentence["text"] for sentence in found] == [text]
