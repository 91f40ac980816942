"""The worker's processes: Celery's parent, which watches, and its child, which renders.

The parent never loads an engine; the child loads after the fork, warms every voice and only then
says that it is ready.
"""

import logging
import os
import signal
import sys
import uuid
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from shared.batches import BatchStore
from shared.bells import DELIVER_QUEUE, DELIVER_TASK, WORK_TASK, Bells, celery_app, lane_queue
from shared.cache import CacheStore
from shared.connection import Scripts, connect
from shared.deliveries import DeliveryStore, Schedule
from shared.errors import EngineUnavailable, FarmError, Unavailable
from shared.jobs import JobStore
from shared.keys import FarmKeys
from shared.links import Links
from shared.logs import configure_logs
from shared.presence import PresenceStore
from shared.repair import RepairStore
from shared.settings import Settings, settings
from shared.storage import open_store
from shared.work import WorkStore
from worker.delivering import Subjects, deliver_due
from worker.hearing import Heard
from worker.heartbeat import Heartbeat
from worker.keeper import COURIERS, JANITOR_INTERVAL_S, Keeper, Stores
from worker.loop import Loop
from worker.metrics import WorkerMetrics
from worker.offer import offered_names
from worker.pulse import Pulse
from worker.scratch import clear_leftovers
from worker.tasks import Bench, Tools
from worker.voices import Voices

log = logging.getLogger(__name__)

LIFECYCLE_INTERVAL_S = 3600.0
HEALTH_INTERVAL_S = 2.0
STALL_S = 30.0  # work is due, nobody asks for it: the bell line is broken, start anew
FLAGS = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def worker_name(role: str) -> str:
    """A name no other worker has."""
    return f"{role}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def start(voices: Sequence[str] | None = None, courier: bool = False) -> int:
    """Run a worker of `voices`, or the courier, until it is told to stop; answers 0 then.

    Anything else is the status to exit with: who runs it should start it again.
    """
    farm = settings()
    if voices:
        farm = farm.model_copy(update={"voices": ",".join(voices)})
    role = "courier" if courier else "worker"
    # Before anything loads a numerics library, which reads it once.
    os.environ.setdefault("OMP_NUM_THREADS", str(farm.threads))
    configure_logs(farm.log_level, process=role)
    name = worker_name(role)
    app = celery_app(farm)
    # Its warning about root is about pickle, which is refused here; its banner is no log line.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    argv = ["--quiet", "worker", "--hostname", f"{name}@%h", "--loglevel", farm.log_level, *FLAGS]
    pulse = Pulse(farm.health_file)
    if courier:
        argv += _prepare_courier(app, farm, name, pulse)
    else:
        argv += _prepare_renderer(app, farm, name, pulse)
    ended: list[int] = []  # Celery's own command drops the status

    def end(sender: Any, **_: Any) -> None:
        ended.append(sender.exitcode or 0)

    signals.worker_shutdown.connect(end)
    app.worker_main(argv)
    return max([*ended, int(pulse.unfit.is_set())])


def _prepare_courier(app: Celery, farm: Settings, name: str, pulse: Pulse) -> list[str]:
    scripts = Scripts(_connect(farm))
    keys = FarmKeys(scripts)
    links = Links(farm, keys.link_secret(), open_store(farm))
    deliveries = DeliveryStore(scripts, Schedule.of(farm))
    subjects = Subjects(jobs=JobStore(scripts), batches=BatchStore(scripts))
    stopping = pulse.stopping.is_set

    @app.task(name=DELIVER_TASK, Request=Heard)  # type: ignore[untyped-decorator]  # celery has no types
    def deliver() -> int:
        return deliver_due(deliveries, subjects, links, keys, farm, stopping)

    loops = _keeper_loops(app, farm, name)
    # A courier announces no voice: that its deliveries can be counted is its sign of health.
    loops.append(Loop("health", HEALTH_INTERVAL_S, lambda: _show_health(deliveries, pulse)))
    _watch_parent(loops, pulse)
    return ["--pool", "threads", "--concurrency", str(COURIERS), "-Q", DELIVER_QUEUE]


def _prepare_renderer(app: Celery, farm: Settings, name: str, pulse: Pulse) -> list[str]:
    lanes = offered_names(farm)
    bench = _Child(app=app, farm=farm, name=name, pulse=pulse)

    @app.task(name=WORK_TASK, Request=Heard)  # type: ignore[untyped-decorator]  # celery has no types
    def work(voice: str) -> int:
        return bench.drain(voice)

    signals.worker_process_init.connect(bench.born, weak=False)
    signals.worker_process_shutdown.connect(bench.leave, weak=False)
    loops = _keeper_loops(app, farm, name)
    presence = PresenceStore(Scripts(_connect(farm)))
    watchdog = Watchdog(pulse, presence, frozenset(lanes), grace_s=farm.lease_s)
    loops.append(Loop("watchdog", 1.0, watchdog.look))
    _watch_parent(loops, pulse)
    flags = ["--pool", "prefork", "--concurrency", "1", "-Q", ",".join(map(lane_queue, lanes))]
    if farm.max_memory_mb:
        flags += ["--max-memory-per-child", str(farm.max_memory_mb * 1024)]
    return flags


def _show_health(deliveries: DeliveryStore, pulse: Pulse) -> None:
    deliveries.counts()
    pulse.healthy()


def _connect(farm: Settings) -> Any:
    return connect(farm.redis_url.get_secret_value())


def _keeper_loops(app: Celery, farm: Settings, name: str) -> list[Loop]:
    scripts, storage = Scripts(_connect(farm)), open_store(farm)
    stores = Stores(
        repair=RepairStore(scripts, farm),
        cache=CacheStore(scripts, farm),
        presence=PresenceStore(scripts),
        deliveries=DeliveryStore(scripts, Schedule.of(farm)),
        batches=BatchStore(scripts),
        storage=storage,
        bells=Bells(app),
    )
    keeper = Keeper(
        name,
        stores,
        lead_s=max(2.0, farm.keeper_interval_s * 4),
        lease_s=farm.lease_s,
        interval_s=farm.keeper_interval_s,
    )
    return [
        Loop("keeper", farm.keeper_interval_s, keeper.repair),
        Loop("janitor", JANITOR_INTERVAL_S, keeper.clear),
        Loop("lifecycle", LIFECYCLE_INTERVAL_S, storage.ensure),
    ]


def _watch_parent(loops: Sequence[Loop], pulse: Pulse) -> None:
    """Start the parent's loops once Celery is up; tell the child when the worker stops."""

    def ready(**_: Any) -> None:
        log.info("waiting for bells", extra={"action": "start"})
        for loop in loops:
            loop.start()

    def stopping(**_: Any) -> None:
        pulse.stopping.set()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)


@dataclass
class _Child:
    """The process that renders; what it works with is made after the fork."""

    app: Celery
    farm: Settings
    name: str
    pulse: Pulse
    bench: Bench | None = None
    heartbeat: Heartbeat | None = None

    def born(self, **_: Any) -> None:
        try:
            self._warm()
        except FarmError as error:
            log.critical("%s", error.message, extra={"action": "load"})
            self._give_up()
        except Exception:  # Celery would go on with a child that is only half alive
            log.exception("a fault of ours", extra={"action": "load"})
            self._give_up()

    def _give_up(self) -> None:
        self.pulse.unfit.set()
        os.kill(os.getppid(), signal.SIGTERM)  # a parent would bear such children for ever
        sys.exit(1)

    def _warm(self) -> None:
        farm, scripts, started_s = self.farm, Scripts(_connect(self.farm)), monotonic()
        self.pulse.born(os.getpid())
        self.pulse.holds_until(monotonic() + farm.load_timeout_s)
        clear_leftovers()
        voices = Voices(farm)
        offered = voices.warm()
        metrics = WorkerMetrics()
        metrics.ready_voices.set(len(offered))
        work, presence = WorkStore(scripts, farm), PresenceStore(scripts)
        heartbeat = Heartbeat(
            self.name, offered, work=work, presence=presence, pulse=self.pulse, lease_s=farm.lease_s
        )
        heartbeat.spoken = metrics.spoken
        storage = open_store(farm)
        try:
            storage.ensure()
        except Unavailable as error:  # the bench makes sure again before it claims
            log.warning("%s", error.message, extra={"action": "load"})
        bench = Bench(
            Tools(
                worker=self.name,
                settings=farm,
                work=work,
                presence=presence,
                storage=storage,
                bells=Bells(self.app),
                voices=voices,
                heartbeat=heartbeat,
                metrics=metrics,
                pulse=self.pulse,
            )
        )
        if farm.metrics_port:
            metrics.serve(farm.metrics_port, farm.metrics_host)
        heartbeat.start()
        self.heartbeat, self.bench = heartbeat, bench
        self.pulse.holds_until(0.0)
        self.pulse.asked()
        names = ", ".join(voice.name for voice in offered)
        took = {"action": "load", "duration_ms": round((monotonic() - started_s) * 1000)}
        log.info("ready to speak with %s", names, extra=took)

    def leave(self, **_: Any) -> None:
        if self.heartbeat:
            self.heartbeat.close()

    def drain(self, voice: str) -> int:
        if self.bench is None:
            raise EngineUnavailable("a bell rang before the engines were warm; the keeper rings on")
        # SIGTERM to a whole process group is the parent's to answer: it lets the work end.
        # Set here because Celery sets its own handler after `born`.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self.bench.drain(voice)


class Watchdog:
    """The parent's eye on its child: ends it when hung, and the whole worker when it is deaf."""

    def __init__(
        self, pulse: Pulse, presence: PresenceStore, lanes: frozenset[str], *, grace_s: float
    ) -> None:
        self._pulse = pulse
        self._presence = presence
        self._lanes = lanes
        self._grace_s = grace_s
        self._starving_since_s: float | None = None

    def look(self) -> None:
        """Raises nothing but `FarmError`; what it ends is started again by who runs it."""
        now_s = monotonic()
        if self._pulse.hung(now_s - self._grace_s) and self._pulse.child_pid:
            log.error("the child hangs; ending it", extra={"action": "watch"})
            with suppress(ProcessLookupError):  # it has ended by itself; Celery forks another
                os.kill(self._pulse.child_pid, signal.SIGKILL)
            self._pulse.holds_until(0.0)
        elif self._starves(now_s):
            log.critical("work is due and no bell arrives; stopping", extra={"action": "watch"})
            os._exit(1)

    def _starves(self, now_s: float) -> bool:
        """Whether every look of the last while found due work here and an idle child.

        A look that Redis does not answer, or while it has no room for bells, starts the count anew:
        the outage was not the bell's.
        """
        since_s, self._starving_since_s = self._starving_since_s, None
        if self._pulse.idle_s(now_s) <= STALL_S or self._presence.memory().full:
            return False
        lanes = self._presence.lanes()
        if not any(lane.voice in self._lanes and lane.depth > 0 for lane in lanes):
            return False
        self._starving_since_s = now_s if since_s is None else since_s
        return now_s - self._starving_since_s > STALL_S
