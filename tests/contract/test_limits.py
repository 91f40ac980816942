"""Limits on a real Redis: exact however many ask at once, given back, kept over a restart."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.connection import Scripts, connect
from shared.errors import TextTooLong, TooManyRequests
from shared.jobs import JobStore, Submission
from shared.limits import DAY_S, LimitStore, Subject
from shared.schemas import JobRequest
from shared.settings import Settings
from tests.conftest import PATIENCE_S, RedisServer
from tests.walk import Farm, finish_job

pytestmark = pytest.mark.redis

CLIENTS = 50


def submission(job_id: str, *subjects: Subject, text: str = "你好。", **more: object) -> Submission:
    asked = Submission(
        id=job_id,
        tenant="a",
        request=JobRequest(voice="fake"),
        text=text,
        fingerprint=text,
        subjects=subjects,
    )
    return replace(asked, **more)  # type: ignore[arg-type]


def at_once(redis_url: str, ask: Callable[[JobStore, int], bool]) -> int:
    """How many of 50 clients, each with a connection of its own, are let through."""
    ready = threading.Barrier(CLIENTS)

    def one(number: int) -> bool:
        client = connect(redis_url, timeout_s=PATIENCE_S)
        try:
            client.ping()
            ready.wait(60)
            return ask(JobStore(Scripts(client)), number)
        except TooManyRequests:
            return False
        finally:
            client.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(one, range(CLIENTS)))


@pytest.mark.parametrize(
    "subject",
    [
        Subject(name="tenant:a", jobs=7),
        Subject(name="tenant:a", chars=21),
        Subject(name="tenant:a", daily_chars=23),
        Subject(name="key:k", jobs=7),
    ],
    ids=["jobs", "chars", "daily", "key"],
)
def test_fifty_clients_at_once_get_exactly_what_is_allowed(
    redis_url: str, subject: Subject
) -> None:
    def ask(jobs: JobStore, number: int) -> bool:
        return jobs.submit(submission(f"j{number}", subject)).created

    assert at_once(redis_url, ask) == 7


def test_fifty_clients_at_once_make_exactly_the_requests_allowed(redis_url: str) -> None:
    def ask(jobs: JobStore, number: int) -> bool:
        return LimitStore(jobs._scripts).take_request("key:k", 9).allowed == 9

    assert at_once(redis_url, ask) == 9


def test_the_same_submit_again_is_charged_once(scripts: Scripts) -> None:
    jobs, subject = JobStore(scripts), Subject(name="tenant:a", jobs=2, daily_chars=6)
    for _ in range(5):
        jobs.submit(submission("j1", subject, idempotency_key="k"))
    found = jobs.submit(submission("j9", subject, idempotency_key="k"))
    assert (found.created, found.job.id) == (False, "j1")
    assert {quota.limit: quota.used for quota in found.quotas} == {"jobs": 1, "daily_chars": 3}


def test_fifty_clients_with_one_idempotency_key_are_charged_once(redis_url: str) -> None:
    subject = Subject(name="tenant:a", jobs=1, chars=3, daily_chars=3)

    def ask(jobs: JobStore, number: int) -> bool:
        jobs.submit(submission(f"j{number}", subject, idempotency_key="one"))
        return True

    assert at_once(redis_url, ask) == CLIENTS


def test_a_refused_submit_leaves_nothing_charged(scripts: Scripts) -> None:
    jobs = JobStore(scripts)
    tenant, key = Subject(name="tenant:a", daily_chars=100), Subject(name="key:k", jobs=1)
    jobs.submit(submission("j1", tenant, key))
    for number in range(5):
        with pytest.raises(TooManyRequests) as refused:
            jobs.submit(submission(f"r{number}", tenant, key))
        assert refused.value.details["limit"] == "jobs"
    found = jobs.submit(submission("j1", tenant, key))
    assert {quota.policy: quota.used for quota in found.quotas} == {
        "tenant-daily-chars": 3,
        "key-jobs": 1,
    }
    assert not scripts.client.exists(scripts.key("job", "r0"))


def test_every_way_a_job_ends_gives_its_place_back(
    scripts: Scripts, farm_settings: Settings
) -> None:
    farm, subject = Farm(scripts, farm_settings), Subject(name="tenant:a", jobs=1, chars=3)
    jobs = farm.jobs

    def expire(job_id: str) -> None:
        scripts.client.zadd(scripts.key("deadlines"), {job_id: 1})
        farm.repair.expire_jobs()

    ends: tuple[Callable[[str], object], ...] = (
        lambda _id: finish_job(farm, 1),
        lambda job_id: jobs.cancel("a", job_id),
        lambda job_id: jobs.delete("a", job_id),
        expire,
    )
    for number, end in enumerate(ends):
        asked = submission(f"j{number}", subject)
        assert jobs.submit(asked).created
        with pytest.raises(TooManyRequests):
            jobs.submit(submission("more", subject))
        end(f"j{number}")
    assert jobs.submit(submission("last", subject)).created


def test_a_job_that_runs_again_needs_a_place_and_no_characters(scripts: Scripts) -> None:
    jobs, subject = JobStore(scripts), Subject(name="key:k", jobs=1, daily_chars=6)
    jobs.submit(submission("j1", subject))
    jobs.cancel("a", "j1")
    jobs.submit(submission("j2", subject))
    with pytest.raises(TooManyRequests, match="jobs that have not ended"):
        jobs.retry("a", "j1", (subject,))
    jobs.cancel("a", "j2")
    jobs.retry("a", "j1", (subject,))
    found = jobs.submit(submission("j1", subject))
    assert {quota.limit: quota.used for quota in found.quotas} == {"jobs": 1, "daily_chars": 6}


def test_a_text_longer_than_the_whole_limit_is_told_to_be_split(scripts: Scripts) -> None:
    for subject in (Subject(name="tenant:a", chars=5), Subject(name="key:k", daily_chars=5)):
        with pytest.raises(TextTooLong, match="Split"):
            JobStore(scripts).submit(submission("j1", subject, text="六个字的一句"))


def test_a_refusal_says_which_limit_and_when(scripts: Scripts) -> None:
    jobs, subject = JobStore(scripts), Subject(name="tenant:a", daily_chars=4)
    jobs.submit(submission("j1", subject))
    with pytest.raises(TooManyRequests, match="this job has 3") as refused:
        jobs.submit(submission("j2", subject))
    details = refused.value.details
    assert (details["limit"], details["allowed"], details["used"]) == ("daily_chars", 4, 3)
    assert 1 <= details["retry_after_s"] <= DAY_S


def test_another_day_begins_at_nothing(scripts: Scripts) -> None:
    jobs, subject = JobStore(scripts), Subject(name="tenant:a", daily_chars=3)
    jobs.submit(submission("j1", subject))
    (today,) = scripts.client.scan_iter("*spoken:tenant:a:*")
    assert scripts.client.ttl(today) > DAY_S
    scripts.client.rename(today, f"{today}-yesterday")
    assert jobs.submit(submission("j2", subject)).created


def test_another_minute_begins_at_nothing(scripts: Scripts) -> None:
    store = LimitStore(scripts)
    assert [store.take_request("key:k", 2).remaining for _ in range(2)] == [1, 0]
    with pytest.raises(TooManyRequests) as refused:
        store.take_request("key:k", 2)
    assert 1 <= refused.value.details["retry_after_s"] <= 60
    assert store.take_request("key:other", 2).remaining == 1
    minute = scripts.key("requests", "key:k")
    assert 0 < scripts.client.pttl(minute) <= 60_000
    scripts.client.pexpire(minute, 0)
    assert store.take_request("key:k", 2).remaining == 1


def test_counters_survive_a_restart_of_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", append_only=True)
    server.start()
    subject = Subject(name="tenant:a", jobs=1, chars=100, daily_chars=100)
    client = connect(server.url, timeout_s=PATIENCE_S)
    try:
        JobStore(Scripts(client)).submit(submission("j1", subject))
        LimitStore(Scripts(client)).take_request("key:k", 2)
        server.kill()
        server.start()
        with pytest.raises(TooManyRequests):
            JobStore(Scripts(client)).submit(submission("j2", subject))
        found = JobStore(Scripts(client)).submit(submission("j1", subject))
        assert [quota.used for quota in found.quotas] == [1, 3, 3]
        assert LimitStore(Scripts(client)).take_request("key:k", 2).used == 2
    finally:
        client.close()
        server.kill()


def test_jobs_are_counted_before_any_limit_is_set(scripts: Scripts) -> None:
    """So that a limit is right from the moment an operator sets it."""
    jobs = JobStore(scripts)
    jobs.submit(submission("j1"))
    with pytest.raises(TooManyRequests):
        jobs.submit(submission("j2", Subject(name="tenant:a", jobs=1)))
