"""A job is retried, on a real Redis: asked twice, and with a book's many segments."""

import pytest

from shared.limits import dump_subjects
from shared.states import JobStatus
from tests.walk import Farm, spec

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


def test_a_books_segments_are_due_again_by_few_commands(farm: Farm) -> None:
    farm.submit("a")
    (plan,) = farm.claim()
    for first in range(0, 2500, 500):
        specs = [spec(i) for i in range(first, first + 500)]
        farm.work.append_plan(plan, specs, total=2500 if first == 2000 else None)
    farm.jobs.cancel("default", "a")
    client = farm.scripts.client
    client.config_resetstat()
    farm.jobs.retry("default", "a")
    calls = sum(row["calls"] for row in client.info("commandstats").values())
    assert calls < 100, "Redis answers nobody else meanwhile"
    assert farm.presence.lanes()[0].depth == 2500
    assert [claim.unit for claim in farm.claim(limit=2)] == ["000000", "000001"]
