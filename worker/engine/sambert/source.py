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

    def blend(self, weight: Array, n_samples: int) -> Array:
        """The next samples [n_samples] of the harmonics' noises, blended by `weight`.

        Each is normal with standard deviation 0.003.
        """


class SeededNoise:
    """The same noise for the same seed, however it is cut into stretches."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def phases(self, n_harmonics: int) -> Array:
        phases = self._random.uniform(-np.pi, np.pi, n_harmonics + 1)
        phases[0] = 0
        return phases.astype(np.float32)

    def blend(self, weight: Array, n_samples: int) -> Array:
        """A blend of independent normal noises is normal: one draw a sample serves for all."""
        drawn = self._random.standard_normal(n_samples, dtype=np.float32)
        return drawn * np.float32(NOISE_STD * np.linalg.norm(weight))


@dataclass(kw_only=True)
class GivenNoise:
    """Noise computed elsewhere, as reference data has it."""

    start: Array  # [n_harmonics + 1]
    noise: Array  # [n_harmonics + 1, samples]
    _at: int = 0

    def phases(self, n_harmonics: int) -> Array:
        return self.start[: n_harmonics + 1]

    def blend(self, weight: Array, n_samples: int) -> Array:
        self._at += n_samples
        return weight @ self.noise[: len(weight), self._at - n_samples : self._at]


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
        # The weighted sum of the harmonics' sines is the imaginary part of a polynomial in
        # exp(i * the fundamental's angle) without a constant; these are its coefficients.
        phases = noise.phases(len(self.weight) - 1)
        factors = (SINE_AMPLITUDE * self.weight * np.exp(1j * phases)).astype(np.complex64)
        hiss_gain = np.float32(SINE_AMPLITUDE / (3 * NOISE_STD))
        turn, block = 0.0, 200
        for at in range(0, len(f0_hz), block):
            f0 = np.repeat(f0_hz[at : at + block].astype(np.float64), self.hop)
            uv = np.repeat(voiced[at : at + block], self.hop)
            # float64: a float32 sum drifts by whole hundredths of a turn over a minute.
            turns = turn + np.cumsum(f0 / self.rate_hz)
            turn = turns[-1] % 1.0
            angles = (2 * np.pi * (turns % 1.0)).astype(np.float32)
            spin = np.empty(len(angles), dtype=np.complex64)
            spin.real, spin.imag = np.cos(angles), np.sin(angles)
            tones = np.zeros_like(spin)
            for factor in factors[::-1]:
                tones += factor
                tones *= spin
            drawn = noise.blend(self.weight, len(uv))
            blended = np.where(uv > 0, tones.imag + drawn, hiss_gain * drawn)
            yield np.tanh(blended + np.float32(self.bias))
