"""The keeper, the watchdog and the loops they run in, on a real Redis and a real directory."""

import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from shared.bells import lane_queue
from shared.deliveries import DeliveryStore
from shared.errors import StateStoreUnavailable
from shared.presence import LaneState, PresenceStore, StoreMemory
from shared.states import JobStatus
from tests.bench import Worker
from tests.conftest import wait_until
from tests.walk import expire_leases
from worker.app import Watchdog
from worker.keeper import Keeper, Stores, missing_bells
from worker.loop import Loop
from worker.pulse import Pulse

pytestmark = pytest.mark.redis

TEXT = "今天天气很好，我们去公园走走吧。"


def keeper_of(worker: Worker, name: str, clock: Callable[[], float] = time.monotonic) -> Keeper:
    stores = Stores(
        repair=worker.farm.repair,
        cache=worker.farm.cache,
        presence=worker.farm.presence,
        deliveries=DeliveryStore(worker.farm.scripts),
        batches=worker.farm.batches,
        storage=worker.store,
        bells=worker.bells,
    )
    return Keeper(name, stores, lead_s=30.0, lease_s=1.0, interval_s=0.1, clock=clock)


def test_the_keeper_rings_for_due_work_and_only_one_keeps(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    keeper_of(worker, "first").repair()
    keeper_of(worker, "second").repair()
    keeper_of(worker, "first").repair()
    assert worker.farm.scripts.client.llen(lane_queue("fake")) == 1


def test_the_keeper_gives_a_silent_workers_unit_to_another(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.farm.work.claim("gone", "fake", 1)
    expire_leases(worker.farm)
    assert worker.drain() == 3
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


def test_the_janitor_deletes_what_a_deleted_job_left(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.drain()
    assert worker.objects() != []
    worker.farm.jobs.delete("default", "a")
    keeper = keeper_of(worker, "k")
    keeper.repair()
    keeper.clear()
    assert worker.objects() == []


def test_missing_bells_are_one_for_each_worker_that_could_help() -> None:
    def lane(due: int, bells: int, workers: int) -> LaneState:
        return LaneState(
            voice="v", depth_interactive=due, depth_bulk=0, waiting_s=0, claimed=0, bells=bells,
            workers=workers,
        )  # fmt: skip

    assert missing_bells(lane(due=9, bells=0, workers=4)) == 4
    assert missing_bells(lane(due=9, bells=3, workers=4)) == 1
    assert missing_bells(lane(due=1, bells=0, workers=0)) == 1
    assert missing_bells(lane(due=0, bells=0, workers=4)) == 0
    assert missing_bells(lane(due=2, bells=5, workers=4)) == 0


def test_the_watchdog_ends_a_child_that_hangs(worker: Worker) -> None:
    child = subprocess.Popen(["sleep", "60"])
    pulse = Pulse()
    pulse.born(child.pid)
    watchdog = Watchdog(pulse, worker.farm.presence, frozenset({"fake"}), grace_s=0.0)
    watchdog.look()
    assert child.poll() is None
    pulse.holds_until(time.monotonic() - 1)
    watchdog.look()
    assert child.wait(timeout=60) == -9
    pulse.holds_until(time.monotonic() - 1)
    watchdog.look()  # a child that is gone already is no fault


def test_a_child_that_loads_for_long_is_not_deaf() -> None:
    pulse = Pulse()
    pulse.born(1)
    pulse.holds_until(time.monotonic() + 300)
    assert pulse.idle_s(time.monotonic() + 100) == 0.0
    assert not pulse.hung(time.monotonic() + 100)


def test_a_long_work_that_gets_on_has_its_time_anew(worker: Worker) -> None:
    with worker.heartbeat.holding([], limit_s=0.0):
        wait_until(lambda: worker.pulse.hung(time.monotonic()), 60)
        now_s = time.monotonic()
        worker.heartbeat.got_on()
        assert not worker.pulse.hung(now_s)


def test_a_loop_goes_on_after_faults_of_others_and_of_ours() -> None:
    seen: list[str] = []
    enough = threading.Event()

    def step() -> None:
        seen.append("step")
        if len(seen) == 1:
            raise StateStoreUnavailable
        if len(seen) == 2:
            raise RuntimeError("a fault of ours")
        enough.set()

    loop = Loop("test", 0.01, step)
    loop.start()
    assert enough.wait(60)
    loop.close()


def test_the_keeper_waits_for_the_living_after_an_outage(worker: Worker) -> None:
    now = [0.0]
    keeper = keeper_of(worker, "k", clock=lambda: now[0])
    worker.farm.submit("a", TEXT)
    worker.farm.work.claim("alive", "fake", 1)
    key = worker.farm.scripts.key("lane", "fake", "leases")
    worker.farm.scripts.client.zadd(key, {"a|plan": 0})
    now[0] = 20.0  # Redis was away for longer than the lease
    keeper.repair()
    assert worker.units("a")[0]["s"] == "claimed"
    for now[0] in (20.2, 20.4, 20.6):
        keeper.repair()
    assert worker.units("a")[0]["s"] == "due"


def test_starving_is_seen_only_in_looks_that_follow_one_another(worker: Worker) -> None:
    pulse = Pulse()
    watchdog = Watchdog(pulse, worker.farm.presence, frozenset({"fake"}), grace_s=1.0)
    worker.farm.submit("a", TEXT)
    start_s = time.monotonic() + 40  # the child has not asked for 40 s
    assert not watchdog._starves(start_s)
    assert not watchdog._starves(start_s + 29)
    assert watchdog._starves(start_s + 31)
    pulse.asked()
    assert not watchdog._starves(time.monotonic())
    assert not watchdog._starves(start_s + 70)


def test_nobody_is_deaf_where_redis_has_no_room_for_bells(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watchdog = Watchdog(Pulse(), worker.farm.presence, frozenset({"fake"}), grace_s=1.0)
    worker.farm.submit("a", TEXT)
    start_s = time.monotonic() + 40
    assert not watchdog._starves(start_s)
    full = StoreMemory(used_bytes=2, limit_bytes=1)
    assert full.full
    assert not StoreMemory(used_bytes=2, limit_bytes=0).full
    with monkeypatch.context() as patch:
        patch.setattr(PresenceStore, "memory", lambda _: full)
        assert not watchdog._starves(start_s + 31)
    assert not watchdog._starves(start_s + 32)
    assert watchdog._starves(start_s + 63)
