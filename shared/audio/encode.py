"""Waves to files of every format the farm offers, in a stream; segments to FLAC and back."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from shared.audio.ogg import OggPages
from shared.audio.pcm import complete_wav, from_pcm16, pcm_bytes, to_pcm16, wav_header
from shared.audio.tape import AudioFile, Tape
from shared.audio.wave import Samples, TimingRows, Wave
from shared.errors import BadAudio, InternalError
from shared.formats import allowed_rates
from shared.schemas import AudioFormat

# libsndfile overflows its stack when Vorbis or Opus get a very long block at once. What does not
# fill a block waits for the next segment, so a long one would hold back the end of a sentence.
BLOCK_SAMPLES = 2048

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

    Raises as `encode` does, and `InternalError` when the file can not be written.
    """
    try:
        with path.open("w+b") as file:
            n_samples = encode(chunks, rate_hz, audio_format, file)
            if audio_format == "wav":
                complete_wav(file, n_samples, rate_hz)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InternalError(f"the {audio_format} encoder failed: {error}") from error
    return Encoded(n_samples=n_samples, size_bytes=path.stat().st_size, sha256=digest)


def encode(
    chunks: Iterable[Samples], rate_hz: int, audio_format: AudioFormat, file: AudioFile
) -> int:
    """Write float32 chunks of shape [n] to an empty file, each as soon as the format lets it.

    The same chunks give the same bytes, whatever kind of file it is; only the first
    `len(stream_header(...))` of them may be rewritten at the end. A WAV is left with the header of
    unknown length. Answers how many samples there were. `rate_hz` must be among
    `shared.formats.allowed_rates`; raises `InternalError` when it is not or when the encoder
    fails, and passes what `chunks` raises.
    """
    if rate_hz not in allowed_rates(audio_format):
        raise InternalError(f"{audio_format} has no {rate_hz} Hz; resample before encoding")
    if audio_format in _COMPRESSED:
        return _write_compressed(chunks, rate_hz, audio_format, file)
    if audio_format == "wav":
        file.write(wav_header(None, rate_hz))
    n_samples = 0
    for chunk in chunks:
        file.write(pcm_bytes(chunk))
        n_samples += len(chunk)
    return n_samples


@cache
def stream_header(rate_hz: int, audio_format: AudioFormat) -> bytes:
    """What a stream begins with where the finished file has a header that knows its length.

    Past these bytes, which do not depend on the sound, the two are the same.
    """
    if audio_format == "wav":
        return wav_header(None, rate_hz)
    tape = Tape()
    try:
        encode([np.zeros(rate_hz, dtype=np.float32)], rate_hz, audio_format, tape)
        return tape.read_at(0, tape.header_bytes)
    finally:
        tape.close()


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


def _write_compressed(
    chunks: Iterable[Samples], rate_hz: int, audio_format: AudioFormat, file: AudioFile
) -> int:
    container, subtype = _COMPRESSED[audio_format]
    out = _Checked(OggPages(file) if container == "OGG" else file)
    n_samples = 0
    with (
        _encoder(audio_format, out),
        soundfile.SoundFile(out, "w", rate_hz, 1, subtype, format=container) as encoder,
    ):
        for block in _blocks(chunks):
            encoder.write(to_pcm16(block) if audio_format == "flac" else block)
            n_samples += len(block)
    return n_samples


class _Checked:
    """Passes calls on to a file; libsndfile is told of a failure and we keep what it was."""

    def __init__(self, file: AudioFile) -> None:
        self.tell, self.read = file.tell, file.read
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # it writes first what it had kept
            self.error = error
            return -1


def _blocks(chunks: Iterable[Samples]) -> Iterator[Samples]:
    """The same sound in blocks of `BLOCK_SAMPLES`, the last one shorter.

    Vorbis encodes a little differently where its blocks begin elsewhere.
    """
    block, n_held = np.empty(BLOCK_SAMPLES, dtype=np.float32), 0
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            taken = chunk[at : at + BLOCK_SAMPLES - n_held]
            block[n_held : n_held + len(taken)] = taken
            at, n_held = at + len(taken), n_held + len(taken)
            if n_held == BLOCK_SAMPLES:
                yield block
                n_held = 0
    yield block[:n_held]


@contextmanager
def _encoder(audio_format: str, out: _Checked | None = None) -> Iterator[None]:
    try:
        yield
        failure: Exception | None = out.error if out else None
    except soundfile.SoundFileError as error:
        failure = out.error if out and out.error else error
    if failure:
        raise InternalError(f"the {audio_format} encoder failed: {failure}") from failure
