"""The field of a run: a farm of real processes, each on a wire of its own, and its callers."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from redis import Redis

from shared.connection import Scripts, connect
from shared.settings import Settings
from shared.storage import ObjectStore, open_store
from shared.tenants import KeyStore, NewKey, Scope
from tests.caller import TERMINAL, TIMEOUT_S, Answer
from tests.conftest import RedisServer, wait_until
from tests.e2e.conftest import Farm
from tests.faults.history import History
from tests.faults.orders import Order
from tests.faults.receiver import Receiver
from tests.faults.wire import Wire

PATIENCE_S = 180.0  # for what takes seconds on a machine that is not busy
LOOK_EVERY_S = 0.3
HEARD_S = 15.0  # in which who lives answers, on a machine that is very busy
AGAIN_S = 0.2  # between two tries of a caller
BROKEN = (OSError, HTTPException, ValueError, KeyError)  # what a call to an API that dies may raise


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a farm is set up; scenarios of one shape may have one farm."""

    name: str
    workers: int = 2
    local: bool = False  # its store is a directory, though there is an S3 server
    env: dict[str, str] = field(default_factory=dict)


COMMON = {
    "TTSFARM_LEASE_S": "3",
    "TTSFARM_FAKE_COST_S_PER_CHAR": "0.01",
    "TTSFARM_WEBHOOK_TIMEOUT_S": "1.5",
    "TTSFARM_WEBHOOK_DELAYS_S": "0,0.2,0.4" + ",1" * 60,
    "TTSFARM_MAX_LOSSES": "6",
}


class WiredFarm(Farm):
    """A farm whose every process reaches Redis over a wire of its own, and all the store over one.

    `own` are settings of single processes.
    """

    def wire_up(self) -> None:
        self.wires: dict[str, Wire] = {}
        self.own: dict[str, dict[str, str]] = {}
        self.store_wire: Wire | None = None
        endpoint = os.environ.get("TTSFARM_TEST_S3_ENDPOINT")
        if self.env.get("TTSFARM_STORAGE") == "s3" and endpoint:
            host, _, port = endpoint.rpartition(":")
            self.store_wire = Wire(host, int(port))
            self.env["TTSFARM_S3_ENDPOINT"] = self.store_wire.address

    def wire(self, name: str) -> Wire:
        if name not in self.wires:
            assert isinstance(self.redis, RedisServer)
            self.wires[name] = Wire(self.redis.host, self.redis.port)
        return self.wires[name]

    def spawn(self, name: str, *command: str) -> None:
        common = self.env
        redis_url = f"redis://{self.wire(name).address}/0"
        self.env = {**common, "TTSFARM_REDIS_URL": redis_url, **self.own.get(name, {})}
        try:
            super().spawn(name, *command)
        finally:
            self.env = common

    def stop(self) -> None:
        for name, child in self.children.items():
            if child.poll() is None:
                self.signal(name, signal.SIGCONT)  # what is frozen hears no other signal
        for wire in [*self.wires.values(), *filter(None, [self.store_wire])]:
            wire.mend()
        super().stop()
        for wire in [*self.wires.values(), *filter(None, [self.store_wire])]:
            wire.close()


def store_settings() -> dict[str, str]:
    """The environment of a farm on the S3 server the tests have, in a bucket of its own."""
    named = {
        "TTSFARM_S3_ENDPOINT": os.environ.get("TTSFARM_TEST_S3_ENDPOINT", ""),
        "TTSFARM_S3_ACCESS_KEY": os.environ.get("TTSFARM_TEST_S3_ACCESS_KEY", "minioadmin"),
        "TTSFARM_S3_SECRET_KEY": os.environ.get("TTSFARM_TEST_S3_SECRET_KEY", "minioadmin"),
    }
    if not named["TTSFARM_S3_ENDPOINT"]:
        assert not os.environ.get("CI"), "CI must name a real S3 server"
        return {}
    return {**named, "TTSFARM_STORAGE": "s3", "TTSFARM_S3_BUCKET": f"faults-{uuid4().hex[:12]}"}


class Ground:
    """A farm of a shape with its Redis, store and receiver, for one run or for several."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape = shape
        self.receiver = Receiver()
        self.store_env = {} if shape.local else store_settings()
        folder.mkdir(parents=True, exist_ok=True)
        redis = RedisServer(folder / "redis", append_only=True)
        redis.start()
        self.farm = WiredFarm(folder, redis, env={**COMMON, **self.store_env, **shape.env})
        self.farm.wire_up()
        self.client: Redis = connect(redis.url)
        self.scripts = Scripts(self.client)
        self.store: ObjectStore = open_store(self._store_settings())

    def start(self) -> None:
        if self.farm.env.get("TTSFARM_AUTH") == "keys":
            self.farm.headers = self.caller("suite")
        self.farm.start(self.shape.workers, courier=True)

    def caller(self, tenant: str) -> dict[str, str]:
        """The header of a new key of a tenant."""
        asked = NewKey(tenant=tenant, scopes=frozenset(Scope))
        _, key = KeyStore(self.scripts).create(asked)
        return {"Authorization": f"Bearer {key}"}

    def close(self) -> None:
        self.farm.stop()
        self.receiver.close()
        if self.store_env:
            self.store.delete(list(self.store.list("")))
        self.client.close()
        self.farm.redis.kill()

    def _store_settings(self) -> Settings:
        """How the suite reaches the store: past the wire."""
        given = {name.removeprefix("TTSFARM_").lower(): v for name, v in self.store_env.items()}
        return Settings(**{"storage_dir": self.farm.directory / "objects", **given})


class Field:
    """One run: a scenario's hands on a ground, its dice, its callers and its history."""

    def __init__(self, ground: Ground, scenario: str, seed: int, *, short: bool) -> None:
        self.ground = ground
        self.farm = ground.farm
        self.receiver = ground.receiver
        self.rng = Random(f"{scenario} {seed}")
        self.history = History(scenario, seed, short=short)
        self.orders: dict[str, Order] = {}  # by job; those that were deleted are not among them
        self.later: list[Order] = []  # what was refused, and is asked for again at the end
        self.suffering: set[str] = set()  # processes that a fault has in hand
        self.figures: dict[str, float] = {}  # what was measured, in seconds
        self.callers: list[dict[str, str]] = [{}]  # the headers of each tenant
        self._over = threading.Event()
        self._seen: dict[str, str] = {}
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def length(self, short: float, *longer: float) -> float:
        """How long a fault lasts, or how much there is: by the dice, unless the run is short."""
        chosen = self.rng.choice((short, *longer))
        return short if self.history.short else chosen

    def leave(self) -> None:
        self._over.set()
        self._watching.join()

    # Callers

    def submit(self, order: Order, timeout_s: float = PATIENCE_S) -> str:
        """The job's id once the farm has accepted it; a caller that hears nothing asks again."""
        limit = time.monotonic() + timeout_s
        while True:
            answer = self.ask(order)
            if answer is not None and answer.status in (200, 202):
                job = str(answer.json["id"])
                self.orders[job] = order
                self.history.note("accepted", job, key=order.key)
                return job
            code = "unheard" if answer is None else answer.json["code"]
            self.history.note("refused", order.key, code=code)
            assert answer is None or answer.status == 503, answer.body
            assert time.monotonic() < limit, f"{order.key} was refused for {timeout_s} s: {code}"
            time.sleep(AGAIN_S)

    def ask(self, order: Order) -> Answer | None:
        """What the farm answers to one submit; None when the connection breaks."""
        body = order.body(self.history.run, self.receiver.url)
        headers = {"Idempotency-Key": quote(f"{self.history.run}/{order.key}"), **order.headers}
        with suppress(*BROKEN):
            return self.farm.call("POST", "/v1/jobs", body, headers)
        return None

    def call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Answer:
        """As a caller who comes again when told to, or when the connection breaks."""
        limit = time.monotonic() + patience_s
        heard_s = max(HEARD_S, min(TIMEOUT_S, patience_s))  # who answers may be frozen
        while True:
            last = time.monotonic() >= limit
            try:
                answer = self.farm.call(method, path, headers=headers, timeout_s=heard_s)
            except BROKEN:
                if last:
                    raise
            else:
                if answer.status != 503 or last:
                    return answer
            time.sleep(AGAIN_S)

    def delete(self, job: str) -> None:
        """Delete a job, as often as it takes to hear that it is gone."""

        def gone() -> bool:
            return self.farm.call("DELETE", f"/v1/jobs/{job}").status in (204, 404)

        self.until(gone)
        del self.orders[job]
        self.history.note("deleted", job)

    def submit_all(self, orders: Sequence[Order], n_callers: int = 6) -> list[str]:
        """Several callers at once; the jobs in the order of what was asked."""
        with ThreadPoolExecutor(n_callers) as callers:
            return list(callers.map(self.submit, orders))

    def job(self, job: str) -> dict[str, Any]:
        """The job as its caller sees it."""
        answer = self.call("GET", f"/v1/jobs/{job}", self.orders[job].headers)
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def n_done(self, job: str) -> int:
        return int(self.job(job)["progress"]["segments_done"])

    def in_the_middle(self, job: str, n_segments: int) -> None:
        """Return once so many segments of a job are spoken."""
        self.until(lambda: self.n_done(job) >= n_segments)

    def end(self, jobs: Sequence[str]) -> None:
        """Return once these jobs have ended; what has not in a long time is left to the checker."""
        limit = time.monotonic() + PATIENCE_S
        while left := [job for job in jobs if job in self.orders and not self.ended(job)]:
            self.revive()
            if time.monotonic() > limit:
                for job in left:
                    self.history.note("has not ended", job)
                return
            time.sleep(LOOK_EVERY_S / 3)

    def ended(self, job: str) -> bool:
        """Whether its caller has seen its end."""
        return self._seen.get(job) in TERMINAL

    def until(
        self,
        condition: Callable[[], object],
        timeout_s: float = PATIENCE_S,
        *,
        every_s: float = 0.1,
    ) -> None:
        """Return when it holds; calls that break meanwhile are tried again."""

        def holds() -> bool:
            with suppress(*BROKEN, AssertionError):
                return bool(condition())
            return False

        wait_until(holds, timeout_s, every_s=every_s)

    # Processes

    def start(self, name: str) -> None:
        """Start a process that was killed or stopped."""
        self.history.note("start", name)
        if name == "api":
            self.farm.spawn("api", "ttsfarm", "serve")
        elif name == "courier":
            self.farm.spawn("courier", "ttsfarm-worker", "run", "--courier")
        else:
            self.farm.add_worker(name)

    def revive(self, *names: str) -> None:
        """Start again what has ended by itself, of these or of all, as a supervisor would."""
        for name in names or list(self.farm.children):
            child = self.farm.children[name]
            if name not in self.suffering and child.poll() is not None:
                self.history.note("ended by itself", name, status=child.poll())
                self.start(name)

    # What the farm says

    def workers(self, patience_s: float = PATIENCE_S) -> dict[str, dict[str, Any]]:
        """The live workers by the name this suite gave them."""
        rows = self.call("GET", "/v1/workers", patience_s=patience_s).json["workers"]
        names = {child.pid: name for name, child in self.farm.children.items()}
        found = {names.get(int(row["id"].split("-")[1])): row for row in rows}
        return {name: row for name, row in found.items() if name}

    def hears(self, name: str) -> Callable[[str], bool]:
        """Whether a process has logged something from now on: its log is older than the run."""
        log = self.farm.directory / f"{name}.log"
        n_before = log.stat().st_size if log.exists() else 0
        return lambda text: log.exists() and text.encode() in log.read_bytes()[n_before:]

    def wait_for_workers(self, *names: str) -> None:
        """Return when they are ready; one that ends meanwhile is started again."""

        def ready() -> bool:
            self.revive(*names)
            return set(names) <= self.workers(patience_s=0).keys()

        self.until(ready)

    def _watch(self) -> None:
        """Notes each state a job is seen in."""
        while not self._over.wait(LOOK_EVERY_S):
            with suppress(*BROKEN):
                self._look()

    def _look(self) -> None:
        path = f"/v1/jobs?limit=100&metadata.run={self.history.run}"
        for headers in self.callers:
            for row in self.farm.call("GET", path, headers=headers).json["jobs"]:
                if self._seen.get(row["id"]) != row["status"]:
                    self._seen[row["id"]] = row["status"]
                    self.history.note("saw", row["id"], status=row["status"])
