"""Samples as 16-bit integers, and the two formats made of nothing else: raw PCM and WAV.

A WAV's length is unknown until its end, so its header is written last: the plain 44 bytes that
every player and every careless parser knows, or RF64 (EBU Tech 3306) past 4 GiB.
"""

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.audio.wave import Samples

FULL_SCALE = 32_768
BYTES_PER_SAMPLE = 2
RIFF_LIMIT_BYTES = 0xFFFF_FFFF
HEADER_BYTES = 44  # RIFF 12, fmt 24, data 8
DS64_BYTES = 36
SHIFT_BYTES = 1 << 20


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """float32 in [-1, 1] to 16 bits, held at the limits instead of wrapping; shape kept."""
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    held: NDArray[np.float32] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1)
    return held.astype(np.int16)


def from_pcm16(samples: NDArray[np.int16]) -> Samples:
    """The inverse of `to_pcm16`, exact for every 16-bit value."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def wav_header(n_samples: int, rate_hz: int, riff_limit_bytes: int = RIFF_LIMIT_BYTES) -> bytes:
    """What comes before the samples of a mono 16-bit WAV: 44 bytes, or 80 of RF64 for a large one.

    RF64 is for what 32 bits can not count.
    """
    data_bytes = n_samples * BYTES_PER_SAMPLE
    riff_bytes = data_bytes + HEADER_BYTES - 8
    bytes_per_s = rate_hz * BYTES_PER_SAMPLE
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, bytes_per_s, BYTES_PER_SAMPLE, 16)
    if riff_bytes <= riff_limit_bytes:
        form = struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
        return form + fmt + struct.pack("<4sI", b"data", data_bytes)
    counts = (riff_bytes + DS64_BYTES, data_bytes, n_samples)
    form = struct.pack("<4sI4s", b"RF64", 0xFFFF_FFFF, b"WAVE")
    form += struct.pack("<4sIQQQI", b"ds64", 28, *counts, 0)
    return form + fmt + struct.pack("<4sI", b"data", 0xFFFF_FFFF)


class PcmWriter:
    """Writes little-endian 16-bit samples to a file open for both, with a WAV header where asked.

    `riff_limit_bytes` is what 32 bits can count; tests make it small.
    """

    def __init__(
        self,
        file: BinaryIO,
        rate_hz: int,
        *,
        header: bool,
        riff_limit_bytes: int = RIFF_LIMIT_BYTES,
    ) -> None:
        self._file = file
        self._rate_hz = rate_hz
        self._riff_limit_bytes = riff_limit_bytes
        self._header = header
        self._n_samples = 0
        if header:
            file.write(bytes(HEADER_BYTES))

    def write(self, samples: Samples) -> None:
        self._n_samples += len(samples)
        self._file.write(to_pcm16(samples).astype("<i2").tobytes())

    def close(self) -> None:
        """Complete the header; the file stays open."""
        if not self._header:
            return
        header = wav_header(self._n_samples, self._rate_hz, self._riff_limit_bytes)
        if len(header) > HEADER_BYTES:
            self._make_room(len(header) - HEADER_BYTES)
        self._file.seek(0)
        self._file.write(header)

    def _make_room(self, n_bytes: int) -> None:
        """Move the samples up, from the last to the first, holding little of them."""
        end = HEADER_BYTES + self._n_samples * BYTES_PER_SAMPLE
        while end > HEADER_BYTES:
            start = max(HEADER_BYTES, end - SHIFT_BYTES)
            self._file.seek(start)
            moved = self._file.read(end - start)
            self._file.seek(start + n_bytes)
            self._file.write(moved)
            end = start
