"""Even loudness: each segment brought towards one level, by itself, so that a segment sounds the
same wherever it is reused and a stream needs no look ahead.

The level is that of the speech alone, pauses left out, as ITU-T P.56 measures it in principle.
"""

import numpy as np

from worker.audio.edges import frame_levels
from worker.types import Samples, Wave

FRAME_S = 0.020
TARGET_DB = -20.0  # of full scale; the middle of what audiobook shops accept
# More would lift noise, or turn a voice that is meant to whisper into one that does not.
MOST_GAIN_DB = 6.0
CEILING = 0.97
AUDIBLE = 10 ** (-45 / 20)  # against the loudest frame: below lie noise and pauses
ACTIVE = 10 ** (-15.9 / 20)  # against the mean of what is audible: below lie breath and decay


def evened(wave: Wave) -> Wave:
    """The wave at `TARGET_DB`, as far as the gain is small and no sample leaves the range."""
    return Wave(samples=wave.samples * gain(wave), rate_hz=wave.rate_hz)


def gain(wave: Wave) -> np.float32:
    """The factor that brings the wave's speech to the target; 1 for silence."""
    level = speech_level(wave)
    if not level:
        return np.float32(1.0)
    most = 10 ** (MOST_GAIN_DB / 20)
    wanted = min(most, max(1 / most, 10 ** (TARGET_DB / 20) / level))
    peak = float(np.abs(wave.samples).max())
    return np.float32(min(wanted, max(1.0, CEILING / peak)) if wanted > 1 else wanted)


def speech_level(wave: Wave) -> float:
    """The root mean square of the frames in which there is speech; 0 for silence."""
    levels = frame_levels(wave.samples, max(1, round(FRAME_S * wave.rate_hz)))
    audible = levels[levels > AUDIBLE * levels.max(initial=0.0)]
    if not len(audible):
        return 0.0
    active = audible[audible > ACTIVE * _mean(audible)]
    return _mean(active)


def _mean(levels: Samples) -> float:
    return float(np.sqrt(np.square(levels.astype(np.float64)).mean()))
