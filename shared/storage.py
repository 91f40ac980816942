"""Where audio lives: one protocol, an S3 store and a local directory behind it.

A store belongs to one process: open it after a fork, not before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from shared.settings import Settings

CHUNK_BYTES = 256 * 1024
MAX_KEY_BYTES = 900  # S3 allows 1024; a link signed by the API quotes the key
MAX_NAME_BYTES = 200  # file systems allow 255


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What the store knows of an object."""

    key: str
    size_bytes: int
    content_type: str


class ObjectStore(Protocol):
    """Objects under keys; an upload is visible only whole.

    Every call raises `ObjectStoreUnavailable` when the store does not answer and
    `ObjectStoreFull` when it has no room; reading what is not there raises `ObjectMissing`.
    A key that `check_key` refuses raises `ValueError`.
    """

    def ensure(self) -> None:
        """Make the bucket or directory and its lifecycle rule; harmless when they are there."""

    def check(self) -> None:
        """Return when the store answers."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, replacing what was there."""

    def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Store a file's content under `key` without reading it whole."""

    def stat(self, key: str) -> ObjectInfo:
        """Size and type of an object."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes from `start`, in chunks; opened before the first chunk is asked.

        A range that reaches past the end gives what there is, as a slice would.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with `prefix`, in no promised order."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""

    def link(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        """A link that downloads the object as `filename`, or None where the API must serve it."""


def check_key(key: str) -> str:
    """The key itself when every store can hold it, so that no key leaves its directory.

    Raises `ValueError` for an empty or overlong key or name, a leading or doubled slash, `.` and
    `..`, backslashes, control characters and lone surrogates.
    """
    names = key.split("/")
    fits = (
        not any(0xD800 <= ord(char) <= 0xDFFF for char in key)
        and len(key.encode()) <= MAX_KEY_BYTES
        and all(name not in ("", ".", "..") for name in names)
        and all(len(name.encode()) <= MAX_NAME_BYTES for name in names)
        and all(char >= " " and char not in "\\\x7f" for char in key)
    )
    if not fits:
        raise ValueError(
            f"No object can have the key {key!r}: give names joined by single slashes, each up to "
            f"{MAX_NAME_BYTES} bytes, without '..', backslashes and control characters."
        )
    return key


def check_range(start: int, length: int | None) -> None:
    """Raises `ValueError` for a range that starts before the object or has a negative length."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"Range {start}+{length} is not valid: give numbers from 0 up.")


def content_disposition(filename: str) -> str:
    """The header value that saves a download as `filename` (RFC 6266), whatever is in the name."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\/%;' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def open_store(settings: Settings) -> ObjectStore:
    """The store the settings name. Nothing is contacted yet; `ensure` does that."""
    # Imported here: the S3 client is slow to load, and both modules need this one.
    if settings.storage == "s3":
        from shared.storage_s3 import S3Store

        return S3Store(settings)
    from shared.storage_local import LocalStore

    return LocalStore(settings.storage_dir, timedelta(days=settings.object_lifetime_days))
