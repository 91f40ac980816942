"""Batches on a real Redis until their jobs are due: what is refused, and what breaks off."""

from typing import Any

import pytest

from shared.batches import BatchStore
from shared.connection import Scripts
from shared.errors import BodyTooLarge, NotFound, TextTooLong, TooManyRequests, WrongState
from shared.jobs import JobFilter
from shared.limits import Subject, dump_subjects
from shared.states import BatchStatus, JobStatus
from tests.walk import Farm, head, inputs, snapshot

pytestmark = pytest.mark.redis


def store_two_batches(farm: Farm) -> None:
    """`b` and `c`, three inputs each, neither of them accepted yet."""
    for name in ("b", "c"):
        farm.batches.open(head(name, fingerprint=name), f"stem-{name}")
        farm.batches.add("default", name, inputs(range(1, 4)))


def test_a_batch_counts_for_its_tenant_as_a_whole_or_not_at_all(farm: Farm) -> None:
    tenant = Subject(name="tenant:default", jobs=4)
    store_two_batches(farm)
    farm.batches.commit("default", "b", subjects=(tenant,))
    with pytest.raises(TooManyRequests):
        farm.batches.commit("default", "c", subjects=(tenant,))
    active = farm.scripts.key("active", "tenant:default")
    assert farm.scripts.client.scard(active) == 3
    farm.batches.cancel("default", "b")
    assert farm.scripts.client.exists(active, f"{active}:chars") == 0
    assert not [key for key in farm.scripts.client.scan_iter("*") if "stem-c" in key]
    farm.batches.open(head("c", fingerprint="c"), "stem-c")
    farm.batches.add("default", "c", inputs(range(1, 4)))
    assert farm.batches.commit("default", "c", subjects=(tenant,)).n_total == 3


class RoomComes(Scripts):
    """As soon as a batch is refused there is room, and another call of its sender finds it."""

    def __call__(self, name: str, *args: str | int | float | bytes) -> Any:
        answer = super().__call__(name, *args)
        if name == "batch_commit" and answer[0] == "full":
            BatchStore(Scripts(self.client)).commit("default", "c")
        return answer


def test_what_another_call_was_told_is_accepted_stays_though_this_one_is_refused(
    farm: Farm,
) -> None:
    store_two_batches(farm)
    tenant, sender = Subject(name="tenant:default", jobs=2), RoomComes(farm.scripts.client)
    with pytest.raises(BodyTooLarge):
        BatchStore(sender).commit("default", "c", subjects=(tenant,))
    assert farm.batches.batch("default", "c").counts[JobStatus.QUEUED] == 3


def test_one_that_is_deleted_before_its_sender_is_answered_is_a_conflict(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_it(tenant: str, batch_id: str) -> None:
        farm.scripts("batch_delete", batch_id, tenant, "")

    store_two_batches(farm)
    monkeypatch.setattr(farm.batches, "settle", delete_it)
    with pytest.raises(WrongState, match="removed"):
        farm.batches.commit("default", "c")


def test_who_sends_a_batch_that_was_removed_puts_nothing_into_the_next_of_its_name(
    farm: Farm,
) -> None:
    first = farm.batches.open(head("b", fingerprint="old"), "first")
    farm.batches.add("default", "b", inputs(range(1, 3)), first.stem)
    farm.batches.delete("default", "b")
    second = farm.batches.open(head("b", fingerprint="new"), "second")
    farm.batches.add("default", "b", inputs(range(1, 2)), second.stem)
    with pytest.raises(WrongState, match="removed"):
        farm.batches.add("default", "b", inputs(range(2, 3)), first.stem)
    with pytest.raises(WrongState, match="removed"):
        farm.batches.commit("default", "b", stem=first.stem)
    assert farm.batches.commit("default", "b", stem=second.stem).n_total == 1


class Reopened(Scripts):
    """As soon as a batch is refused it is removed, and another of its name is being sent."""

    def __call__(self, name: str, *args: str | int | float | bytes) -> Any:
        answer = super().__call__(name, *args)
        if name == "batch_commit" and answer[0] == "full":
            others = BatchStore(Scripts(self.client))
            others.delete("default", "c")
            others.open(head("c", fingerprint="new"), "new")
        return answer


def test_what_a_refusal_removes_is_not_the_next_of_its_name(farm: Farm) -> None:
    store_two_batches(farm)
    tenant, sender = Subject(name="tenant:default", jobs=2), Reopened(farm.scripts.client)
    with pytest.raises(TooManyRequests):
        BatchStore(sender).commit("default", "c", subjects=(tenant,), stem="stem-c")
    farm.batches.add("default", "c", inputs(range(1, 2)), "new")
    assert farm.batches.commit("default", "c", stem="new").n_total == 1


def test_its_characters_count_for_the_day_from_its_acceptance(farm: Farm) -> None:
    tenant = Subject(name="tenant:default", daily_chars=17)
    store_two_batches(farm)
    farm.batches.commit("default", "b", subjects=(tenant,))
    farm.batches.cancel("default", "b")
    with pytest.raises(TooManyRequests) as refused:
        farm.batches.commit("default", "c", subjects=(tenant,))
    assert (refused.value.details["limit"], refused.value.details["used"]) == ("daily_chars", 9)


def test_one_that_limits_have_no_room_for_is_refused_before_it_is_stored(farm: Farm) -> None:
    tenant = Subject(name="tenant:default", jobs=4, daily_chars=100)
    store_two_batches(farm)
    farm.batches.commit("default", "b", subjects=(tenant,))
    farm.batches.delete("default", "c")
    with pytest.raises(TooManyRequests, match="and has 3, and this batch has 2"):
        farm.batches.open(head("d"), "stem", subjects=(tenant,), n_jobs=2, n_chars=5)
    farm.batches.delete("default", "b")
    with pytest.raises(BodyTooLarge, match="has 5 inputs; this tenant may have 4 jobs"):
        farm.batches.open(head("d"), "stem", subjects=(tenant,), n_jobs=5, n_chars=5)
    with pytest.raises(TextTooLong, match="batch has 101 characters"):
        farm.batches.open(head("d"), "stem", subjects=(tenant,), n_jobs=2, n_chars=101)
    assert not [key for key in farm.scripts.client.scan_iter("*") if "batch" in key]


def test_a_retry_that_finds_no_room_tells_what_the_job_needs(farm: Farm) -> None:
    store_two_batches(farm)
    farm.batches.commit("default", "b")
    farm.batches.commit("default", "c")
    farm.batches.cancel("default", "b")
    canceled, tenant = frozenset({JobStatus.CANCELED}), Subject(name="tenant:default", chars=10)
    with pytest.raises(TooManyRequests, match="and has 9, and this job has 3"):
        farm.batches.retry("default", "b", canceled, (tenant,))


def test_jobs_of_a_batch_that_is_not_accepted_are_nobodys_yet(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 2)))
    for touch in (farm.jobs.job, farm.jobs.cancel, farm.jobs.retry, farm.jobs.delete):
        with pytest.raises(NotFound):
            touch("default", "stem-00001")
    assert farm.jobs.page("default", only=JobFilter(batch="b")).jobs == ()
    farm.batches.commit("default", "b")
    assert farm.jobs.job("default", "stem-00001").status is JobStatus.QUEUED


def test_a_job_retried_before_its_release_stands_in_line_once(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 2)))
    farm.scripts("batch_commit", "b", "default", "", 0, "", dump_subjects((), "default"), "")
    farm.jobs.cancel("default", "stem-00001")
    farm.jobs.retry("default", "stem-00001")
    farm.batches.work_off(10)
    left = farm.scripts.key("lane", "fake", "bulk", "left")
    assert farm.scripts.client.hgetall(left) == {"default": "3"}


def test_a_job_that_ended_before_its_release_runs_when_it_is_retried(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 2)))
    farm.scripts("batch_commit", "b", "default", "", 0, "", dump_subjects((), "default"), "")
    farm.jobs.cancel("default", "stem-00001")
    farm.batches.work_off(10)
    assert farm.claim() == []
    farm.jobs.retry("default", "stem-00001")
    assert [claim.job for claim in farm.claim()] == ["stem-00001"]


def test_the_keeper_goes_on_where_a_commit_broke_off(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 251)))
    farm.scripts("batch_commit", "b", "default", "", 0, "", dump_subjects((), "default"), "")
    assert farm.claim() == []
    farm.batches.work_off(10)
    assert farm.presence.lanes()[0].depth_bulk == 250
    assert len(farm.jobs.page("default", limit=300, only=JobFilter(batch="b")).jobs) == 250
    farm.batches.work_off(10)
    assert farm.presence.lanes()[0].depth_bulk == 250


def test_removed_before_its_jobs_are_released_it_leaves_no_quota_behind(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 251)))
    with monkeypatch.context() as patch:
        patch.setattr(farm.batches, "settle", lambda *_: None)  # who sent it has died
        farm.batches.commit("default", "b", subjects=(Subject(name="tenant:default", jobs=300),))
    farm.scripts("batch_step", "b", "default", 100)
    farm.batches.delete("default", "b")
    assert not [key for key in farm.scripts.client.scan_iter("*") if "active:" in key]


def test_a_job_retried_before_its_release_leaves_nothing_when_the_batch_is_deleted(
    farm: Farm,
) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 3), deadline_s=60))
    farm.scripts("batch_commit", "b", "default", "", 0, "", dump_subjects((), "default"), "")
    farm.jobs.cancel("default", "stem-00001")
    farm.jobs.retry("default", "stem-00001")
    farm.batches.delete("default", "b")
    places = ("queued", "line:default", "left", "deadlines")
    assert not [key for key in snapshot(farm.scripts) if key.endswith(places)]


def test_deadlines_are_counted_from_the_acceptance(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 3), deadline_s=60))
    deadlines = farm.scripts.key("deadlines")
    assert farm.scripts.client.exists(deadlines) == 0
    farm.batches.commit("default", "b")
    assert farm.scripts.client.zcard(deadlines) == 2
    farm.scripts.client.zadd(deadlines, {"stem-00001": 0, "stem-00002": 0})
    farm.repair.expire_jobs()
    assert farm.batches.batch("default", "b").counts[JobStatus.EXPIRED] == 2
    assert farm.batches.batch("default", "b").status is BatchStatus.COMPLETED
