"""CacheStore: the index of segments that are kept for texts that come again.

What uses it is in the scripts of `shared/work.py`; here is what looks after it and what shows it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import islice

from shared.connection import Scripts
from shared.settings import Settings

BATCH = 200
SHARDS = 256
SCRUB_EVERY_S = 14.0  # a shard each time: the whole store in an hour
STRAY_S = 3600.0  # a worker stores a segment, then reports it: so long it may take


@dataclass(frozen=True, kw_only=True)
class CacheCounts:
    """How the cache stands: counts since the farm's Redis began, and what it holds now."""

    hits: int
    misses: int
    evictions: int
    segments: int
    bytes: int


class CacheStore:
    """Bounded steps; running any of them twice is harmless."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._limit_bytes = settings.cache_limit_bytes

    def counts(self) -> CacheCounts:
        """How the cache stands now."""
        names = [field.name for field in fields(CacheCounts)]
        return CacheCounts(**dict(zip(names, self._scripts("cache_counts"), strict=True)))

    def evict(self) -> int:
        """Make room where the cache is over its limit; answers how many segments are gone."""
        return int(self._scripts("sweep_cache", self._limit_bytes, BATCH))

    def release(self) -> int:
        """Let removed jobs give back what they used; answers how many segments they gave back."""
        return int(self._scripts("sweep_released", BATCH))

    def unpark(self) -> bool:
        """Make segments due that waited for another to be rendered; answers if there are more."""
        return bool(self._scripts("sweep_parked"))

    def shard_to_scrub(self) -> str | None:
        """The prefix of the objects to be looked through now; None until its time comes."""
        turn = int(self._scripts("scrub_turn", int(SCRUB_EVERY_S * 1000), SHARDS))
        return None if turn < 0 else f"segments/{turn:02x}/"

    def scrub(self, keys: Iterable[str]) -> int:
        """Have those of `keys` deleted in an hour that the index does not know by then."""
        n_strays, left = 0, iter(keys)
        while some := list(islice(left, BATCH)):
            n_strays += int(self._scripts("scrub", int(STRAY_S * 1000), *some))
        return n_strays
