"""The NSF excitation: harmonics of f0 where voiced, noise where not.

Phases and noise belong to absolute samples, so a vocoder may ask for one stretch after another
and get what one pass over the whole would give.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.engine.sambert.loops import Array

SINE_AMPLITUDE = 0.1
NOISE_STD = 0.003


class SourceNoise(Protocol):
    """The random part of an excitation; implementations are seeded or given."""

    def phases(self, n_harmonics: int) -> Array:
        """Start phases [n_harmonics + 1] in radians, the first 0."""

    def next(self, n_harmonics: int, n_samples: int) -> Array:
        """Noise of standard deviation 0.003 for the next samples: [n_harmonics + 1, n_samples]."""


class SeededNoise:
    """The same noise for the same seed, however it is cut into stretches."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def phases(self, n_harmonics: int) -> Array:
        phases = self._random.uniform(-np.pi, np.pi, n_harmonics + 1)
        phases[0] = 0
        return phases.astype(np.float32)

    def next(self, n_harmonics: int, n_samples: int) -> Array:
        drawn = self._random.standard_normal((n_samples, n_harmonics + 1), dtype=np.float32)
        return drawn.T * np.float32(NOISE_STD)


@dataclass(kw_only=True)
class GivenNoise:
    """Noise computed elsewhere, as reference data has it."""

    start: Array  # [n_harmonics + 1]
    noise: Array  # [n_harmonics + 1, samples]
    _at: int = 0

    def phases(self, n_harmonics: int) -> Array:
        return self.start[: n_harmonics + 1]

    def next(self, n_harmonics: int, n_samples: int) -> Array:
        self._at += n_samples
        return self.noise[: n_harmonics + 1, self._at - n_samples : self._at]


@dataclass(frozen=True, kw_only=True)
class Source:
    """How f0 becomes an excitation: `weight` [n_harmonics + 1] and `bias` blend the harmonics."""

    weight: NDArray[np.float32]
    bias: float
    rate_hz: int
    hop: int

    def excite(self, f0_hz: Array, voiced: Array, noise: SourceNoise) -> Array:
        """The excitation [frames * hop] of per-frame f0 and voicing (0 or 1)."""
        out = np.empty(len(f0_hz) * self.hop, dtype=np.float32)
        at = 0
        for stretch in self._stretches(f0_hz, voiced, noise):
            out[at : at + len(stretch)] = stretch
            at += len(stretch)
        return out

    def _stretches(self, f0_hz: Array, voiced: Array, noise: SourceNoise) -> Iterator[Array]:
        n = len(self.weight) - 1
        orders = np.arange(1, n + 2, dtype=np.float64)[:, None]
        phases = noise.phases(n)[:, None]
        turns = np.zeros((n + 1, 1))
        block = 200
        for at in range(0, len(f0_hz), block):
            f0 = np.repeat(f0_hz[at : at + block].astype(np.float64), self.hop)
            uv = np.repeat(voiced[at : at + block], self.hop)
            # float64: a float32 sum drifts by whole hundredths of a turn over a minute.
            sums = turns + np.cumsum(f0 * orders / self.rate_hz, axis=1)
            turns = np.mod(sums[:, -1:], 1.0)
            angles = (2 * np.pi * np.mod(sums, 1.0)).astype(np.float32) + phases
            draws = noise.next(n, len(uv))
            sines = np.float32(SINE_AMPLITUDE) * np.sin(angles) + draws
            hiss = np.float32(SINE_AMPLITUDE / (3 * NOISE_STD)) * draws
            harmonics = np.where(uv > 0, sines, hiss)
            yield np.tanh(self.weight @ harmonics + np.float32(self.bias))
