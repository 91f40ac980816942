"""What `ttsfarm doctor` and `ttsfarm-worker doctor` look at: each is fine, or says how to mend it.

Nothing here changes anything.
"""

import shutil
import ssl
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from shared.connection import connect
from shared.errors import FarmError
from shared.redis_address import RedisAddress, parse_redis_url
from shared.sentinels import sentinel_options
from shared.settings import Settings
from shared.storage import open_store

OLDEST_PYTHON = (3, 11)
OLDEST_REDIS = 7
NEEDED_BYTES = 200_000_000
# Older ones lose bells without saying so, or know the priorities otherwise.
QUEUE_LIBRARIES = {"celery": (5, 7), "kombu": (5, 7)}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at: what was found and, where it is wrong, how to mend it."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def report(checks: Iterable[Check], write: Callable[[str], object]) -> bool:
    """Write one line a check as it comes; True when all are fine."""
    fine = True
    for check in checks:
        fine = fine and check.ok
        write(f"{'ok   ' if check.ok else 'wrong'}  {check.name:<10}  {check.found}")
        if not check.ok:
            write(f"       {'':<10}  -> {check.mend}")
    return fine


def check_python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Check(
        name="python",
        ok=sys.version_info >= OLDEST_PYTHON,
        found=f"{found} ({sys.executable})",
        mend=f"Install Python {wanted} or newer and make the environment anew.",
    )


def check_disk(path: Path) -> Check:
    """Free room where `path` is or will be."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check(
        name="disk",
        ok=free >= NEEDED_BYTES,
        found=f"{free / 1e9:.1f} GB free under {path}",
        mend=f"Make room: the farm needs {NEEDED_BYTES // 1_000_000} MB to start.",
    )


def check_queue_libraries() -> list[Check]:
    return [_library(name, oldest) for name, oldest in QUEUE_LIBRARIES.items()]


def _library(name: str, oldest: tuple[int, ...]) -> Check:
    wanted = ".".join(map(str, oldest))
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "not installed"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    mend = f"ttsfarm needs {name} {wanted}: install the versions of requirements/farm.txt."
    return Check(name=name, ok=numbers >= oldest, found=found, mend=mend)


def check_redis(url: str) -> list[Check]:
    """Whether Redis answers, is new enough, writes to disk and never forgets a key."""
    address = parse_redis_url(url)
    sentinels = [_check_sentinels(address)] if address.master else []
    client = connect(url, timeout_s=2.0, retries=0)
    try:
        info = client.info("server")
    except RedisError as error:
        found, mend = _fault(error)
        return [*sentinels, Check(name="redis", ok=False, found=found, mend=mend)]
    else:
        return [*sentinels, _redis_version(info), *_redis_settings(client)]
    finally:
        client.close()


def _check_sentinels(address: RedisAddress) -> Check:
    """Whether most sentinels answer and name a master, and the same one."""
    masters: set[str] = set()
    faults: list[str] = []
    for host, port in address.hosts:
        client = Redis(
            host=host, port=port, decode_responses=True, **sentinel_options(address, 2.0)
        )
        try:
            found: Any = client.sentinel_get_master_addr_by_name(address.master)
            masters.add(f"{found[0]}:{found[1]}" if found else "none")
        except RedisError as error:
            faults.append(f"{host}:{port} {_fault(error)[0]}")
        finally:
            client.close()
    n_answers = len(address.hosts) - len(faults)
    summary = f"{n_answers} of {len(address.hosts)} answer; master {' or '.join(sorted(masters))}"
    return Check(
        name="sentinels",
        ok=n_answers * 2 > len(address.hosts) and len(masters - {"none"}) == len(masters) == 1,
        found="; ".join([summary, *faults]),
        mend="Start those that do not answer, list them all in TTSFARM_REDIS_URL, and give its "
        "master= the name of their 'sentinel monitor'.",
    )


def _fault(error: BaseException) -> tuple[str, str]:
    """What kept Redis from answering, in words, and how to mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is refused: {cause.verify_message}",
                "Name the file of the authority that signed it as ssl_ca_certs= in "
                "TTSFARM_REDIS_URL, and reach Redis by a name that stands in its certificate.",
            )
        if isinstance(cause, ssl.SSLError):
            return (
                f"no TLS with it ({cause.reason or type(cause).__name__})",
                "Check that the port speaks TLS, and whether it asks for ssl_certfile= and "
                "ssl_keyfile=.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, AuthenticationError):
        return "refuses the password", "Give the right one in TTSFARM_REDIS_URL."
    if isinstance(error, MasterNotFoundError):
        return "no sentinel names a master", "Check the master= of TTSFARM_REDIS_URL."
    mend = "Start it ('ttsfarm up' brings its own) or set TTSFARM_REDIS_URL."
    return f"no answer ({type(error).__name__})", mend


def _redis_version(info: dict[str, object]) -> Check:
    product = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    number = str(info.get("valkey_version") or info["redis_version"])
    return Check(
        name="redis",
        ok=int(number.split(".")[0]) >= OLDEST_REDIS,
        found=f"{product} {number} answers",
        mend=f"Install Redis or Valkey {OLDEST_REDIS} or newer.",
    )


def _redis_settings(client: Redis) -> list[Check]:
    wanted = {
        "appendonly": ("yes", "without it a crash of Redis loses jobs"),
        "maxmemory-policy": ("noeviction", "any other forgets jobs when memory is short"),
    }
    try:
        given = {name: client.config_get(name).get(name, "unknown") for name in wanted}
    except ResponseError:
        hidden = "this server does not tell; make sure of appendonly yes and noeviction"
        return [Check(name="redis", ok=True, found=hidden)]
    return [
        Check(
            name="redis",
            ok=given[name] == value,
            found=f"{name} {given[name]}",
            mend=f"Set '{name} {value}' in redis.conf: {reason}.",
        )
        for name, (value, reason) in wanted.items()
    ]


def check_storage(settings: Settings) -> Check:
    """Whether the object store answers."""
    where = str(settings.storage_dir) if settings.storage == "local" else settings.s3_endpoint
    try:
        open_store(settings).check()
    except FarmError as error:
        mend = "Check TTSFARM_STORAGE and the TTSFARM_STORAGE_DIR or TTSFARM_S3_* settings."
        return Check(name="storage", ok=False, found=f"{where}: {error.message}", mend=mend)
    return Check(name="storage", ok=True, found=f"{settings.storage} at {where}")
