"""Waves to files of every format the farm offers, in a stream; segments to FLAC and back."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from shared.audio.pcm import PcmWriter, from_pcm16, to_pcm16
from shared.audio.wave import Samples, TimingRows, Wave
from shared.errors import BadAudio, InternalError
from shared.formats import allowed_rates
from shared.schemas import AudioFormat

# libsndfile overflows its stack when Vorbis or Opus get a very long block at once.
BLOCK_SAMPLES = 4096

_COMPRESSED: dict[str, tuple[str, str]] = {
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What a file came out as."""

    n_samples: int
    size_bytes: int
    sha256: str


def write_audio(
    chunks: Iterable[Samples], rate_hz: int, audio_format: AudioFormat, path: Path
) -> Encoded:
    """Encode float32 chunks of shape [n] to `path`, holding one chunk at a time.

    `rate_hz` must be among `shared.formats.allowed_rates`; raises `InternalError` when it is
    not or when the encoder fails, and passes what `chunks` raises.
    """
    if rate_hz not in allowed_rates(audio_format):
        raise InternalError(f"{audio_format} has no {rate_hz} Hz; resample before encoding")
    if audio_format in _COMPRESSED:
        n_samples = _write_compressed(chunks, rate_hz, audio_format, path)
    else:
        n_samples = _write_pcm(chunks, rate_hz, path, header=audio_format == "wav")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Encoded(n_samples=n_samples, size_bytes=path.stat().st_size, sha256=digest)


def encode_segment(wave: Wave, timings: TimingRows = ()) -> bytes:
    """A wave as 16-bit FLAC, as segments are stored; silence and 16-bit sound lose nothing.

    The timings lie inside the file, as its comment.
    """
    buffer = io.BytesIO()
    with (
        _encoder("flac"),
        soundfile.SoundFile(buffer, "w", wave.rate_hz, 1, "PCM_16", format="FLAC") as file,
    ):
        if timings:
            file.comment = json.dumps(timings, separators=(",", ":"))
        file.write(to_pcm16(wave.samples))
    return buffer.getvalue()


def decode_segment(data: bytes) -> tuple[Wave, TimingRows]:
    """The wave and timings `encode_segment` stored.

    Raises `BadAudio` when the bytes are not such a file.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples, rate_hz = file.read(dtype="int16"), int(file.samplerate)
            timings = json.loads(file.comment or "[]")
        rows = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in timings)
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise BadAudio(f"a stored segment of {len(data)} bytes can not be decoded") from error
    return Wave(samples=from_pcm16(samples), rate_hz=rate_hz), rows


def _write_pcm(chunks: Iterable[Samples], rate_hz: int, path: Path, *, header: bool) -> int:
    n_samples = 0
    with path.open("w+b") as file:
        writer = PcmWriter(file, rate_hz, header=header)
        for chunk in chunks:
            writer.write(chunk)
            n_samples += len(chunk)
        writer.close()
    return n_samples


def _write_compressed(
    chunks: Iterable[Samples], rate_hz: int, audio_format: AudioFormat, path: Path
) -> int:
    container, subtype = _COMPRESSED[audio_format]
    n_samples = 0
    with (
        _encoder(audio_format),
        soundfile.SoundFile(path, "w", rate_hz, 1, subtype, format=container) as file,
    ):
        for block in _blocks(chunks):
            file.write(to_pcm16(block) if audio_format == "flac" else block)
            n_samples += len(block)
    return n_samples


def _blocks(chunks: Iterable[Samples]) -> Iterator[Samples]:
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_SAMPLES):
            yield np.ascontiguousarray(chunk[start : start + BLOCK_SAMPLES])


@contextmanager
def _encoder(audio_format: str) -> Iterator[None]:
    try:
        yield
    except soundfile.SoundFileError as error:
        raise InternalError(f"the {audio_format} encoder failed: {error}") from error
