"""A whole farm of real processes for the end-to-end tests: Redis, API, workers, courier."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.connection import Scripts, connect
from shared.presence import PresenceStore
from tests.caller import Caller
from tests.conftest import RedisServer, free_port, wait_until
from tests.replicated import Replicated

BIN = Path(sys.executable).parent


@dataclass
class Farm(Caller):
    """Processes of one farm on ports of their own; the tests may kill any of them."""

    directory: Path
    redis: RedisServer | Replicated
    env: dict[str, str] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # a command that runs the next process elsewhere

    def __post_init__(self) -> None:
        defaults = {
            "TTSFARM_REDIS_URL": self.redis.url,
            "TTSFARM_STORAGE_DIR": str(self.directory / "objects"),
            "TTSFARM_API_PORT": str(self.api_port),
            "TTSFARM_VOICES": "fake",
            "TTSFARM_DEFAULT_VOICE": "fake",
            "TTSFARM_LEASE_S": "3",
            "TTSFARM_WEBHOOK_ALLOW": "127.0.0.0/8",
        }
        self.env = {**defaults, **self.env}

    # Processes

    def spawn(self, name: str, *command: str) -> None:
        """Start a process of the farm in a session of its own, its log beside the data."""
        known = self.children.get(name)
        assert known is None or known.poll() is not None, f"{name} is running already"
        with (self.directory / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [*self.before, str(BIN / command[0]), *command[1:]],
                env={**os.environ, **self.env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self, workers: int = 1, *, courier: bool = False) -> None:
        self.spawn("api", "ttsfarm", "serve")
        for i in range(workers):
            self.add_worker(f"worker{i}")
        if courier:
            self.spawn("courier", "ttsfarm-worker", "run", "--courier")
        wait_until(self.ready(workers), 300)  # a model's loops may have to be compiled

    def add_worker(self, name: str) -> None:
        self.spawn(name, "ttsfarm-worker", "run")

    def ready(self, workers: int) -> Callable[[], bool]:
        """Whether the API answers and at least `workers` are warm."""

        def check() -> bool:
            try:
                return len(self.call("GET", "/v1/workers").json["workers"]) >= workers
            except (OSError, KeyError):
                return False

        return check

    def wait_for_voices(self, *names: str) -> None:
        """Return when each of these voices has a ready worker."""

        def check() -> bool:
            voices = self.call("GET", "/v1/voices").json["voices"]
            return set(names) <= {one["name"] for one in voices if one["ready_workers"]}

        wait_until(check, 60)

    def wait_for_alias(self, name: str, weights: dict[str, int]) -> None:
        """Return when the API shares the jobs of `name` by `weights`."""

        def check() -> bool:
            voices = self.call("GET", "/v1/voices").json["voices"]
            return {one["name"]: one["alias_of"] for one in voices}.get(name) == weights

        wait_until(check, 60)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a whole process group: Celery's parent and its child at once."""
        os.killpg(self.children[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.children.pop(name).wait()

    def stop(self) -> None:
        for child in self.children.values():
            child.terminate()
        for name in list(self.children):
            try:
                self.children[name].wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill(name)

    @property
    def presence(self) -> PresenceStore:
        return PresenceStore(Scripts(connect(self.redis.url)))


MakeFarm = Callable[..., Farm]


@contextmanager
def farm_maker(directory: Path) -> Iterator[MakeFarm]:
    """Makes farms, each with a Redis of its own; all their processes end with the block."""
    farms: list[Farm] = []

    def make(**env: str) -> Farm:
        place = directory / f"farm{len(farms)}"
        place.mkdir()
        redis = RedisServer(place / "redis", append_only=True)
        redis.start()
        farms.append(Farm(place, redis, env=env))
        return farms[-1]

    try:
        yield make
    finally:
        for farm in farms:
            farm.stop()
            farm.redis.kill()


@pytest.fixture
def make_farm(tmp_path: Path) -> Iterator[MakeFarm]:
    with farm_maker(tmp_path) as make:
        yield make
