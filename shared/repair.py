"""RepairStore: what the keeper does. Bounded batches; running any of it twice is harmless."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from shared.bells import DELIVER_QUEUE
from shared.connection import Scripts, state_store
from shared.errors import DeadlineExceeded, SegmentLost
from shared.settings import Settings
from shared.work import error_info

BATCH = 200
RETIRED_S = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Objects nobody needs any more, by the prefix of their keys; `entry` names it in Redis.

    A prefix that ends in no slash is one object's whole key.
    """

    entry: str
    prefix: str

    @property
    def is_folder(self) -> bool:
        return self.prefix.endswith("/")


class RepairStore:
    """Puts back what silent workers held, what is due again, and clears what has expired."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._max_losses = settings.max_losses

    def lead(self, keeper: str, lease_s: float) -> bool:
        """Whether `keeper` is the one keeper now, for `lease_s`."""
        return bool(self._scripts("lead", keeper, int(lease_s * 1000)))

    def expire_leases(self) -> int:
        """Units of silent workers become due; answers how many."""
        lost = SegmentLost(
            f"{self._max_losses} workers died while they held this piece of the text"
        )
        error = json.dumps(error_info(lost).dump())
        return int(self._scripts("sweep_leases", BATCH, self._max_losses, error))

    def release_retries(self) -> int:
        """Units whose retry time has come become due; answers how many."""
        return int(self._scripts("sweep_retries", BATCH))

    def revive(self) -> bool:
        """More segments of jobs that run again become due; answers if there are more of them."""
        return bool(self._scripts("sweep_reviving"))

    def expire_jobs(self) -> tuple[int, int]:
        """Jobs past their deadline expire, past their retention go: how many of each."""
        error = json.dumps(error_info(DeadlineExceeded()).dump())
        expired, removed = self._scripts("sweep_jobs", BATCH, error)
        return expired, removed

    def ripe_deliveries(self) -> tuple[int, int]:
        """How many deliveries could be sent now, and how many bells ring for them."""
        ripe, bells = self._scripts("delivery_ripe", DELIVER_QUEUE)
        return ripe, bells

    def forget_voices(self) -> int:
        """Voices no worker has offered for long are forgotten; answers how many."""
        return int(self._scripts("sweep_voices", RETIRED_S * 1000, BATCH))

    def garbage(self) -> list[Garbage]:
        """What is to be deleted now."""
        entries = self._scripts("garbage", BATCH)
        return [Garbage(entry=e, prefix=e.rpartition("|")[0]) for e in entries]

    def postpone(self, garbage: Garbage, delay_s: float) -> None:
        """The objects of `garbage` could not be deleted; try again later."""
        with state_store():
            key = self._scripts.key("garbage")
            self._scripts.client.zincrby(key, delay_s * 1000, garbage.entry)

    def discarded(self, garbage: Iterable[Garbage]) -> None:
        """The objects of `garbage` are deleted."""
        entries = [g.entry for g in garbage]
        if entries:
            with state_store():
                self._scripts.client.zrem(self._scripts.key("garbage"), *entries)
