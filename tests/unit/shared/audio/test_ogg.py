import io
import struct

import numpy as np
import soundfile

from shared.audio.ogg import SERIAL, OggPages, page_crc


def written(n_bytes_at_once: int) -> tuple[bytes, bytes]:
    """An Ogg file as libsndfile writes it, and what becomes of it in pieces of that many bytes."""
    own, ours = io.BytesIO(), io.BytesIO()
    sound = np.random.default_rng(1).normal(0, 0.1, 48_000).astype(np.float32)
    soundfile.write(own, sound, 16_000, "VORBIS", format="OGG")
    pages, data = OggPages(ours), own.getvalue()
    for start in range(0, len(data), n_bytes_at_once):
        assert pages.write(data[start : start + n_bytes_at_once]) <= n_bytes_at_once
    return data, ours.getvalue()


def pages_of(data: bytes) -> list[bytes]:
    return [b"OggS" + rest for rest in data.split(b"OggS")[1:]]


def test_the_checksum_is_the_one_libogg_writes() -> None:
    for page in pages_of(written(1000)[0]):
        assert page_crc(page[:22] + bytes(4) + page[26:]) == struct.unpack_from("<I", page, 22)[0]


def test_every_page_gets_the_serial_number_and_keeps_its_place() -> None:
    own, ours = written(313)
    assert len(ours) == len(own)
    before, after = pages_of(own), pages_of(ours)
    assert [len(page) for page in after] == [len(page) for page in before]
    assert {struct.unpack_from("<I", page, 14)[0] for page in after} == {SERIAL}
    for old, new in zip(before, after, strict=True):
        assert (old[:14], old[18:22], old[26:]) == (new[:14], new[18:22], new[26:])
        assert page_crc(new[:22] + bytes(4) + new[26:]) == struct.unpack_from("<I", new, 22)[0]


def test_the_pieces_it_comes_in_change_nothing() -> None:
    assert written(1)[1][32:] != b""
    lengths = {len(written(n)[1]) for n in (1, 27, 4096)}
    assert len(lengths) == 1
