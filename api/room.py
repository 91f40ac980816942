"""Whether Redis has room for new work."""

from collections.abc import Callable
from time import monotonic

from shared.errors import FULL_RETRY_S, StateStoreFull
from shared.presence import StoreMemory

LOOK_EVERY_S = 1.0


class Room:
    """Keeps the last of Redis's memory for work that was accepted before.

    Plans, results and bells need it too: a Redis that submits had filled would stand still.
    """

    def __init__(
        self, memory: Callable[[], StoreMemory], clock: Callable[[], float] = monotonic
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._good_until_s = 0.0

    def free(self) -> bool:
        """Whether there was room for new work within the last second."""
        now_s = self._clock()
        if now_s >= self._good_until_s:
            if self._memory().crowded:
                return False
            self._good_until_s = now_s + LOOK_EVERY_S
        return True

    def require(self) -> None:
        """Raise `StateStoreFull` unless there is room."""
        if not self.free():
            raise StateStoreFull(retry_after_s=FULL_RETRY_S)
