"""What Prometheus reads from the API: its requests, and the lanes as Redis knows them.

The lanes are read when scraped; with Redis down the rest is still exposed.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.waiting import WaitSlots
from shared.cache import CacheCounts, CacheStore
from shared.deliveries import DeliveryCounts, DeliveryStore
from shared.errors import StateStoreFull, StateStoreUnavailable
from shared.presence import LaneState, PresenceStore, StoreMemory

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class ApiMetrics:
    """This process's own numbers, in a registry of its own."""

    def __init__(self, slots: WaitSlots, listening: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ttsfarm_http_requests",
            "Requests answered, by method, route and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "ttsfarm_http_request_seconds",
            "Time until an answer begins, long polls included, by method and route",
            ["method", "route"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._submitted = Counter(
            "ttsfarm_jobs_submitted",
            "Submits accepted, by voice and outcome; repeated ones found their job there already",
            ["voice", "outcome"],
            registry=self.registry,
        )
        waiting = Gauge(
            "ttsfarm_http_waiting",
            "Long polls and event streams open now",
            registry=self.registry,
        )
        waiting.set_function(lambda: slots.taken)
        listeners = Gauge(
            "ttsfarm_http_listening",
            "Callers that listen to jobs being rendered",
            registry=self.registry,
        )
        listeners.set_function(listening)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the template, never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def count_submit(self, voice: str, *, created: bool, n_jobs: int = 1) -> None:
        """Count accepted submits."""
        self._submitted.labels(voice, "created" if created else "repeated").inc(n_jobs)


def _lane_families() -> dict[str, GaugeMetricFamily]:
    texts = {
        "depth": (
            "ttsfarm_lane_depth",
            "Pieces of work due, by voice and class",
            ["voice", "class"],
        ),
        "waiting": (
            "ttsfarm_lane_waiting_seconds",
            "Age of the oldest due work, by voice",
            ["voice"],
        ),
        "claimed": ("ttsfarm_lane_claimed", "Pieces of work under way, by voice", ["voice"]),
        "bells": ("ttsfarm_lane_bells", "Celery messages in the lane's queue, by voice", ["voice"]),
        "workers": ("ttsfarm_lane_workers", "Live workers that offer a voice, by voice", ["voice"]),
    }
    return {
        short: GaugeMetricFamily(name, text, labels=labels)
        for short, (name, text, labels) in texts.items()
    }


def _memory_families(memory: StoreMemory) -> Iterator[Metric]:
    used = "Memory Redis holds"
    yield GaugeMetricFamily("ttsfarm_state_store_memory_bytes", used, value=memory.used_bytes)
    limit = "Memory at which Redis refuses work: its maxmemory, else the machine's"
    yield GaugeMetricFamily(
        "ttsfarm_state_store_memory_limit_bytes", limit, value=memory.limit_bytes
    )


def _cache_families(counts: CacheCounts | None) -> Iterator[Metric]:
    """The cache of segments; without `counts`, the families have no samples."""
    kinds = (
        (CounterMetricFamily, "hits", "Segments the cache had, farm-wide"),
        (CounterMetricFamily, "misses", "Segments rendered and put into the cache, farm-wide"),
        (CounterMetricFamily, "evictions", "Segments put out of the cache to make room"),
        (GaugeMetricFamily, "segments", "Segments in the cache"),
        (GaugeMetricFamily, "bytes", "Size of the segments in the cache"),
    )
    for kind, name, text in kinds:
        family = kind(f"ttsfarm_cache_{name}", text, labels=())
        if counts:
            family.add_metric([], getattr(counts, name))
        yield family


class FarmCollector(Collector):
    """Reads lanes, deliveries and cache at each scrape: five calls to Redis whatever the load."""

    def __init__(
        self, presence: PresenceStore, deliveries: DeliveryStore, cache: CacheStore
    ) -> None:
        self._presence = presence
        self._deliveries = deliveries
        self._cache = cache

    def describe(self) -> Iterator[Metric]:
        """The families without samples, so that registering asks nothing of Redis."""
        yield from _lane_families().values()
        yield from _memory_families(StoreMemory(used_bytes=0, limit_bytes=0))
        yield from _cache_families(None)
        yield from self._others(workers=[], counts=None, up=True)

    def collect(self) -> Iterator[Metric]:
        """The families with what Redis says, or only that it does not answer."""
        try:
            lanes = self._presence.lanes()
            workers = [worker.ready for worker in self._presence.workers()]
            counts = self._deliveries.counts()
            memory = self._presence.memory()
            cached = self._cache.counts()
        except (StateStoreUnavailable, StateStoreFull):
            yield from self._others(workers=[], counts=None, up=False)
            return
        yield from self._lanes(lanes)
        yield from _memory_families(memory)
        yield from _cache_families(cached)
        yield from self._others(workers=workers, counts=counts, up=True)

    def _lanes(self, lanes: list[LaneState]) -> Iterator[Metric]:
        families = _lane_families()
        for lane in lanes:
            families["depth"].add_metric([lane.voice, "interactive"], lane.depth_interactive)
            families["depth"].add_metric([lane.voice, "bulk"], lane.depth_bulk)
            families["waiting"].add_metric([lane.voice], lane.waiting_s)
            families["claimed"].add_metric([lane.voice], lane.claimed)
            families["bells"].add_metric([lane.voice], lane.bells)
            families["workers"].add_metric([lane.voice], lane.workers)
        yield from families.values()

    def _others(
        self, *, workers: list[bool], counts: DeliveryCounts | None, up: bool
    ) -> Iterator[Metric]:
        store = GaugeMetricFamily("ttsfarm_state_store_up", "1 while Redis answers")
        store.add_metric([], up)
        yield store
        live = GaugeMetricFamily(
            "ttsfarm_workers", "Live workers, by whether they are ready", labels=["ready"]
        )
        if up:
            live.add_metric(["true"], sum(workers))
            live.add_metric(["false"], len(workers) - sum(workers))
        yield live
        states = GaugeMetricFamily(
            "ttsfarm_deliveries", "Webhook deliveries by state", labels=["status"]
        )
        waiting = GaugeMetricFamily(
            "ttsfarm_deliveries_waiting_seconds",
            "For how long the first delivery could have been sent and was not",
            labels=(),
        )
        if counts:
            waiting.add_metric([], counts.waiting_s)
            for status, count in counts.by_status.items():
                states.add_metric([status], count)
        yield from (states, waiting)
