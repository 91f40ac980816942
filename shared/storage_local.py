"""Objects as plain files in a local directory, the store of a farm on one machine.

`objects/<key>` is the object; `types/<key>` its content type, only where the name does not say
it; `incoming/` holds uploads until they are whole and durable.
"""

import errno
import mimetypes
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from shared.errors import ObjectMissing, ObjectStoreFull, ObjectStoreUnavailable
from shared.schemas import MEDIA_TYPES
from shared.storage import CHUNK_BYTES, ObjectInfo, check_key, check_range

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_ABANDONED_S = 86_400.0
_RACES = 8


@contextmanager
def _files(key: str | None = None) -> Iterator[None]:
    """Turns the operating system's errors into ours; a file not there is a missing object."""
    try:
        yield
    except OSError as error:
        raise translate(error, key) from error


def translate(
    error: OSError, key: str | None
) -> ObjectMissing | ObjectStoreFull | ObjectStoreUnavailable:
    """Our error for the operating system's; `key` where reading it is what failed."""
    if key is not None and isinstance(error, _ABSENT):
        return ObjectMissing(f"No object is stored under {key!r}.")
    if error.errno in _FULL:
        return ObjectStoreFull("The storage directory's disk is full: make room.", retry_after_s=30)
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return ObjectStoreUnavailable(
        f"The storage directory can not be used ({reason}): check that it is mounted and writable.",
        retry_after_s=5,
    )


class LocalStore:
    """Objects under `root`, removed by `ensure` when older than `lifetime`."""

    def __init__(self, root: Path, lifetime: timedelta) -> None:
        self._root = root.absolute()
        self._objects = self._root / "objects"
        self._types = self._root / "types"
        self._incoming = self._root / "incoming"
        self._lifetime = lifetime

    def ensure(self) -> None:
        """Make the directories and remove what is past its lifetime; meant to be repeated."""
        with _files():
            for folder in (self._objects, self._types, self._incoming):
                folder.mkdir(parents=True, exist_ok=True)
            self._expire(self._incoming, time.time() - _ABANDONED_S)
            self._expire(self._objects, time.time() - self._lifetime.total_seconds())

    def check(self) -> None:
        with _files():
            os.utime(self._incoming)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._store(key, BytesIO(data), content_type)

    def put_file(self, key: str, path: Path, content_type: str) -> None:
        with path.open("rb") as source:
            self._store(key, source, content_type)

    def stat(self, key: str) -> ObjectInfo:
        path = self._objects / check_key(key)
        with _files(key):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder", key)
            size_bytes = path.stat().st_size
            return ObjectInfo(key=key, size_bytes=size_bytes, content_type=self._type(key))

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_range(start, length)
        chunks = _chunks(self._objects / check_key(key), key, start, length)
        next(chunks)  # opens the file, and has it closed even when no chunk is ever asked
        return chunks

    def list(self, prefix: str) -> Iterator[str]:
        folder = check_key(prefix.rpartition("/")[0]) if "/" in prefix else ""
        with _files():
            for path in _walk(self._objects / folder):
                key = path.relative_to(self._objects).as_posix()
                if key.startswith(prefix):
                    yield key

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            with _files():
                self._remove(self._objects / key)
                self._remove(self._types / key)

    def link(self, key: str, lifetime: timedelta, filename: str) -> str | None:  # noqa: ARG002
        check_key(key)
        return None

    def _store(self, key: str, source: BinaryIO, content_type: str) -> None:
        target = self._objects / check_key(key)
        upload = self._incoming / uuid4().hex
        with _files():
            try:
                with upload.open("xb") as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                self._record_type(key, content_type)
                _move(upload, target)
            finally:
                upload.unlink(missing_ok=True)

    def _type(self, key: str) -> str:
        with suppress(*_ABSENT):
            return (self._types / key).read_text("utf-8")
        return _guess(key)

    def _record_type(self, key: str, content_type: str) -> None:
        if content_type == _guess(key):
            self._remove(self._types / key)
            return
        upload = self._incoming / uuid4().hex
        upload.write_text(content_type, "utf-8")
        _move(upload, self._types / key)

    def _expire(self, folder: Path, before_s: float) -> None:
        for path in _walk(folder):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before_s:
                    self._remove(path)
                    if folder == self._objects:
                        self._remove(self._types / path.relative_to(self._objects))

    def _remove(self, path: Path) -> None:
        """Remove a file and the folders it leaves empty."""
        with suppress(*_ABSENT):
            path.unlink()
        folder = path.parent
        while folder.parent not in (self._root, folder):
            try:
                folder.rmdir()
            except OSError:  # not empty, or removed by another
                return
            folder = folder.parent


def _guess(key: str) -> str:
    suffix = Path(key).suffix.lower()
    known = MEDIA_TYPES.get(suffix[1:]) or mimetypes.types_map.get(suffix)
    return known or "application/octet-stream"


def _move(upload: Path, target: Path) -> None:
    """Give a whole file its name, durably; another's `_remove` may take the folder in between."""
    for turn in range(_RACES):
        made = [folder.parent for folder in target.parents if not folder.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            upload.replace(target)
        except (FileNotFoundError, FileExistsError):
            # `mkdir` says that the folder exists when it is removed while it looks.
            if turn == _RACES - 1:
                raise
            continue
        for folder in {target.parent, *made}:
            _sync(folder)
        return


def _sync(folder: Path) -> None:
    # A folder another has removed since held nothing of ours: the file was replaced into it.
    with suppress(FileNotFoundError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below `folder`; folders removed meanwhile are skipped."""

    def missed(error: OSError) -> None:
        if not isinstance(error, _ABSENT):
            raise error

    for parent, _, names in os.walk(folder, onerror=missed):
        for name in names:
            yield Path(parent, name)


def _chunks(path: Path, key: str, start: int, length: int | None) -> Iterator[bytes]:
    """An empty chunk once the file is open, then its content."""
    with _files(key), path.open("rb") as file:
        file.seek(start)
        left = length
        chunk = b""
        while True:
            yield chunk
            chunk = file.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
