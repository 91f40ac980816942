"""An encoder's output as listeners hear it: bytes in order, read while more are written.

What listeners have can not be taken back, so where an encoder returns to complete its header, the
tape keeps what it had there. Only the finished file has the completed header.
"""

import os
import tempfile
import threading
from typing import Protocol


class AudioFile(Protocol):
    """Where an encoder writes: a file open for reading and writing, or a `Tape`."""

    def write(self, data: bytes, /) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def read(self, n_bytes: int, /) -> bytes: ...


class Tape:
    """A file to write to, kept in an unnamed temporary file; one thread writes, any may read.

    `header_bytes` is how much of the beginning the encoder has tried to rewrite.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="ttsfarm-tape-")  # noqa: SIM115  # see close
        self._changed = threading.Condition()
        self._at = 0
        self.size_bytes = 0
        self.header_bytes = 0
        self.ended = False
        self._sealed = False

    def write(self, data: bytes) -> int:
        if self._sealed:
            return len(data)
        n_old = min(len(data), self.size_bytes - self._at)
        if n_old:
            self.header_bytes = max(self.header_bytes, self._at + n_old)
        fresh = memoryview(data)[n_old:]
        while fresh:
            n_written = os.pwrite(self._file.fileno(), fresh, self.size_bytes)
            fresh = fresh[n_written:]
            with self._changed:
                self.size_bytes += n_written
                self._changed.notify_all()
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        self._at = min(base + offset, self.size_bytes)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, n_bytes: int) -> bytes:
        data = self.read_at(self._at, n_bytes)
        self._at += len(data)
        return data

    def read_at(self, start: int, n_bytes: int) -> bytes:
        """What there is of `n_bytes` from `start`; empty where nothing is yet."""
        n_there = max(0, min(n_bytes, self.size_bytes - start))
        return os.pread(self._file.fileno(), n_there, start)

    def seal(self) -> None:
        """Drop what is written from now on: an encoder that breaks off still writes its end."""
        self._sealed = True

    def end(self) -> None:
        """Nothing more will be written: wake who waits for it."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, size_bytes: int, timeout_s: float) -> None:
        """Return when there is more than `size_bytes`, when there never will be, or in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or self.size_bytes > size_bytes, timeout_s)

    def close(self) -> None:
        self._file.close()
