"""Samples as 16-bit integers, and the two formats made of nothing else: raw PCM and WAV.

A WAV's length is unknown until its end. A stream begins with a header that says so; a file's is
completed at last: the plain 44 bytes that every player and every careless parser knows, or RF64
(EBU Tech 3306) past 4 GiB.
"""

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.audio.wave import Samples

FULL_SCALE = 32_768
BYTES_PER_SAMPLE = 2
RIFF_LIMIT_BYTES = 0xFFFF_FFFF
RIFF_BYTES = 12
HEADER_BYTES = RIFF_BYTES + 24 + 8  # RIFF, fmt, data
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


def pcm_bytes(samples: Samples) -> bytes:
    """float32 in [-1, 1] as little-endian 16-bit samples, two bytes each."""
    return to_pcm16(samples).astype("<i2").tobytes()


def wav_header(
    n_samples: int | None, rate_hz: int, riff_limit_bytes: int = RIFF_LIMIT_BYTES
) -> bytes:
    """What comes before the samples of a mono 16-bit WAV: 44 bytes, or 80 of RF64 for a large one.

    RF64 is for what 32 bits can not count. Of None samples, a length nobody knows yet, the counts
    are the largest there are, which players read as "until it ends".
    """
    if n_samples is None:
        return _riff(RIFF_LIMIT_BYTES, RIFF_LIMIT_BYTES, rate_hz)
    data_bytes = n_samples * BYTES_PER_SAMPLE
    riff_bytes = data_bytes + HEADER_BYTES - 8
    if riff_bytes <= riff_limit_bytes:
        return _riff(riff_bytes, data_bytes, rate_hz)
    form = struct.pack("<4sI4s", b"RF64", 0xFFFF_FFFF, b"WAVE")
    counts = (riff_bytes + DS64_BYTES, data_bytes, n_samples)
    form += struct.pack("<4sIQQQI", b"ds64", 28, *counts, 0)
    return form + _riff(0xFFFF_FFFF, 0xFFFF_FFFF, rate_hz)[RIFF_BYTES:]


def complete_wav(
    file: BinaryIO, n_samples: int, rate_hz: int, riff_limit_bytes: int = RIFF_LIMIT_BYTES
) -> None:
    """Give a WAV that was written with a header of unknown length its own; the file stays open.

    `riff_limit_bytes` is what 32 bits can count; tests make it small.
    """
    header = wav_header(n_samples, rate_hz, riff_limit_bytes)
    if len(header) > HEADER_BYTES:
        _make_room(file, HEADER_BYTES + n_samples * BYTES_PER_SAMPLE, len(header) - HEADER_BYTES)
    file.seek(0)
    file.write(header)


def header_growth(size_bytes: int, riff_limit_bytes: int = RIFF_LIMIT_BYTES) -> int:
    """How many bytes longer the header of a WAV file of that size is than the one of 44 bytes."""
    return DS64_BYTES if size_bytes - 8 > riff_limit_bytes else 0


def _riff(riff_bytes: int, data_bytes: int, rate_hz: int) -> bytes:
    bytes_per_s = rate_hz * BYTES_PER_SAMPLE
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, bytes_per_s, BYTES_PER_SAMPLE, 16)
    form = struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
    return form + fmt + struct.pack("<4sI", b"data", data_bytes)


def _make_room(file: BinaryIO, end: int, n_bytes: int) -> None:
    """Move the samples up, from the last to the first, holding little of them."""
    while end > HEADER_BYTES:
        start = max(HEADER_BYTES, end - SHIFT_BYTES)
        file.seek(start)
        moved = file.read(end - start)
        file.seek(start + n_bytes)
        file.write(moved)
        end = start
