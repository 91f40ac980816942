"""Where the speech in a wave begins and ends, so that pauses are exactly as long as planned."""

import numpy as np

from worker.types import Samples, Wave

FRAME_S = 0.005
# A breathy onset lies some 35 dB below a vowel, a vocoder's or a recording's noise some 60.
QUIET = 10 ** (-45 / 20)
BEFORE_S = 0.020  # of the silence around the speech, this much stays: onsets begin softly
AFTER_S = 0.040  # and the last sound dies away


def trimmed(wave: Wave) -> tuple[Wave, int]:
    """The wave from just before its first sound to just after its last, and how many samples went
    before it. A silent wave stays as it is."""
    n_frame = max(1, round(FRAME_S * wave.rate_hz))
    levels = frame_levels(wave.samples, n_frame)
    sounding = np.flatnonzero(levels > QUIET * levels.max(initial=0.0))
    if not len(sounding):
        return wave, 0
    start = max(0, int(sounding[0]) * n_frame - round(BEFORE_S * wave.rate_hz))
    end = (int(sounding[-1]) + 1) * n_frame + round(AFTER_S * wave.rate_hz)
    return Wave(samples=wave.samples[start:end], rate_hz=wave.rate_hz), start


def frame_levels(samples: Samples, n_frame: int) -> Samples:
    """The root mean square of each frame of `n_frame` samples, the last one filled with silence."""
    n_frames = -(-len(samples) // n_frame)
    padded = np.zeros(n_frames * n_frame, dtype=np.float32)
    padded[: len(samples)] = samples
    levels: Samples = np.sqrt(np.square(padded.reshape(n_frames, n_frame)).mean(axis=1))
    return levels  # [n_frames]
