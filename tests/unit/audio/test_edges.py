import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audio.edges import AFTER_S, BEFORE_S, FRAME_S, trimmed
from worker.types import Samples, Wave

RATE_HZ = 16_000


def tone(duration_s: float, level: float = 0.3) -> Samples:
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * 200 * times_s)).astype(np.float32)


def silence(duration_s: float, noise: float = 0.0) -> Samples:
    drawn = np.random.default_rng(1).normal(size=round(duration_s * RATE_HZ))
    return (noise * drawn).astype(np.float32)


def wave(*parts: Samples) -> Wave:
    return Wave(samples=np.concatenate(parts), rate_hz=RATE_HZ)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.0003]))
def test_silence_at_the_ends_is_cut_to_a_margin(
    before_s: float, after_s: float, noise: float
) -> None:
    said = tone(0.5)
    cut, n_before = trimmed(wave(silence(before_s, noise), said, silence(after_s, noise)))
    n_lead = round(before_s * RATE_HZ) - n_before  # what stays before the first sound
    n_rest = len(cut.samples) - n_lead - len(said)
    frame = round(FRAME_S * RATE_HZ) + 1
    assert n_lead <= round(BEFORE_S * RATE_HZ) + frame
    assert n_rest <= round(AFTER_S * RATE_HZ) + frame
    assert n_lead >= min(round(before_s * RATE_HZ), round(BEFORE_S * RATE_HZ)) - frame
    assert n_rest >= min(round(after_s * RATE_HZ), round(AFTER_S * RATE_HZ)) - frame
    np.testing.assert_array_equal(cut.samples[n_lead : n_lead + len(said)], said)


def test_a_pause_inside_and_a_soft_onset_stay() -> None:
    whole = wave(tone(0.2), silence(0.8), tone(0.1, level=0.004), tone(0.2))
    assert len(trimmed(whole)[0].samples) == len(whole.samples)
    soft = wave(silence(0.3), tone(0.1, level=0.004), tone(0.2))
    assert trimmed(soft)[1] == round((0.3 - BEFORE_S) * RATE_HZ)


@pytest.mark.parametrize("samples", [np.zeros(100, np.float32), np.zeros(0, np.float32)])
def test_silence_stays_as_it_is(samples: Samples) -> None:
    cut, n_before = trimmed(Wave(samples=samples, rate_hz=RATE_HZ))
    assert (len(cut.samples), n_before) == (len(samples), 0)
