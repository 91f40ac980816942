"""What the clock does to a job, on a real Redis: leases, deadlines, retention, waits, turns.

What a script sets is compared with Redis's own clock; then the time is made to have come.
"""

import pytest

from shared.connection import Scripts
from shared.errors import NotFound, SynthesisError
from shared.settings import Settings
from shared.states import JobStatus
from shared.work import RETRY_BASE_MS, RETRY_CAP_MS
from tests.walk import Farm, ready_retries

pytestmark = pytest.mark.redis


def ahead_s(farm: Farm, place: str, job_id: str = "a") -> object:
    """In how many seconds something is set to happen to a job, to the minute."""
    at_ms = farm.scripts.client.zscore(farm.scripts.key(place), job_id)
    return None if at_ms is None else pytest.approx((at_ms - farm.scripts.now_ms()) / 1000, abs=60)


def test_a_claim_has_a_lease_and_a_beat_renews_it(farm: Farm) -> None:
    farm.submit("a")
    client, leases = farm.scripts.client, farm.scripts.key("lane", "fake", "leases")
    lease_ms = 1000  # the fixture's
    start_ms = farm.scripts.now_ms()
    (claim,) = farm.claim()
    assert start_ms <= client.zscore(leases, "a|plan") - lease_ms <= farm.scripts.now_ms()
    client.zadd(leases, {"a|plan": 0})  # its time has passed, and nobody has looked
    start_ms = farm.scripts.now_ms()
    assert farm.work.beat([claim]) == []
    assert start_ms <= client.zscore(leases, "a|plan") - lease_ms <= farm.scripts.now_ms()
    client.zadd(leases, {"a|plan": 0})
    assert farm.repair.expire_leases() == 1


def test_deadline_expires_and_retention_removes(farm: Farm) -> None:
    farm.submit("a", deadline_s=3600, retention_s=7200)
    client = farm.scripts.client
    assert ahead_s(farm, "deadlines") == 3600
    assert farm.repair.expire_jobs() == (0, 0)
    client.zadd(farm.scripts.key("deadlines"), {"a": 0})
    assert farm.repair.expire_jobs() == (1, 0)
    assert farm.status("a") is JobStatus.EXPIRED
    assert (ahead_s(farm, "deadlines"), ahead_s(farm, "retention")) == (None, 7200)
    assert farm.repair.expire_jobs() == (0, 0)
    client.zadd(farm.scripts.key("retention"), {"a": 0})
    assert farm.repair.expire_jobs() == (0, 1)
    with pytest.raises(NotFound):
        farm.jobs.job("default", "a")


def test_a_retried_job_has_its_deadline_anew_and_no_end_of_before(farm: Farm) -> None:
    farm.submit("a", deadline_s=3600)
    farm.claim()
    client = farm.scripts.client
    client.zadd(farm.scripts.key("deadlines"), {"a": 0})
    farm.repair.expire_jobs()
    ended = farm.jobs.job("default", "a")
    assert ended.error
    assert ended.finished_ms
    assert ended.expires_ms
    job = farm.jobs.retry("default", "a")
    assert (job.status, job.error) == (JobStatus.RUNNING, None)
    assert (job.finished_ms, job.expires_ms) == (None, None)
    assert (ahead_s(farm, "deadlines"), ahead_s(farm, "retention")) == (3600, None)


def test_each_error_doubles_the_wait_up_to_a_limit(
    scripts: Scripts, farm_settings: Settings
) -> None:
    farm = Farm(scripts, farm_settings.model_copy(update={"max_attempts": 20}))
    farm.submit("a")
    waits_ms = [RETRY_BASE_MS * factor for factor in (1, 2, 4, 8, 16, 32)]
    assert waits_ms[-1] < RETRY_CAP_MS < 2 * waits_ms[-1]
    for wait_ms in [*waits_ms, RETRY_CAP_MS, RETRY_CAP_MS]:
        (claim,) = farm.claim()
        start_ms = scripts.now_ms()
        farm.work.fail(claim, SynthesisError("no"), jitter=1.0)
        due_ms = scripts.client.zscore(scripts.key("retries"), "a|plan")
        assert start_ms <= due_ms - wait_ms <= scripts.now_ms()
        ready_retries(farm)


def test_a_book_that_waited_long_goes_before_a_greeting(farm: Farm) -> None:
    for name in ("greeting", "another"):
        farm.submit(name)
    farm.submit("book", interactive=False)
    turn = farm.scripts.key("lane", "fake", "turn")
    farm.scripts.client.hset(turn, "bulk_ms", farm.scripts.now_ms() - 31_000)
    assert [farm.claim()[0].job for _ in range(2)] == ["book", "greeting"]


def test_what_a_late_worker_uploads_of_a_deleted_job_is_looked_for(farm: Farm) -> None:
    farm.submit("a")
    farm.jobs.delete("default", "a")
    passes = farm.scripts.client.zrange(farm.scripts.key("garbage"), 0, -1)
    assert [ahead_s(farm, "garbage", one) for one in passes] == [0, 900]


def test_a_message_no_courier_ever_fetched_keeps_its_job_for_four_days(farm: Farm) -> None:
    farm.submit("a", webhook_url="https://example.com/")
    farm.jobs.cancel("default", "a")
    client, key = farm.scripts.client, farm.scripts.key
    for days, gone in ((3.9, 0), (4.1, 1)):
        written_ms = farm.scripts.now_ms() - int(days * 86_400_000)
        client.hset(key("delivery", "msg_a_completed"), "created_ms", written_ms)
        client.zadd(key("retention"), {"a": 0})
        assert farm.repair.expire_jobs() == (0, gone)
