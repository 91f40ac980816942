"""Batches on a real Redis: accepted once, counted exactly, ended once, removed whole."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from shared.batches import Rejected
from shared.connection import Scripts, connect
from shared.errors import (
    EmptyAudio,
    IdempotencyConflict,
    NotFound,
    SynthesisError,
    WrongState,
)
from shared.jobs import JobFilter
from shared.limits import dump_subjects
from shared.schemas import Claim
from shared.settings import Settings
from shared.states import BatchStatus, JobStatus, UnitKind
from tests.conftest import PATIENCE_S, RedisServer
from tests.walk import (
    AUDIO,
    Farm,
    expire_leases,
    finish_job,
    head,
    inputs,
    ready_retries,
    result,
    spec,
)

pytestmark = pytest.mark.redis

HOOK = "https://example.com/"


def submit(farm: Farm, n_inputs: int = 3, name: str = "b", **changes: Any) -> None:
    given = head(name, **changes)
    farm.batches.open(given, f"stem{name}")
    farm.batches.add(given.tenant, name, inputs(range(1, n_inputs + 1)))
    farm.batches.commit(given.tenant, name)


def counts(farm: Farm, name: str = "b") -> dict[str, int]:
    """The counts that are not zero."""
    batch = farm.batches.batch("default", name)
    return {status.value: n for status, n in batch.counts.items() if n}


def deliveries(farm: Farm) -> list[str]:
    found = farm.scripts.client.zrange(farm.scripts.key("deliveries", "due"), 0, -1)
    return sorted(found)


def test_nothing_is_due_before_the_batch_is_accepted(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 4)))
    assert farm.claim() == []
    assert farm.jobs.page("default", only=JobFilter()).jobs == ()
    assert farm.batches.page("default").batches == ()
    assert farm.batches.batch("default", "b").status is BatchStatus.STORING
    with pytest.raises(WrongState):
        farm.batches.cancel("default", "b")
    batch = farm.batches.commit("default", "b")
    assert (batch.status, batch.n_total, batch.n_chars) == (BatchStatus.QUEUED, 3, 9)
    assert [job.name for job in farm.batches.jobs(batch)] == ["n1", "n2", "n3"]
    assert [farm.claim()[0].job for _ in range(3)] == ["stem-00001", "stem-00002", "stem-00003"]


def test_a_submit_that_broke_off_is_completed_without_doubling(farm: Farm) -> None:
    given = head(idempotency_key="k")
    farm.batches.open(given, "first")
    farm.batches.add("default", "b", inputs(range(1, 250)))
    again = farm.batches.open(head("second", idempotency_key="k"), "second")  # it chose no id
    assert (again.id, again.pending) == ("b", True)
    farm.batches.add("default", again.id, inputs(range(1, 401)))
    assert farm.batches.commit("default", again.id).n_total == 400
    assert farm.batches.commit("default", again.id).n_total == 400
    farm.batches.add("default", again.id, inputs(range(1, 500)))  # another caller's late pieces
    assert counts(farm) == {"queued": 400}
    assert {job.id[:6] for job in farm.batches.jobs(farm.batches.batch("default", "b"))} == {
        "first-"
    }
    assert farm.presence.lanes()[0].depth_bulk == 400
    assert farm.batches.open(given, "third").pending is False
    with pytest.raises(IdempotencyConflict):
        farm.batches.open(head("b", fingerprint="else"), "fourth")
    with pytest.raises(IdempotencyConflict):
        farm.batches.open(head("new", fingerprint="else", idempotency_key="k"), "fifth")
    with pytest.raises(IdempotencyConflict):
        farm.batches.open(head("new", idempotency_key="k"), "sixth")


def test_a_batch_nobody_goes_on_with_is_removed(farm: Farm) -> None:
    farm.batches.open(head(webhook_url=HOOK), "stem")
    farm.batches.add("default", "b", inputs(range(1, 251), webhook_url=HOOK))
    farm.batches.work_off(10)
    assert counts(farm) == {"queued": 250}
    farm.scripts.client.zadd(farm.scripts.key("batches", "work"), {"b|default": 0})
    farm.batches.work_off(10)
    with pytest.raises(NotFound):
        farm.batches.batch("default", "b")
    assert deliveries(farm) == []
    left = {key for key in farm.scripts.client.scan_iter("*") if "batch" in key or "job" in key}
    assert left == set()
    with pytest.raises(WrongState):
        farm.batches.add("default", "b", inputs(range(1, 3)))
    submit(farm)
    assert counts(farm) == {"queued": 3}


def test_the_last_job_to_end_ends_the_batch_and_tells_once(farm: Farm) -> None:
    submit(farm, 2, webhook_url=HOOK)
    finish_job(farm, 1)
    assert (counts(farm), deliveries(farm)) == ({"queued": 1, "succeeded": 1}, [])
    finish_job(farm, 1)
    batch = farm.batches.batch("default", "b")
    assert (batch.status, batch.audio_ms) == (BatchStatus.COMPLETED, 2 * AUDIO.duration_ms)
    assert batch.audio_bytes == 2 * AUDIO.size_bytes
    assert batch.expires_ms == (batch.finished_ms or 0) + 86_400_000
    assert deliveries(farm) == ["msg_stemb_batch"]
    assert all(job.expires_ms is None for job in farm.batches.jobs(batch))


def test_retry_takes_the_end_back_and_ends_again(farm: Farm) -> None:
    submit(farm, 3, webhook_url=HOOK)
    for _ in range(2):
        (claim,) = farm.claim()
        farm.work.fail(claim, EmptyAudio("no"))
    finish_job(farm, 1)
    assert counts(farm) == {"failed": 2, "succeeded": 1}
    batch, voices = farm.batches.retry("default", "b")
    assert (batch.status, batch.finished_ms, set(voices)) == (BatchStatus.RUNNING, None, {"fake"})
    finish_job(farm, 1)
    finish_job(farm, 1)
    assert counts(farm) == {"succeeded": 3}
    assert deliveries(farm) == ["msg_stemb_batch", "msg_stemb_batch_1"]


def test_cancel_ends_what_has_not_ended(farm: Farm) -> None:
    submit(farm, 250)
    finish_job(farm, 1)
    (held,) = farm.claim()
    batch = farm.batches.cancel("default", "b")
    assert batch.status is BatchStatus.CANCELED
    assert counts(farm) == {"canceled": 249, "succeeded": 1}
    assert farm.work.beat([held]) == [held]
    assert farm.claim() == []
    assert farm.batches.cancel("default", "b") == batch
    again, _ = farm.batches.retry("default", "b", frozenset({JobStatus.CANCELED}))
    assert (again.status, again.counts[JobStatus.CANCELED]) == (BatchStatus.RUNNING, 0)
    assert farm.batches.cancel("default", "b").status is BatchStatus.CANCELED


def test_a_completed_batch_is_not_canceled(farm: Farm) -> None:
    submit(farm, 1)
    finish_job(farm, 1)
    with pytest.raises(WrongState):
        farm.batches.cancel("default", "b")


def test_retention_takes_the_batch_with_its_jobs_and_not_one_of_them_before(farm: Farm) -> None:
    submit(farm, 2)
    finish_job(farm, 1)
    assert farm.scripts.client.exists(farm.scripts.key("retention")) == 0
    finish_job(farm, 1)
    farm.batches.work_off(5)
    assert counts(farm) == {"succeeded": 2}
    client = farm.scripts.client
    client.hset(farm.scripts.key("batch", "record", "b", "default"), "expires_ms", 1)
    client.zadd(farm.scripts.key("batches", "work"), {"b|default": 1})
    farm.batches.work_off(5)
    assert farm.batches.page("default").batches == ()
    assert not list(client.scan_iter("*job:*"))
    assert {"jobs/stemb-00001/", "jobs/stemb-00002/"} <= {g.prefix for g in farm.repair.garbage()}


def test_delete_removes_everything_and_frees_the_name_and_the_key(farm: Farm) -> None:
    submit(farm, 250, idempotency_key="k")
    farm.claim()
    farm.batches.delete("default", "b")
    with pytest.raises(NotFound):
        farm.batches.delete("default", "b")
    assert farm.presence.lanes()[0].depth == 0
    assert farm.presence.lanes()[0].claimed == 0
    assert not [key for key in farm.scripts.client.scan_iter("*") if "batch" in key]
    submit(farm, 1, idempotency_key="k", fingerprint="else")


def test_it_stays_until_the_message_of_its_end_is_delivered(farm: Farm) -> None:
    submit(farm, 1, webhook_url=HOOK)
    finish_job(farm, 1)
    client, key = farm.scripts.client, farm.scripts.key
    record, (message,) = key("batch", "record", "b", "default"), deliveries(farm)
    for status, there in (("due", True), ("sending", True), ("delivered", False)):
        client.hset(key("delivery", message), "status", status)
        client.hset(record, "expires_ms", 1)
        client.zadd(key("batches", "work"), {"b|default": 1})
        farm.batches.work_off(9)
        assert bool(client.exists(record)) is there


def test_it_stays_until_the_messages_of_its_jobs_ends_are_delivered(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.batches.STEP_JOBS", 2)
    farm.batches.open(head(), "stem")
    told = inputs(range(1, 6), webhook_url=HOOK, webhook_events=("completed",))
    farm.batches.add("default", "b", told)
    farm.batches.commit("default", "b")
    for _ in told:
        finish_job(farm, 1)
    client, key = farm.scripts.client, farm.scripts.key
    for message in deliveries(farm):
        client.hset(key("batch", "record", "b", "default"), "expires_ms", 1)
        client.zadd(key("batches", "work"), {"b|default": 1})
        farm.batches.work_off(9)
        assert counts(farm) == {"succeeded": 5}
        client.hset(key("delivery", message), "status", "delivered")
    client.zadd(key("batches", "work"), {"b|default": 1})
    farm.batches.work_off(9)
    assert not list(client.scan_iter("*job:*"))


def test_another_tenant_has_batches_of_the_same_name(farm: Farm) -> None:
    submit(farm, 1)
    with pytest.raises(NotFound):
        farm.batches.batch("other", "b")
    farm.batches.open(head(tenant="other"), "theirs")
    farm.batches.add("other", "b", inputs(range(1, 3)))
    assert farm.batches.commit("other", "b").n_total == 2
    farm.batches.delete("other", "b")
    assert counts(farm) == {"queued": 1}


def test_lists_have_pages(farm: Farm) -> None:
    for i in range(5):
        submit(farm, 1, name=f"b{i}")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = farm.batches.page("default", cursor=cursor, limit=2)
        seen += [batch.id for batch in page.batches]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["b4", "b3", "b2", "b1", "b0"]


def test_left_out_inputs_are_remembered(farm: Farm) -> None:
    farm.batches.open(head(), "stem")
    farm.batches.add("default", "b", inputs(range(1, 2)))
    left_out = Rejected(n_inputs=1, faults=[{"input": 2, "message": "不行"}])
    batch = farm.batches.commit("default", "b", left_out)
    assert (batch.n_total, batch.n_rejected) == (1, 1)
    assert farm.batches.rejected(batch) == [{"input": 2, "message": "不行"}]


class BatchMachine(RuleBasedStateMachine):
    """Callers that break off and come back, a worker, a keeper; the counts must always be right."""

    client: Redis
    url: str

    @initialize()
    def a_farm(self) -> None:
        self.client.flushall()
        self.farm = Farm(Scripts(self.client), Settings(redis_url=self.url, max_attempts=2))
        self.held: list[Claim] = []
        self.sizes: dict[str, int] = {}
        self.accepted: set[str] = set()
        self.deleted: Counter[str] = Counter()
        self.n_named = 0
        self.begin(n_inputs=3, n_stored=3, commit=True)

    @rule(n_inputs=st.integers(1, 4), n_stored=st.integers(0, 4), commit=st.booleans())
    def begin(self, n_inputs: int, n_stored: int, commit: bool) -> None:
        assume(len(self.sizes) < 4)
        self.n_named += 1
        name = f"b{self.n_named}"
        self.sizes[name] = n_inputs
        self.farm.batches.open(head(name, webhook_url=HOOK), f"stem{name}")
        self.store(name, min(n_stored, n_inputs), commit)

    @rule(data=st.data(), n_stored=st.integers(0, 4), commit=st.booleans())
    def resend(self, data: st.DataObject, n_stored: int, commit: bool) -> None:
        name = self.pick(data)
        self.farm.batches.open(head(name, webhook_url=HOOK), "another")
        self.store(name, min(n_stored, self.sizes[name]), commit)

    def store(self, name: str, n_stored: int, commit: bool) -> None:
        self.farm.batches.add("default", name, inputs(range(1, n_stored + 1)))
        if not commit:
            return
        self.farm.batches.add("default", name, inputs(range(1, self.sizes[name] + 1)))
        self.farm.scripts(
            "batch_commit", name, "default", "", 0, "", dump_subjects((), "default"), ""
        )
        self.accepted.add(name)

    @rule(data=st.data(), status=st.sampled_from(("failed", "expired", "canceled")))
    def retry_batch(self, data: st.DataObject, status: str) -> None:
        name = self.pick(data, self.accepted)
        self.farm.batches.retry("default", name, frozenset({JobStatus(status)}))

    @rule(data=st.data())
    def cancel_batch(self, data: st.DataObject) -> None:
        name = self.pick(data, self.accepted)
        self.farm.scripts("batch_cancel", name, "default")

    @rule(data=st.data())
    def delete_batch(self, data: st.DataObject) -> None:
        name = self.pick(data)
        self.farm.batches.delete("default", name)
        del self.sizes[name]
        self.accepted.discard(name)
        self.deleted.pop(name, None)

    @rule(data=st.data(), what=st.sampled_from(("cancel", "retry", "delete")))
    def change_a_job(self, data: st.DataObject, what: str) -> None:
        name = self.pick(data, self.accepted)
        jobs = list(self.farm.batches.jobs(self.farm.batches.batch("default", name)))
        assume(bool(jobs))
        job = data.draw(st.sampled_from([job.id for job in jobs]))
        try:
            {
                "cancel": self.farm.jobs.cancel,
                "retry": self.farm.jobs.retry,
                "delete": self.farm.jobs.delete,
            }[what]("default", job)
        except WrongState:
            return
        self.deleted[name] += what == "delete"

    @rule()
    def a_deadline_passes(self) -> None:
        for name in self.accepted:
            for job in self.farm.batches.jobs(self.farm.batches.batch("default", name)):
                if not job.finished:
                    self.client.zadd(self.farm.scripts.key("deadlines"), {job.id: 0})
                    self.farm.repair.expire_jobs()
                    return

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.held += self.farm.claim(limit)

    @rule(fate=st.sampled_from(("done", "done", "done", "fails", "is retried", "is lost")))
    def report(self, fate: str) -> None:
        assume(bool(self.held))
        claim = self.held.pop(0)
        if fate == "done":
            self.done(claim)
        elif fate != "is lost":
            self.farm.work.fail(claim, EmptyAudio() if fate == "fails" else SynthesisError())

    @rule()
    def the_keeper_looks(self) -> None:
        expire_leases(self.farm)
        ready_retries(self.farm)
        self.farm.batches.work_off(3)

    def done(self, claim: Claim) -> None:
        if claim.kind is UnitKind.PLAN:
            self.farm.work.append_plan(claim, [spec(0)], total=1)
        elif claim.kind is UnitKind.ASSEMBLE:
            self.farm.work.finish_assembly(claim, AUDIO)
        else:
            self.farm.work.finish_segment(claim, result(claim))

    def pick(self, data: st.DataObject, among: set[str] | None = None) -> str:
        names = sorted(self.sizes if among is None else among)
        assume(bool(names))
        return data.draw(st.sampled_from(names))

    @invariant()
    def the_counts_are_the_jobs_states(self) -> None:
        for name, size in self.sizes.items():
            batch = self.farm.batches.batch("default", name)
            jobs = list(self.farm.batches.jobs(batch))
            states = Counter(job.status for job in jobs)
            assert {s: n for s, n in batch.counts.items() if n} == dict(states)
            audio_ms = sum(job.audio_ms for job in jobs if job.status is JobStatus.SUCCEEDED)
            assert batch.audio_ms == audio_ms
            assert batch.audio_bytes == sum(job.audio.size_bytes for job in jobs if job.audio)
            assert batch.n_deleted == self.deleted[name]
            if name in self.accepted:
                assert batch.n_total == size == len(jobs) + batch.n_deleted
                assert batch.finished == all(job.finished for job in jobs)
            else:
                assert all(job.status is JobStatus.QUEUED for job in jobs)
                assert not batch.finished

    @invariant()
    def nothing_of_a_batch_not_accepted_is_claimed(self) -> None:
        pending = {name for name in self.sizes if name not in self.accepted}
        assert not {claim.job for claim in self.held if claim.job[4:].partition("-")[0] in pending}

    def teardown(self) -> None:
        """With a healthy worker and keeper, every accepted batch ends and tells it."""
        for _ in range(200):
            self.the_keeper_looks()
            self.farm.batches.work_off(50)
            claims = self.farm.claim(3)
            for claim in claims:
                self.done(claim)
            if not claims:
                break
        told = deliveries(self.farm)
        for name in self.accepted:
            batch = self.farm.batches.batch("default", name)
            assert batch.finished
            ends = int(self.client.hget(self.record(name), "round")) + 1
            mine = [one for one in told if one.startswith(f"msg_stem{name}_batch")]
            assert len(mine) == ends, "each end is told once"

    def record(self, name: str) -> str:
        return self.farm.scripts.key("batch", "record", name, "default")


def test_no_history_makes_the_counts_wrong(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, timeout_s=PATIENCE_S)
    machine: Callable[..., Any] = type(
        "Machine", (BatchMachine,), {"client": client, "url": redis_server.url}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()
