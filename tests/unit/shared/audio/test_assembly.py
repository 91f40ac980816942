from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.alignment import packed
from shared.audio.assembly import sound_of
from shared.captions import read_sentences
from shared.schemas import JobRequest, SegmentSpec
from worker.captions import CaptionWriter
from worker.types import Wave

SPEC = SegmentSpec(
    index=0,
    start=0,
    end=1,
    spoken="好",
    voice="fake",
    emotion="neutral",
    emotion_intensity=1.0,
    n_chars=1,
    silence_after_ms=100,
    caption="好",
    caption_words=packed([(1, 1)]),
)


def voiced(rate_hz: int, duration_s: float) -> Wave:
    times = np.arange(round(rate_hz * duration_s)) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    return Wave(samples=tone, rate_hz=rate_hz)


@pytest.mark.parametrize("sample_rate_hz", [None, 24_000])
def test_voices_of_different_rates_are_one_sound_and_captions_follow(
    sample_rate_hz: int | None, tmp_path: Path
) -> None:
    n_times, waves = 40, (voiced(16_000, 0.3), voiced(22_050, 0.5))
    segments = [(replace(SPEC, index=i), waves[i % 2]) for i in range(2 * n_times)]
    sound = sound_of(segments, JobRequest(voice="fake", sample_rate_hz=sample_rate_hz))
    assert sound.rate_hz == (sample_rate_hz or 16_000)
    heard = np.concatenate([*sound.chunks])
    assert len(heard) / sound.rate_hz == pytest.approx(n_times, abs=0.001)
    with CaptionWriter("j", tmp_path / "captions") as writer:
        for spec, wave in segments:
            writer.add(spec, wave, ())
        writer.finish()
    loud = np.abs(heard) > 0.01
    for one in read_sentences([(tmp_path / "captions").read_bytes()]):
        (word,) = one.words
        start, end = (ms * sound.rate_hz // 1000 for ms in (word.start_ms, word.end_ms))
        near, far = sound.rate_hz // 500, sound.rate_hz // 20  # 2 and 50 ms
        assert not loud[max(0, start - far) : max(0, start - near)].any()
        assert loud[start + far : end - far].mean() > 0.9
        assert not loud[end + near : end + far].any()
