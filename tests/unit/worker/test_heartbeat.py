"""The heartbeat without its Redis."""

from shared.connection import Scripts, connect
from shared.presence import PresenceStore
from shared.settings import Settings
from shared.work import WorkStore
from worker.heartbeat import Heartbeat
from worker.pulse import Pulse


def test_a_worker_leaves_in_peace_while_redis_is_away(caplog):
    scripts = Scripts(connect("redis://127.0.0.1:1/0", retries=0))
    heartbeat = Heartbeat(
        "worker-1",
        [],
        work=WorkStore(scripts, Settings()),
        presence=PresenceStore(scripts),
        pulse=Pulse(),
        lease_s=10.0,
    )
    heartbeat.start()
    heartbeat.close()
    assert "leave not told: Redis does not answer" in caplog.text
