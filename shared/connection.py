"""The one way to Redis: clients with bounded waits, Lua scripts by name, errors of our own.

Every script is safe to repeat, so a call that timed out is tried again without harm.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from shared.errors import StateStoreFull, StateStoreUnavailable

PREFIX = "ttsfarm:"
FULL = frozenset({"OOM", "MISCONF"})
PASSING = frozenset(
    {"BUSY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "READONLY", "TRYAGAIN"}
)
SCRIPTS = Path(__file__).parent / "scripts"


def connect(url: str, *, timeout_s: float = 5.0, retries: int = 3) -> Redis:
    """A client that waits at most `timeout_s` for an answer, `retries` times."""
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(2.0, timeout_s),
        socket_keepalive=True,
        health_check_interval=5,
        retry=Retry(backoff, retries),
    )


@contextmanager
def state_store() -> Iterator[None]:
    """Turns Redis's errors into ours; what is left is a fault of ours and passes."""
    try:
        yield
    except (BusyLoadingError, ConnectionError, TimeoutError, ReadOnlyError) as error:
        raise StateStoreUnavailable(retry_after_s=2) from error
    except OutOfMemoryError as error:
        raise StateStoreFull(retry_after_s=30) from error
    except ResponseError as error:
        reason = str(error).partition(" ")[0]
        if reason in FULL or "OOM" in str(error):
            raise StateStoreFull(retry_after_s=30) from error
        if reason in PASSING:
            raise StateStoreUnavailable(retry_after_s=2) from error
        raise


@cache
def script_text(name: str) -> str:
    """A script's source with the functions all scripts share put before it.

    A first line `#!lua flags=...` stays first: Redis reads it. Scripts that end or repair work
    carry `allow-oom`, so that a full Redis can still be emptied.
    """
    own = (SCRIPTS / f"{name}.lua").read_text("utf-8")
    flags, own = own.split("\n", 1) if own.startswith("#!") else ("", own)
    shared = [path.read_text("utf-8") for path in sorted((SCRIPTS / "lib").glob("*.lua"))]
    return "\n".join([*filter(None, [flags]), *shared, own])


class Scripts:
    """The Lua scripts of `shared/scripts`, called by name on one client.

    A script gets the key prefix as `KEYS[1]`; every other key is made from it and the arguments.
    """

    def __init__(self, client: Redis, prefix: str = PREFIX) -> None:
        self.client: Any = client  # redis-py types every answer as bytes or str; ours are str
        self.prefix = prefix
        self._loaded: dict[str, Script] = {}

    def __call__(self, name: str, *args: str | int | float | bytes) -> Any:
        """Run `name.lua`; raises `StateStoreUnavailable` or `StateStoreFull`."""
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self.client.register_script(script_text(name))
        with state_store():
            return cast(Any, script(keys=[self.prefix], args=list(args)))

    def now_ms(self) -> int:
        """Redis's own clock, milliseconds since the epoch."""
        with state_store():
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def each(self, name: str, rows: Iterable[Sequence[str | int]]) -> list[Any]:
        """Run `name.lua` for each row of arguments, all sent at once; the answers in order."""
        script = self.client.register_script(script_text(name))
        pipe = self.client.pipeline(transaction=False)
        for row in rows:
            script(keys=[self.prefix], args=list(row), client=pipe)
        with state_store():
            return cast(list[Any], pipe.execute())

    def key(self, *parts: str) -> str:
        """A key under the prefix, its parts joined by colons."""
        return self.prefix + ":".join(parts)


__all__ = ["PREFIX", "RedisError", "Scripts", "connect", "script_text", "state_store"]
