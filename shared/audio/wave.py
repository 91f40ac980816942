"""What all sound is handled as."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Mono audio: float32 samples in [-1, 1], shape [n_samples]."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz
