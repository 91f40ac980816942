"""Keeper: the loop that repairs. Every worker runs it, one leads at a time.

Puts back what silent workers held and what is due again, rings bells that are missing, expires
jobs, and has unneeded objects deleted. Running any of it twice is harmless.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from shared.batches import BatchStore
from shared.bells import Bells
from shared.cache import CacheStore
from shared.deliveries import DeliveryStore
from shared.errors import FarmError
from shared.presence import LaneState, PresenceStore
from shared.repair import BATCH, Garbage, RepairStore
from shared.storage import ObjectStore

log = logging.getLogger(__name__)

JANITOR_INTERVAL_S = 2.0
POSTPONE_S = 60.0
CACHE_ROUNDS = 10  # so many steps of one kind a round: what comes in may not outrun them
CLEAR_ROUNDS = 20  # batches of garbage one step takes; the lead lasts no longer
BATCH_STEPS = 5  # of the batches whose senders or callers broke off, a round
COURIERS = 8  # deliveries one courier process sends at once


def missing_bells(lane: LaneState) -> int:
    """How many bells a lane lacks: one for each worker that could help with what is due."""
    return max(0, min(lane.depth, max(1, lane.workers)) - lane.bells)


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the keeper repairs."""

    repair: RepairStore
    cache: CacheStore
    presence: PresenceStore
    deliveries: DeliveryStore
    batches: BatchStore
    storage: ObjectStore
    bells: Bells


class Keeper:
    """The repairs themselves, each a bounded step."""

    def __init__(
        self,
        name: str,
        stores: Stores,
        *,
        lead_s: float,
        lease_s: float,
        interval_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._stores = stores
        self._lead_s = lead_s
        self._lease_s = lease_s
        self._late_s = max(lease_s / 2, 2 * interval_s)
        self._clock = clock
        self._last_s = clock()
        self._patient_until_s = 0.0

    def repair(self) -> None:
        """One round of everything that touches Redis alone."""
        leads = self._stores.repair.lead(self._name, self._lead_s)
        patient = self._after_an_outage()
        if not leads:
            return
        lost = 0 if patient else self._stores.repair.expire_leases()
        self._stores.repair.release_retries()
        expired, removed = self._stores.repair.expire_jobs()
        self._stores.batches.work_off(BATCH_STEPS)
        if lost or expired or removed:
            log.info(
                "%d leases ended, %d jobs expired, %d removed",
                lost, expired, removed, extra={"action": "keep"},
            )  # fmt: skip
        for step in (
            self._stores.repair.revive,
            self._stores.cache.unpark,
            self._stores.cache.release,
        ):
            _while_more(step)
        self._stores.cache.evict()
        self._stores.repair.forget_voices()
        self._ring()

    def _after_an_outage(self) -> bool:
        """Whether Redis was away so lately that live workers may not have beaten again yet.

        Their leases ended while nobody could extend them; that is no loss of theirs.
        """
        now_s, last_s = self._clock(), self._last_s
        self._last_s = now_s
        if now_s - last_s > self._late_s:
            self._patient_until_s = now_s + self._lease_s / 2
        return now_s < self._patient_until_s

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
        shard = self._stores.cache.shard_to_scrub()
        if shard:
            self._stores.cache.scrub(self._stores.storage.list(shard))
        for _ in range(CLEAR_ROUNDS):
            found = self._stores.repair.garbage()
            for garbage in found:
                if garbage.is_folder:
                    self._delete([garbage], self._stores.storage.list(garbage.prefix))
            single = [garbage for garbage in found if not garbage.is_folder]
            if single:
                self._delete(single, (garbage.prefix for garbage in single))
            if len(found) < BATCH:
                return

    def _delete(self, garbage: Sequence[Garbage], keys: Iterable[str]) -> None:
        try:
            self._stores.storage.delete(keys)
        except FarmError as error:
            log.warning("not deleted: %s", error.message, extra={"action": "clear"})
            for one in garbage:
                self._stores.repair.postpone(one, POSTPONE_S)
        else:
            self._stores.repair.discarded(garbage)


def _while_more(step: Callable[[], int]) -> None:
    for _ in range(CACHE_ROUNDS):
        if not step():
            return
