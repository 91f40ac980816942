"""Ogg pages under one fixed serial number (RFC 3533), so that the same sound gives the same bytes.

libsndfile draws the serial number by chance. It names a stream among others in one file; ours are
always alone.
"""

import struct
import zlib

from shared.audio.tape import AudioFile

SERIAL = 0x7474_7366  # "ttsf"; any number will do
HEADER_BYTES = 27
SERIAL_AT, CRC_AT, N_LACES_AT = 14, 22, 26
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def page_crc(page: bytes) -> int:
    """The checksum of a page whose checksum field is zero.

    Ogg's CRC has zlib's polynomial with every byte and the result mirrored, and starts from and
    ends with zero where zlib inverts.
    """
    inverted = zlib.crc32(page.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{inverted:032b}"[::-1], 2)


class OggPages:
    """A file for libsndfile: passes on whole pages, each with `SERIAL` and its new checksum.

    The pages keep their length, so every position in the file stays as libsndfile counts it.
    """

    def __init__(self, file: AudioFile) -> None:
        self._file = file
        self._begun = b""

    def write(self, data: bytes) -> int:
        self._begun += data
        while (size := _page_size(self._begun)) is not None:
            self._file.write(_renamed(self._begun[:size]))
            self._begun = self._begun[size:]
        return len(data)

    def tell(self) -> int:
        return self._file.tell() + len(self._begun)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only where the file is already: Ogg is written from its start to its end."""
        here = self.tell()
        wanted = offset if whence == 0 else here + offset
        if wanted != here:
            raise OSError(f"an Ogg file is written in order; asked for {wanted} at {here}")
        return here

    def read(self, n_bytes: int) -> bytes:
        raise OSError(f"an Ogg file that is being written has no {n_bytes} bytes to read")


def _page_size(data: bytes) -> int | None:
    """The length of the page `data` begins with, None while it is not whole."""
    if len(data) < HEADER_BYTES or len(data) < HEADER_BYTES + data[N_LACES_AT]:
        return None
    end = HEADER_BYTES + data[N_LACES_AT]
    size = end + sum(data[HEADER_BYTES:end])
    return size if len(data) >= size else None


def _renamed(page: bytes) -> bytes:
    changed = bytearray(page)
    struct.pack_into("<I", changed, SERIAL_AT, SERIAL)
    struct.pack_into("<I", changed, CRC_AT, 0)
    struct.pack_into("<I", changed, CRC_AT, page_crc(bytes(changed)))
    return bytes(changed)
