"""A job is retried, on a real Redis: asked twice, and with a book's many segments."""

import pytest

from shared.limits import dump_subjects
from shared.states import Finish, JobStatus
from shared.work import segment_unit
from tests.walk import Farm, result, spec

pytestmark = pytest.mark.redis


def test_a_retry_sent_twice_is_accepted_twice_and_done_once(farm: Farm) -> None:
    farm.submit("a")
    farm.jobs.cancel("default", "a")
    for _ in range(2):
        asked = ("a", "default", "", dump_subjects((), "default"), "nonce")
        assert farm.scripts("retry", *asked) == ["accepted"]
    record = farm.scripts.key("job", "a")
    assert farm.scripts.client.hget(record, "round") == "1"
    assert [claim.unit for claim in farm.claim(limit=8)] == ["plan"]
    farm.jobs.cancel("default", "a")
    assert farm.jobs.retry("default", "a").status is JobStatus.RUNNING


def cancel_a_book(farm: Farm, **asked: bool) -> None:
    """The job `a` of 2,500 segments, planned and canceled."""
    farm.submit("a", **asked)
    (plan,) = farm.claim()
    for first in range(0, 2500, 500):
        specs = [spec(i) for i in range(first, first + 500)]
        farm.work.append_plan(plan, specs, total=2500 if first == 2000 else None)
    farm.jobs.cancel("default", "a")


@pytest.fixture
def book(farm: Farm) -> Farm:
    """A farm with such a book."""
    cancel_a_book(farm)
    return farm


def depth(farm: Farm) -> int:
    return farm.presence.lanes()[0].depth


def test_a_books_segments_are_due_again_part_by_part(book: Farm) -> None:
    client = book.scripts.client
    client.config_resetstat()
    book.jobs.retry("default", "a")
    calls = sum(row["calls"] for row in client.info("commandstats").values())
    assert calls < 100, "Redis answers nobody else meanwhile"
    assert depth(book) == 1000
    assert book.repair.revive()
    assert not book.repair.revive()
    assert depth(book) == 2500
    assert [claim.unit for claim in book.claim(limit=2)] == ["000000", "000001"]


def test_workers_make_a_books_segments_due_where_no_keeper_does(book: Farm) -> None:
    book.jobs.retry("default", "a")
    for _ in range(3):
        (claim,) = book.claim()
        book.work.finish_segment(claim, result(claim))
    assert depth(book) == 2500 - 3
    assert book.jobs.job("default", "a").segments_done == 3


def test_a_worker_of_bulk_work_does_not_wait_for_all_of_a_book(farm: Farm) -> None:
    cancel_a_book(farm, interactive=False)
    farm.jobs.retry("default", "a")
    assert [claim.unit for claim in farm.claim()] == ["000000"]
    assert depth(farm) == 2000 - 1


def test_what_is_claimed_or_done_meanwhile_is_not_due_once_more(book: Farm) -> None:
    book.jobs.retry("default", "a")
    client, reviving = book.scripts.client, book.scripts.key("reviving")
    done, held = book.claim(), book.claim()
    book.work.finish_segment(done[0], result(done[0]))
    client.zadd(reviving, {"a": 0})  # as if none had been looked at
    while book.repair.revive():
        pass
    assert depth(book) == 2500 - 2
    assert book.work.finish_segment(held[0], result(held[0])) is Finish.ACCEPTED


@pytest.mark.parametrize("change", ["cancel", "delete"])
def test_a_job_that_ends_meanwhile_is_not_due_any_more(book: Farm, change: str) -> None:
    book.jobs.retry("default", "a")
    getattr(book.jobs, change)("default", "a")
    assert not book.repair.revive()
    assert depth(book) == 0
    assert book.scripts.client.exists(book.scripts.key("reviving")) == 0
    if change == "cancel":
        book.jobs.retry("default", "a")
        assert depth(book) == 1000


def test_an_attempt_that_ended_with_its_job_is_over_before_its_part_is_due_again(
    farm: Farm,
) -> None:
    cancel_a_book(farm)
    farm.jobs.retry("default", "a")
    farm.repair.revive()
    unit = segment_unit(1500)
    claims = farm.claim(limit=1600)
    held = next(claim for claim in claims if claim.unit == unit)
    farm.jobs.cancel("default", "a")
    farm.jobs.retry("default", "a")
    assert farm.work.beat([held]) == [held]
    farm.jobs.cancel("default", "a")
    assert farm.presence.lanes()[0].claimed == 0
