"""What a worker's parent and its child tell one another through shared memory.

Made before the fork, and without locks: a child killed while it held one would take its parent
with it; each value is one aligned word. Times are seconds of the
machine's monotonic clock, which both processes read alike.
"""

import logging
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from time import monotonic, sleep

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05


class Flag:
    """Raised by one side, seen by both, never lowered."""

    def __init__(self) -> None:
        self._raised = RawValue("b", 0)

    def set(self) -> None:
        self._raised.value = 1

    def is_set(self) -> bool:
        return bool(self._raised.value)

    def wait(self, timeout_s: float) -> bool:
        """Whether the flag is raised, at the latest after `timeout_s`."""
        limit = monotonic() + timeout_s
        while not self.is_set() and (left_s := limit - monotonic()) > 0:
            sleep(min(LOOK_EVERY_S, left_s))
        return self.is_set()


class Pulse:
    """When the child last asked for work, until when it may hang, whether it shall stop or can not
    start.

    `health_file` is the sign that a health check from outside looks at.
    """

    def __init__(self, health_file: Path | None = None) -> None:
        self._health_file = health_file
        self._asked_s = RawValue("d", monotonic())
        self._give_up_s = RawValue("d", 0.0)
        self._child_pid = RawValue("q", 0)
        self.stopping = Flag()  # by the parent
        self.unfit = Flag()  # by a child that can not be made ready

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
        return 0.0 if self._give_up_s.value else float(now_s - self._asked_s.value)

    def healthy(self) -> None:
        """This worker is ready and Redis answers: leave a sign of it, with the time."""
        if self._health_file is None:
            return
        try:
            self._health_file.touch()
        except OSError as error:  # no reason to stop working
            log.warning("no sign of health: %s", error, extra={"action": "beat"})
