"""Where audio lives: one protocol, an S3 store and a local directory behind it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 256 * 1024


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
        """The object's bytes from `start`, in chunks; opened before the first chunk is asked."""

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with `prefix`."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""

    def link(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        """A link that downloads the object as `filename`, or None where the API must serve it."""
