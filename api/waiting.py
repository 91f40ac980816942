"""How many callers may wait at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Unavailable


class WaitSlots:
    """Keeps long polls and event streams from taking every thread of the server."""

    def __init__(self, n_threads: int) -> None:
        self._slots = threading.BoundedSemaphore(max(1, n_threads * 3 // 4))
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many requests wait now."""
        return self._taken

    @contextmanager
    def try_hold(self) -> Iterator[bool]:
        """Whether the caller may wait; a long poll that may not answers at once."""
        held = self._slots.acquire(blocking=False)
        self._count(held)
        try:
            yield held
        finally:
            if held:
                self._slots.release()
            self._count(-held)

    def acquire(self) -> None:
        """Take a slot until `release`; raises `Unavailable` when none is left."""
        if not self._slots.acquire(blocking=False):
            raise Unavailable(
                "Too many callers wait at once; ask again, or use a webhook.", retry_after_s=5
            )
        self._count(1)

    def release(self) -> None:
        """Give back a slot that `acquire` took."""
        self._slots.release()
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._taken += change
