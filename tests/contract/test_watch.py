"""The watcher on a real Redis that loses what it told last."""

from time import monotonic

import pytest
from redis import Redis

from shared.connection import PREFIX
from shared.watch import Watcher
from tests.conftest import wait_until

pytestmark = pytest.mark.redis


def test_versions_that_redis_lost_do_not_wake_who_waits(redis_client: Redis) -> None:
    watcher = Watcher(redis_client)
    watcher.start()

    def wakes(version: int, within_s: float = 0.3) -> bool:
        started_s = monotonic()
        watcher.wait("a", version, within_s)
        return monotonic() - started_s < within_s

    def hears() -> bool:
        redis_client.publish(f"{PREFIX}events", "a|57")
        return wakes(56)

    wait_until(hears, 60)
    assert wakes(55, 30)
    redis_client.client_kill_filter(_type="pubsub")  # a failover; the new master is at 55
    wait_until(lambda: not wakes(55), 60)
    wait_until(hears, 60)
    watcher.close()
