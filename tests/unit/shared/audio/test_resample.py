import numpy as np
import pytest

from shared.audio.resample import at_rate, resample, samples_at
from worker.types import Samples, Wave


def tone(rate_hz: int, duration_s: float = 1.0, pitch_hz: float = 440.0) -> Samples:
    times = np.arange(round(rate_hz * duration_s)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * pitch_hz * times)).astype(np.float32)


@pytest.mark.parametrize("chunk", [1, 100, 4096, 10**6])
@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(22_050, 48_000), (22_050, 8_000), (16_000, 24_000)]
)
def test_the_same_tone_comes_out_at_the_other_rate(from_hz: int, to_hz: int, chunk: int) -> None:
    sound = tone(from_hz, 0.5)
    chunks = (sound[at : at + chunk] for at in range(0, len(sound), chunk))
    heard = np.concatenate([*resample(chunks, from_hz, to_hz)])
    expected = tone(to_hz, 0.5)
    assert heard.dtype == np.float32
    assert abs(len(heard) - len(expected)) <= 1
    inner = slice(to_hz // 50, len(expected) - to_hz // 50)
    np.testing.assert_allclose(heard[inner], expected[inner], atol=0.005)


def test_equal_rates_pass_untouched() -> None:
    chunks = [tone(16_000), tone(16_000)]
    assert all(a is b for a, b in zip(resample(chunks, 16_000, 16_000), chunks, strict=True))


def test_nothing_stays_nothing() -> None:
    assert sum(map(len, resample([], 16_000, 48_000))) == 0


@pytest.mark.parametrize("n_samples", [0, 1, 7, 4_410, 11_025])
@pytest.mark.parametrize("to_hz", [8_000, 16_000, 48_000])
def test_a_wave_comes_to_a_rate_as_long_as_said(n_samples: int, to_hz: int) -> None:
    wave = at_rate(Wave(samples=tone(22_050)[:n_samples], rate_hz=22_050), to_hz)
    assert (len(wave.samples), wave.rate_hz) == (samples_at(n_samples, 22_050, to_hz), to_hz)
    assert wave.samples.dtype == np.float32
    inner = slice(to_hz // 50, len(wave.samples) - to_hz // 50)
    expected = tone(to_hz)[: len(wave.samples)]
    np.testing.assert_allclose(wave.samples[inner], expected[inner], atol=0.005)
