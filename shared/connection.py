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
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from shared.errors import FULL_RETRY_S, NotReplicated, StateStoreFull, StateStoreUnavailable
from shared.redis_address import parse_redis_url
from shared.sentinels import master_client

PREFIX = "ttsfarm:"
FULL = frozenset({"OOM", "MISCONF"})
PASSING = frozenset(
    {"BUSY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "READONLY", "TRYAGAIN"}
)
# A replica that has just become the master knows no script yet, and an old master only reads.
UNAVAILABLE = (BusyLoadingError, ConnectionError, NoScriptError, ReadOnlyError, TimeoutError)
SCRIPTS = Path(__file__).parent / "scripts"
# How long replicas may take to say that they have a job: below the API's wait for any answer.
REPLICA_WAIT_MS = 400


def connect(url: str, *, timeout_s: float = 5.0, retries: int = 3) -> Redis:
    """A client that waits at most `timeout_s` for an answer, `retries` times.

    Behind sentinels it asks them where the master is each time it connects.
    """
    address = parse_redis_url(url)
    options = {
        **address.node_options(),
        "decode_responses": True,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(2.0, timeout_s),
        "socket_keepalive": True,
        "health_check_interval": 5,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries),
    }
    if address.master is None:
        return Redis(**address.place_options(), **options)
    return master_client(address, timeout_s, options)


@contextmanager
def state_store() -> Iterator[None]:
    """Turns Redis's errors into ours; what is left is a fault of ours and passes."""
    try:
        yield
    except UNAVAILABLE as error:
        raise StateStoreUnavailable(retry_after_s=2) from error
    except OutOfMemoryError as error:
        raise StateStoreFull(retry_after_s=FULL_RETRY_S) from error
    except ResponseError as error:
        reason = str(error).partition(" ")[0]
        if reason in FULL or "OOM" in str(error):
            raise StateStoreFull(retry_after_s=FULL_RETRY_S) from error
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
        with state_store():
            return cast(Any, self._script(name)(keys=[self.prefix], args=list(args)))

    def replicated(self, replicas: int, name: str, *args: str | int | float | bytes) -> Any:
        """The same, answered once `replicas` replicas have what it and all before it wrote.

        Raises `NotReplicated` when they do not say so in time: it is written, but may be lost.
        """
        with state_store(), self.client.pipeline(transaction=False) as pipe:
            self._script(name)(keys=[self.prefix], args=list(args), client=pipe)
            # WAIT may wait for its own connection's writes alone. A script that is run again finds
            # its work done and writes nothing, so this write stands in for the first one.
            self._script("replicated")(keys=[self.prefix], client=pipe)
            pipe.wait(replicas, REPLICA_WAIT_MS)
            answer, _, reached = pipe.execute()
        if reached < replicas:
            raise NotReplicated(
                f"Redis has this, but {reached} of {replicas} replicas said in time that they do; "
                "send it again under the same key or id",
                retry_after_s=2,
            )
        return answer

    def _script(self, name: str) -> Script:
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self.client.register_script(script_text(name))
        return script

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
