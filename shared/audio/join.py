"""Segments into one stream of sound: pauses between, no clicks at the joints, volume."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from shared.audio.wave import Samples, Wave
from shared.errors import InternalError

FADE_S = 0.002  # too short to hear, long enough that a cut wave does not click
SILENCE_CHUNK_S = 1.0
KNEE = 0.8  # louder than this, raised volume bends towards full scale instead of cutting off


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A wave with its gain, 0 to 2, and the silence around it."""

    wave: Wave
    volume: float = 1.0
    silence_before_ms: int = 0
    silence_after_ms: int = 0


def join(pieces: Iterable[Piece]) -> Iterator[Samples]:
    """The pieces in order as float32 chunks, one piece held at a time.

    The whole is exactly as long as all waves and pauses together; nothing leaves [-1, 1]. Raises
    `InternalError` when the pieces' rates differ.
    """
    rate_hz: int | None = None
    for piece in pieces:
        if rate_hz not in (None, piece.wave.rate_hz):
            raise InternalError(f"segments at {rate_hz} and {piece.wave.rate_hz} Hz in one job")
        rate_hz = piece.wave.rate_hz
        yield from _silence(piece.silence_before_ms, rate_hz)
        yield _amplified(_faded(piece.wave), piece.volume)
        yield from _silence(piece.silence_after_ms, rate_hz)


def pause_samples(pause_ms: int, rate_hz: int) -> int:
    """How many samples a pause takes."""
    return round(pause_ms * rate_hz / 1000)


def _silence(pause_ms: int, rate_hz: int) -> Iterator[Samples]:
    n_left = pause_samples(pause_ms, rate_hz)
    n_chunk = round(SILENCE_CHUNK_S * rate_hz)
    while n_left > 0:
        yield np.zeros(min(n_left, n_chunk), dtype=np.float32)
        n_left -= n_chunk


def _faded(wave: Wave) -> Samples:
    n_fade = min(round(FADE_S * wave.rate_hz), len(wave.samples) // 2)
    samples = wave.samples.copy()
    if n_fade:
        ramp = np.linspace(0.0, 1.0, n_fade, endpoint=False, dtype=np.float32)
        samples[:n_fade] *= ramp
        samples[-n_fade:] *= ramp[::-1]
    return samples


def _amplified(samples: Samples, volume: float) -> Samples:
    if volume != 1.0:
        samples = samples * np.float32(volume)
    if volume > 1.0:
        loud = np.abs(samples)
        room = np.float32(1.0 - KNEE)
        bent = np.sign(samples) * (KNEE + room * np.tanh((loud - KNEE) / room))
        samples = np.where(loud > KNEE, bent, samples).astype(np.float32)
    return np.clip(samples, -1.0, 1.0)
