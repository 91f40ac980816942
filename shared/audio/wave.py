"""What all sound is handled as."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
# `[start, end, start_ms, end_ms]` rows: when the characters `start` to `end` of a segment's spoken
# text are heard, from the wave's start.
TimingRows = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Mono audio: float32 samples in [-1, 1], shape [n_samples]."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz
