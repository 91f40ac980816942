import numpy as np
import pytest

from shared.errors import BadAudio
from worker.audio import gate
from worker.types import Wave

RATE_HZ = 16_000


def wave(duration_s: float = 1.0, level: float = 0.5) -> Wave:
    times = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    samples = level * np.sin(2 * np.pi * 220 * times)
    return Wave(samples=samples.astype(np.float32), rate_hz=RATE_HZ)


def test_ordinary_speech_passes() -> None:
    gate.check(wave(1.0), n_chars=4)
    gate.check(wave(1.0, level=0.05), n_chars=4)
    gate.check(wave(0.5), n_chars=4, speed=2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_is_refused(value: float) -> None:
    spoilt = wave()
    spoilt.samples[100] = value
    with pytest.raises(BadAudio, match="1 of 16000 samples are not finite"):
        gate.check(spoilt, n_chars=4)


@pytest.mark.parametrize("quiet", [wave(level=0.0), wave(level=0.002), wave(duration_s=0.0)])
def test_silence_and_nothing_are_refused(quiet: Wave) -> None:
    with pytest.raises(BadAudio, match=r"silent: its peak is 0\.00"):
        gate.check(quiet, n_chars=4)


def test_a_wave_stuck_at_full_scale_is_refused() -> None:
    loud = Wave(samples=np.clip(wave(level=3.0).samples, -1, 1), rate_hz=RATE_HZ)
    with pytest.raises(BadAudio, match=r"clipped: \d+\.\d% of it"):
        gate.check(loud, n_chars=4)


def test_a_few_samples_at_full_scale_pass() -> None:
    loud = wave()
    loud.samples[:100] = 1.0
    gate.check(loud, n_chars=4)


@pytest.mark.parametrize(
    ("duration_s", "n_chars", "speed"),
    [(0.1, 60, 1.0), (20.0, 4, 1.0), (8.0, 4, 2.0), (0.6, 60, 0.5)],
)
def test_an_impossible_length_is_refused_with_the_expected_one(
    duration_s: float, n_chars: int, speed: float
) -> None:
    with pytest.raises(BadAudio, match=rf"{n_chars} characters at speed .*; expected"):
        gate.check(wave(duration_s), n_chars=n_chars, speed=speed)
