import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audio.loudness import CEILING, MOST_GAIN_DB, TARGET_DB, evened, gain, speech_level
from worker.types import Wave

RATE_HZ = 16_000


def speech(level_db: float, *, pause_s: float = 0.0, seed: int = 1) -> Wave:
    """Noise in the rhythm of syllables, its loud parts at `level_db`, with a pause inside."""
    rng = np.random.default_rng(seed)
    rhythm = np.repeat(rng.uniform(0.7, 1.3, 20), RATE_HZ // 20)
    sound = rng.uniform(-1, 1, len(rhythm)) * rhythm
    sound *= 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))
    parts = [sound[: RATE_HZ // 2], np.zeros(round(pause_s * RATE_HZ)), sound[RATE_HZ // 2 :]]
    return Wave(samples=np.concatenate(parts).astype(np.float32), rate_hz=RATE_HZ)


def db(level: float) -> float:
    return 20 * np.log10(level)


@pytest.mark.parametrize("level_db", [-25.5, -22.0, -20.0, -17.0, -14.5])
def test_speech_near_the_target_comes_out_at_it(level_db: float) -> None:
    assert db(speech_level(evened(speech(level_db)))) == pytest.approx(TARGET_DB, abs=0.2)


@pytest.mark.parametrize("level_db", [-45.0, -8.0])
def test_the_gain_has_a_limit(level_db: float) -> None:
    assert abs(db(float(gain(speech(level_db))))) == pytest.approx(MOST_GAIN_DB, abs=1e-3)


def test_pauses_do_not_count() -> None:
    assert db(speech_level(speech(-20, pause_s=3.0))) == pytest.approx(
        db(speech_level(speech(-20))), abs=0.1
    )


def test_a_quiet_wave_with_a_loud_moment_is_not_clipped() -> None:
    spiky = speech(-30)
    spiky.samples[5_000] = 0.9
    assert np.abs(evened(spiky).samples).max() == pytest.approx(CEILING, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.floats(-60, -3), st.integers(0, 100))
def test_evening_never_leaves_the_range_and_is_the_same_every_time(
    level_db: float, seed: int
) -> None:
    one = speech(level_db, seed=seed)
    one = Wave(samples=np.clip(one.samples, -1, 1), rate_hz=RATE_HZ)
    even = evened(one)
    assert even.samples.dtype == np.float32
    assert np.abs(even.samples).max() <= 1.0
    np.testing.assert_array_equal(even.samples, evened(one).samples)


def test_segments_of_different_loudness_come_close() -> None:
    levels = [db(speech_level(evened(speech(level)))) for level in (-25.0, -20.0, -15.0)]
    assert max(levels) - min(levels) < 0.5


def test_silence_stays_silent() -> None:
    quiet = Wave(samples=np.zeros(1000, np.float32), rate_hz=RATE_HZ)
    assert gain(quiet) == 1
    assert gain(Wave(samples=np.zeros(0, np.float32), rate_hz=RATE_HZ)) == 1
