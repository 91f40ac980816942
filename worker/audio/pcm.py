"""Samples as 16-bit integers, and the two formats made of nothing else: raw PCM and WAV.

A WAV's length is unknown until its end, so the header leaves room and is written last; past
4 GiB it becomes RF64 (EBU Tech 3306), which takes the same room.
"""

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from worker.types import Samples

FULL_SCALE = 32_768
BYTES_PER_SAMPLE = 2
RIFF_LIMIT_BYTES = 0xFFFF_FFFF
HEADER_BYTES = 80  # RIFF 12, ds64 or JUNK 36, fmt 24, data 8


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """float32 in [-1, 1] to 16 bits, held at the limits instead of wrapping; shape kept."""
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    held: NDArray[np.float32] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1)
    return held.astype(np.int16)


def from_pcm16(samples: NDArray[np.int16]) -> Samples:
    """The inverse of `to_pcm16`, exact for every 16-bit value."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def wav_header(n_samples: int, rate_hz: int, riff_limit_bytes: int = RIFF_LIMIT_BYTES) -> bytes:
    """The first 80 bytes of a mono 16-bit WAV: RIFF, or RF64 where 32 bits can not count it."""
    data_bytes = n_samples * BYTES_PER_SAMPLE
    riff_bytes = data_bytes + HEADER_BYTES - 8
    large = riff_bytes > riff_limit_bytes
    size, data_size = (0xFFFF_FFFF, 0xFFFF_FFFF) if large else (riff_bytes, data_bytes)
    counts = (riff_bytes, data_bytes, n_samples) if large else (0, 0, 0)
    form = struct.pack("<4sI4s", b"RF64" if large else b"RIFF", size, b"WAVE")
    room = struct.pack("<4sIQQQI", b"ds64" if large else b"JUNK", 28, *counts, 0)
    bytes_per_s = rate_hz * BYTES_PER_SAMPLE
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, bytes_per_s, BYTES_PER_SAMPLE, 16)
    return form + room + fmt + struct.pack("<4sI", b"data", data_size)


class PcmWriter:
    """Writes little-endian 16-bit samples to an open file, with a WAV header where asked."""

    def __init__(self, file: BinaryIO, rate_hz: int, *, header: bool) -> None:
        self._file = file
        self._rate_hz = rate_hz
        self._header = header
        self._n_samples = 0
        if header:
            file.write(bytes(HEADER_BYTES))

    def write(self, samples: Samples) -> None:
        self._n_samples += len(samples)
        self._file.write(to_pcm16(samples).astype("<i2").tobytes())

    def close(self) -> None:
        """Complete the header; the file stays open."""
        if self._header:
            self._file.seek(0)
            self._file.write(wav_header(self._n_samples, self._rate_hz))
