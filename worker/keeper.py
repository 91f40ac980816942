"""Keeper: the loop that repairs. Every worker runs it, one leads at a time.

Puts back what silent workers held and what is due again, rings bells that are missing, expires
jobs, and has unneeded objects deleted. Running any of it twice is harmless.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from shared.bells import Bells
from shared.deliveries import DeliveryStore
from shared.errors import FarmError
from shared.presence import LaneState, PresenceStore
from shared.repair import RepairStore
from shared.storage import ObjectStore

log = logging.getLogger(__name__)

SLEEP_AFTER_FAULT_S = 1.0
JANITOR_INTERVAL_S = 2.0
COURIERS = 8  # deliveries one courier process sends at once


def missing_bells(lane: LaneState) -> int:
    """How many bells a lane lacks: one for each worker that could help with what is due."""
    return max(0, min(lane.depth, max(1, lane.workers)) - lane.bells)


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


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the keeper repairs."""

    repair: RepairStore
    presence: PresenceStore
    deliveries: DeliveryStore
    storage: ObjectStore
    bells: Bells


class Keeper:
    """The repairs themselves, each a bounded step."""

    def __init__(self, name: str, stores: Stores, *, lead_s: float) -> None:
        self._name = name
        self._stores = stores
        self._lead_s = lead_s

    def repair(self) -> None:
        """One round of everything that touches Redis alone."""
        if not self._stores.repair.lead(self._name, self._lead_s):
            return
        lost = self._stores.repair.expire_leases()
        self._stores.repair.release_retries()
        expired, removed = self._stores.repair.expire_jobs()
        if lost or expired or removed:
            log.info(
                "%d leases ended, %d jobs expired, %d removed",
                lost, expired, removed, extra={"action": "keep"},
            )  # fmt: skip
        self._ring()

    def _ring(self) -> None:
        for lane in self._stores.presence.lanes():
            self._stores.bells.ring(lane.voice, missing_bells(lane))
        self._stores.deliveries.sweep()
        ripe, bells = self._stores.repair.ripe_deliveries()
        self._stores.bells.ring_courier(max(0, min(ripe, COURIERS) - bells))

    def clear(self) -> None:
        """Delete objects nobody needs; the store may be slow, so it has a loop of its own."""
        if not self._stores.repair.lead(self._name, self._lead_s):
            return
        for garbage in self._stores.repair.garbage():
            self._stores.storage.delete(self._stores.storage.list(garbage.prefix))
            self._stores.repair.discarded([garbage])
