"""The audio gate: no unusable wave passes, and the refusal says why with figures."""

import numpy as np

from shared.errors import BadAudio
from worker.types import Wave

# Speech peaks at 0.1 to 1; dither and a decoder's rest noise stay below -50 dB.
SILENCE_PEAK = 0.003
# A loud vowel may touch full scale for a few samples; a clipped model stays there.
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.01
# The fastest speech is about 12 Chinese or 30 Latin characters a second; unread ones are short.
SHORTEST_S_PER_CHAR = 0.008
# One character may be a year's worth of digits' units or a spelled-out sign, not a paragraph.
LONGEST_S_PER_CHAR = 1.5
# What a very short text may take beyond that: onset, release, a long sign's name.
ALLOWANCE_S = 3.0


def check(wave: Wave, *, n_chars: int, speed: float = 1.0) -> None:
    """Return when `wave` may be the speech of `n_chars` spoken characters at `speed`.

    Raises `BadAudio` naming the fault: not finite, silent, clipped, too short or too long.
    """
    samples = wave.samples
    n_odd = int(np.count_nonzero(~np.isfinite(samples)))
    if n_odd:
        raise BadAudio(f"{n_odd} of {len(samples)} samples are not finite numbers")
    loudness = np.abs(samples)
    peak = float(loudness.max(initial=0.0))
    if peak < SILENCE_PEAK:
        raise BadAudio(f"the audio is silent: its peak is {peak:.5f}, below {SILENCE_PEAK}")
    share = float(np.count_nonzero(loudness >= FULL_SCALE)) / len(samples)
    if share > CLIPPED_SHARE:
        raise BadAudio(f"the audio is clipped: {share:.1%} of it is at full scale")
    _check_length(wave.duration_s, n_chars, speed)


def _check_length(duration_s: float, n_chars: int, speed: float) -> None:
    shortest_s = n_chars * SHORTEST_S_PER_CHAR / speed
    longest_s = (n_chars * LONGEST_S_PER_CHAR + ALLOWANCE_S) / speed
    if not shortest_s <= duration_s <= longest_s:
        raise BadAudio(
            f"{duration_s:.2f} s of audio can not be {n_chars} characters at speed {speed:g}; "
            f"expected {shortest_s:.2f} to {longest_s:.2f} s"
        )
