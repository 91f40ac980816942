"""How many callers may wait at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Unavailable


class Places:
    """So many places, shared among tenants.

    A tenant may hold as many places as are free: one alone gets half of them, two a third each,
    and there is always one left for who comes next. `fair` is off where all are one tenant.
    """

    def __init__(self, n_places: int, *, fair: bool = False) -> None:
        self._places = n_places
        self._fair = fair
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are held now."""
        return self._held.total()

    def take(self, tenant: str) -> bool:
        """Whether the tenant gets a place, until `release`."""
        with self._lock:
            free = self._places - self._held.total()
            if free < 1 or (self._fair and self._held[tenant] >= free):
                return False
            self._held[tenant] += 1
            return True

    def release(self, tenant: str) -> None:
        """Give back a place that was taken."""
        with self._lock:
            self._held[tenant] -= 1
            self._held += Counter()  # forgets who holds none


class WaitSlots(Places):
    """Keeps long polls and event streams from taking every thread of the server."""

    def __init__(self, n_threads: int, *, fair: bool = False) -> None:
        super().__init__(max(1, n_threads * 3 // 4), fair=fair)

    @contextmanager
    def try_hold(self, tenant: str) -> Iterator[bool]:
        """Whether the caller may wait; a long poll that may not answers at once."""
        held = self.take(tenant)
        try:
            yield held
        finally:
            if held:
                self.release(tenant)

    def acquire(self, tenant: str) -> None:
        """Take a place until `release`; raises `Unavailable` when none is left for the tenant."""
        if not self.take(tenant):
            raise Unavailable(
                "Too many callers wait at once; ask again, or use a webhook.", retry_after_s=5
            )
