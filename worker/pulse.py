"""What a worker's child shows its parent: when it last asked for work, and until when it may hang.

Shared memory made before the fork. Times are seconds of the machine's monotonic clock, which both
processes read alike.
"""

import multiprocessing
from time import monotonic


class Pulse:
    """Written by the child that renders, read by the parent that watches it."""

    def __init__(self) -> None:
        self._asked_s = multiprocessing.Value("d", monotonic())
        self._give_up_s = multiprocessing.Value("d", 0.0)
        self._child_pid = multiprocessing.Value("q", 0)
        self.stopping = multiprocessing.Event()

    def born(self, pid: int) -> None:
        """A new child has started; whatever the last one held is not its own."""
        self._child_pid.value = pid
        self._give_up_s.value = 0.0
        self.asked()

    def asked(self) -> None:
        """The child has just asked for work."""
        self._asked_s.value = monotonic()

    def holds_until(self, give_up_s: float) -> None:
        """The child works on something that must end by `give_up_s`; 0 when it holds nothing."""
        self._give_up_s.value = give_up_s

    @property
    def child_pid(self) -> int:
        return int(self._child_pid.value)

    def hung(self, now_s: float) -> bool:
        """Whether the child is past the end of what it works on."""
        return bool(0.0 < self._give_up_s.value < now_s)

    def idle_s(self, now_s: float) -> float:
        """How long the child has neither asked for work nor worked."""
        return 0.0 if self._give_up_s.value else now_s - self._asked_s.value
