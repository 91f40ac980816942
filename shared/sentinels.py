"""Redis behind sentinels: finding the master, and leaving one that is it no more.

What redis-py and kombu bring, mended where a failover would stop a thread or a worker for good.
"""

from copy import copy
from typing import Any, cast

from kombu.transport.redis import QoS, SentinelChannel, SentinelTransport
from kombu.transport.virtual import QoS as VirtualQoS
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection
from redis.exceptions import ConnectionError, ResponseError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from shared.redis_address import RedisAddress


class MasterConnection(SentinelManagedConnection):
    """A connection to the master that ends when the master has lost its replicas.

    They may follow another one. A master that was cut off and is back stays one until a sentinel
    tells it, seconds later; who stays with it is refused meanwhile, and Celery's worker ends.
    """

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not str(error).startswith("NOREPLICAS"):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # has no types
            raise ConnectionError("the master has no replica; another may be master") from error


class MasterTLSConnection(MasterConnection, SSLConnection):
    """The same over TLS."""


class Acknowledgements(QoS):
    """kombu's, for a master that is gone.

    There, a bell whose acknowledgement did not arrive counts as held for good, and with one at a
    time a worker would hear no other.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # has no types
        except (ConnectionError, TimeoutError):
            # The bell rings again later, which harms nobody.
            VirtualQoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # the same
            raise


class Channel(SentinelChannel):
    """kombu's channel, with such connections and acknowledgements."""

    QoS = Acknowledgements
    connection_class = MasterConnection
    connection_class_ssl = MasterTLSConnection  # type: ignore[assignment]  # kombu's own kind


class Transport(SentinelTransport):
    """kombu's transport, with such channels."""

    Channel = Channel


class Sentinels(Sentinel):
    """redis-py's, for many threads.

    Its own moves the sentinel that answered to the front of a list that all threads share; two
    that do so at once can put one in another's place, and it is never asked again.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the master is; raises `MasterNotFoundError`."""
        asked = copy(self)
        asked.sentinels = list(self.sentinels)
        found: tuple[str, int] = Sentinel.discover_master(asked, service_name)  # type: ignore[no-untyped-call]  # has no types
        self.sentinels = asked.sentinels
        return found


def sentinel_options(address: RedisAddress, timeout_s: float) -> dict[str, Any]:
    """redis-py's arguments for a connection to a sentinel: one try, for there is another one."""
    return {
        **address.sentinel_options(),
        "socket_timeout": min(1.0, timeout_s / 2),
        "socket_connect_timeout": min(1.0, timeout_s / 2),
        "retry": Retry(NoBackoff(), 0),
    }


def master_client(address: RedisAddress, timeout_s: float, options: dict[str, Any]) -> Redis:
    """A client of the master, which is looked up at each connection."""
    sentinels = cast(Any, Sentinels)(  # redis-py gives it no types
        address.hosts, sentinel_kwargs=sentinel_options(address, timeout_s), **options
    )
    kind = MasterTLSConnection if address.tls is not None else MasterConnection
    return cast(Redis, sentinels.master_for(address.master, connection_class=kind))
