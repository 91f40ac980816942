"""A thread that repeats a step, whatever goes wrong in it."""

import logging
import threading
from collections.abc import Callable

from shared.errors import FarmError

log = logging.getLogger(__name__)

SLEEP_AFTER_FAULT_S = 1.0


class Loop:
    """A daemon thread that runs `step` every `interval_s` until closed."""

    def __init__(self, name: str, interval_s: float, step: Callable[[], None]) -> None:
        self._name = name
        self._interval_s = interval_s
        self._step = step
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        wait_s = self._interval_s
        while not self._closed.wait(wait_s):
            wait_s = self._interval_s
            try:
                self._step()
            except FarmError as error:
                log.warning("%s: %s", self._name, error.message, extra={"action": self._name})
                wait_s = max(self._interval_s, SLEEP_AFTER_FAULT_S)
            except Exception:  # a thread's outermost loop: without it the farm would not heal
                log.exception("a fault of ours", extra={"action": self._name})
                wait_s = max(self._interval_s, SLEEP_AFTER_FAULT_S)
