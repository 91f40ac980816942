import errno
import hashlib
import io
import itertools
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.audio.encode import (
    decode_segment,
    encode,
    encode_segment,
    stream_header,
    write_audio,
)
from shared.audio.pcm import HEADER_BYTES, complete_wav, from_pcm16, to_pcm16, wav_header
from shared.audio.tape import Tape
from shared.errors import BadAudio, InternalError
from shared.formats import allowed_rates
from shared.schemas import AudioFormat
from worker.types import Samples, Wave

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
EDGES = np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], dtype=np.float32)


def tone(rate_hz: int, duration_s: float = 1.0) -> Samples:
    times = np.arange(round(rate_hz * duration_s)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def read(path: Path, audio_format: str, rate_hz: int) -> Samples:
    if audio_format == "pcm":
        return from_pcm16(np.frombuffer(path.read_bytes(), dtype="<i2"))
    info = soundfile.info(path)
    assert (info.format, info.subtype) == CONTAINERS[audio_format]
    assert (info.samplerate, info.channels) == (rate_hz, 1)
    samples, _ = soundfile.read(path, dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def mp3_samples(data: bytes, rate_hz: int) -> int:
    """How many samples the whole frames hold (MPEG-2 layer III).

    libsndfile guesses a length from the first frame where no header says it, and stops there.
    """
    at, n_frames = 0, 0
    while at + 4 <= len(data):
        assert data[at : at + 2] == b"\xff\xf3"
        kbit_s = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[data[at + 2] >> 4]
        at += 72_000 * kbit_s // rate_hz + (data[at + 2] >> 1 & 1)
        n_frames += at <= len(data)
    return n_frames * 576


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_the_file_plays_what_was_written(
    audio_format: AudioFormat, rate_hz: int, tmp_path: Path
) -> None:
    path, sound = tmp_path / "audio", tone(rate_hz)
    encoded = write_audio(np.array_split(sound, 7), rate_hz, audio_format, path)
    heard = read(path, audio_format, rate_hz)
    assert encoded.n_samples == len(sound)
    assert abs(len(heard) - len(sound)) <= rate_hz * 0.05
    loudness = float(np.sqrt(np.mean(np.square(heard))))
    assert loudness == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * rate_hz / len(heard) == pytest.approx(440, abs=3)
    assert encoded.size_bytes == path.stat().st_size
    assert encoded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("audio_format", ["wav", "flac", "pcm"])
def test_lossless_formats_hold_at_the_limits_instead_of_wrapping(
    audio_format: AudioFormat, tmp_path: Path
) -> None:
    write_audio([EDGES], 16_000, audio_format, tmp_path / "audio")
    heard = read(tmp_path / "audio", audio_format, 16_000)
    np.testing.assert_allclose(heard, np.clip(EDGES, -1, 1), atol=1 / 32_768)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_the_same_sound_gives_the_same_file(audio_format: AudioFormat, tmp_path: Path) -> None:
    hashes = {
        write_audio(np.array_split(tone(16_000), n), 16_000, audio_format, tmp_path / str(n)).sha256
        for n in (1, 5)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("audio_format", ["ogg", "opus", "mp3"])
def test_a_chunk_of_minutes_does_not_overflow_the_encoder(
    audio_format: AudioFormat, tmp_path: Path
) -> None:
    encoded = write_audio([tone(8_000, 120.0)], 8_000, audio_format, tmp_path / "audio")
    assert encoded.n_samples == 960_000


def test_memory_stays_flat_over_an_hour(tmp_path: Path) -> None:
    second = tone(16_000)

    def hour() -> Iterator[Samples]:
        for _ in range(3600):
            yield second

    tracemalloc.start()
    encoded = write_audio(hour(), 16_000, "wav", tmp_path / "audio")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert encoded.size_bytes == 3600 * 16_000 * 2 + HEADER_BYTES
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize(("audio_format", "rate_hz"), [("mp3", 9_000), ("opus", 44_100)])
def test_a_rate_the_format_lacks_is_a_fault_of_ours(
    audio_format: AudioFormat, rate_hz: int, tmp_path: Path
) -> None:
    with pytest.raises(InternalError, match=f"{audio_format} has no {rate_hz} Hz"):
        write_audio([tone(8_000)], rate_hz, audio_format, tmp_path / "audio")


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_the_encoder_takes_every_allowed_rate(audio_format: AudioFormat, tmp_path: Path) -> None:
    for rate_hz in allowed_rates(audio_format):
        write_audio([tone(rate_hz, 0.1)], rate_hz, audio_format, tmp_path / "audio")
        assert soundfile.info(tmp_path / "audio").samplerate == rate_hz


def test_a_folder_that_is_not_there_is_reported_by_the_encoder(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="the flac encoder failed"):
        write_audio([tone(8_000)], 8_000, "flac", tmp_path / "nowhere" / "audio")


@given(arrays(np.int16, st.integers(0, 300)))
def test_sixteen_bits_survive_the_way_through_floats(samples: np.ndarray) -> None:
    np.testing.assert_array_equal(to_pcm16(from_pcm16(samples)), samples)


def test_a_stored_segment_comes_back_exactly() -> None:
    sound = from_pcm16(to_pcm16(tone(22_050)))
    back, timings = decode_segment(encode_segment(Wave(samples=sound, rate_hz=22_050)))
    assert (back.rate_hz, timings) == (22_050, ())
    assert back.samples.dtype == np.float32
    np.testing.assert_array_equal(back.samples, sound)


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 4), max_size=400))
def test_timings_lie_inside_the_stored_segment(rows: list[tuple[int, int, int, int]]) -> None:
    wave, timings = Wave(samples=EDGES, rate_hz=8_000), tuple(rows)
    data = encode_segment(wave, timings)
    assert data == encode_segment(wave, timings)
    back, read = decode_segment(data)
    assert read == timings
    np.testing.assert_allclose(back.samples, np.clip(EDGES, -1, 1), atol=1 / 32_768)


@pytest.mark.parametrize("comment", ["no rows", "[[1,2,3]]", '[["a",1,2,3]]', "7"])
def test_a_stored_segment_with_a_foreign_comment_is_bad_audio(comment: str) -> None:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(to_pcm16(EDGES))
    with pytest.raises(BadAudio):
        decode_segment(buffer.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"not audio", encode_segment(Wave(samples=EDGES, rate_hz=8_000))[:40]]
)
def test_a_stored_segment_that_is_damaged_is_bad_audio(data: bytes) -> None:
    with pytest.raises(BadAudio, match=f"{len(data)} bytes"):
        decode_segment(data)


def test_a_wav_past_the_limit_of_32_bits_becomes_rf64() -> None:
    sound = to_pcm16(tone(16_000))
    header = wav_header(len(sound), 16_000, riff_limit_bytes=1_000)
    samples, rate_hz = soundfile.read(io.BytesIO(header + sound.tobytes()), dtype="int16")
    assert header[:4] == b"RF64"
    assert rate_hz == 16_000
    np.testing.assert_array_equal(samples, sound)


def test_a_file_that_outgrows_its_header_is_moved_up_in_place() -> None:
    sound, file = tone(16_000 * 60), io.BytesIO()
    encode([sound], 16_000, "wav", file)
    complete_wav(file, len(sound), 16_000, riff_limit_bytes=1_000)
    assert file.getvalue()[:4] == b"RF64"
    samples, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="int16")
    np.testing.assert_array_equal(samples, to_pcm16(sound))


def test_a_wav_begins_with_the_plain_header_of_44_bytes(tmp_path: Path) -> None:
    write_audio([tone(1_600)], 16_000, "wav", tmp_path / "audio")
    data = (tmp_path / "audio").read_bytes()
    assert (data[:4], data[12:16], data[36:40], len(data)) == (b"RIFF", b"fmt ", b"data", 3_244)


def test_an_rf64_header_counts_beyond_four_gibibytes() -> None:
    n_samples = 3_000_000_000
    header = wav_header(n_samples, 48_000)
    riff_bytes, data_bytes, counted = struct.unpack("<QQQ", header[20:44])
    assert len(header) == HEADER_BYTES + 36
    assert (riff_bytes, data_bytes, counted) == (6_000_000_072, 6_000_000_000, n_samples)
    assert wav_header(2_147_483_600, 48_000)[:4] == b"RIFF"
    assert wav_header(2_147_483_648, 48_000)[:4] == b"RF64"


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
def test_a_stream_is_the_file_but_for_its_header(
    audio_format: AudioFormat, rate_hz: int, tmp_path: Path
) -> None:
    sound, tape = np.array_split(tone(rate_hz, 3.3), 5), Tape()
    encode(sound, rate_hz, audio_format, tape)
    streamed = tape.read_at(0, tape.size_bytes)
    write_audio(sound, rate_hz, audio_format, tmp_path / "audio")
    header = stream_header(rate_hz, audio_format)
    assert streamed == header + (tmp_path / "audio").read_bytes()[len(header) :]
    tape.close()


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "ogg", "opus", "pcm"])
def test_what_is_streamed_so_far_plays(audio_format: AudioFormat, tmp_path: Path) -> None:
    tape, sizes = Tape(), list[int]()
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)

    def chunks() -> Iterator[Samples]:
        for _ in range(8):
            yield noise
            sizes.append(tape.size_bytes)

    encode(chunks(), 16_000, audio_format, tape)
    (tmp_path / "audio").write_bytes(tape.read_at(0, sizes[-2]))
    tape.close()
    n_samples = (
        mp3_samples((tmp_path / "audio").read_bytes(), 16_000)
        if audio_format == "mp3"
        else len(read(tmp_path / "audio", audio_format, 16_000))
    )
    # Seven seconds went in. An Ogg page holds about one, and the last may still be in the encoder.
    assert 5.5 * 16_000 <= n_samples <= 7.2 * 16_000
    assert all(earlier < later for earlier, later in itertools.pairwise(sizes))


def test_a_flac_stream_comes_out_as_it_is_made() -> None:
    tape, sizes = Tape(), list[int]()

    def chunks() -> Iterator[Samples]:
        for _ in range(4):
            yield tone(16_000)
            sizes.append(tape.size_bytes)

    encode(chunks(), 16_000, "flac", tape)
    tape.close()
    assert all(earlier < later for earlier, later in itertools.pairwise([0, *sizes]))


def test_a_full_disk_is_named_as_the_cause() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InternalError, match="No space left"):
        encode([tone(16_000)], 16_000, "flac", Full())
