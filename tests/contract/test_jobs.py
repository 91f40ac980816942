"""The job state machine on a real Redis, one behaviour a test."""

import pytest

from shared.errors import IdempotencyConflict, NotFound, StateStoreFull, SynthesisError, WrongState
from shared.jobs import JobFilter
from shared.presence import WorkerPresence
from shared.schemas import Voice
from shared.states import Finish, JobStatus, UnitKind
from tests.walk import (
    AUDIO,
    Farm,
    expire_leases,
    finish_job,
    ready_retries,
    result,
    snapshot,
    spec,
)

pytestmark = pytest.mark.redis


def test_a_job_goes_from_queued_to_succeeded(farm: Farm) -> None:
    farm.submit("a")
    assert farm.status("a") is JobStatus.QUEUED
    assert farm.jobs.job("default", "a").position == 1
    farm.plan(2)
    assert farm.status("a") is JobStatus.RUNNING
    for claim in farm.claim(limit=8):
        assert farm.work.finish_segment(claim, result(claim)) is Finish.ACCEPTED
    (assembly,) = farm.claim()
    assert assembly.kind is UnitKind.ASSEMBLE
    assert [s.index for s, _ in farm.work.results("a", 2)] == [0, 1]
    assert farm.work.finish_assembly(assembly, AUDIO)[0] is Finish.ACCEPTED
    job = farm.jobs.job("default", "a")
    assert (job.status, job.segments_done, job.segments_total) == (JobStatus.SUCCEEDED, 2, 2)
    assert job.audio == AUDIO
    assert job.first_audio_ms is not None
    assert farm.claim() == []


def test_the_same_key_and_body_answer_the_same_job(farm: Farm) -> None:
    assert farm.submit("a", key="k") == "a"
    assert farm.submit("b", key="k") == "a"
    with pytest.raises(NotFound):
        farm.jobs.job("default", "b")


def test_the_same_key_or_id_with_another_body_is_refused(farm: Farm) -> None:
    farm.submit("a", key="k")
    with pytest.raises(IdempotencyConflict):
        farm.submit("b", "别的。", key="k")
    with pytest.raises(IdempotencyConflict):
        farm.submit("a", "别的。")
    assert farm.submit("a") == "a"


def test_another_tenants_job_is_not_found_and_its_id_is_refused(farm: Farm) -> None:
    farm.submit("a", tenant="one")
    for call in (farm.jobs.job, farm.jobs.cancel, farm.jobs.retry, farm.jobs.delete):
        with pytest.raises(NotFound):
            call("two", "a")
    with pytest.raises(IdempotencyConflict):
        farm.submit("a", tenant="two")


def test_a_newer_attempt_fences_the_older(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    (old,) = farm.claim()
    assert farm.claim() == []
    expire_leases(farm)
    (new,) = farm.claim()
    assert (old.unit, new.unit, new.attempt) == ("000000", "000000", old.attempt + 1)
    assert farm.work.beat([old, new]) == [old]
    assert farm.work.finish_segment(old, result(old)) is Finish.STALE
    assert farm.work.finish_segment(new, result(new)) is Finish.ACCEPTED
    assert farm.work.finish_segment(new, result(new)) is Finish.REPEATED
    assert farm.jobs.job("default", "a").segments_done == 1


def test_an_error_is_tried_again_later_and_then_fails_the_job(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    for _ in range(3):
        (claim,) = farm.claim()
        assert farm.work.fail(claim, SynthesisError("no")) is Finish.ACCEPTED
        assert farm.claim() == []
        ready_retries(farm)
    (claim,) = farm.claim()
    farm.work.fail(claim, SynthesisError("no"))
    job = farm.jobs.job("default", "a")
    assert (job.status, job.error and job.error.message) == (JobStatus.FAILED, "no")


def test_release_costs_no_attempt(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    for _ in range(10):
        (claim,) = farm.claim()
        assert farm.work.release(claim) is Finish.ACCEPTED
    (claim,) = farm.claim()
    farm.work.release(claim, delay_s=30)
    assert farm.claim() == []
    ready_retries(farm)
    assert len(farm.claim()) == 1


def test_cancel_in_every_state(farm: Farm) -> None:
    farm.submit("queued")
    assert farm.jobs.cancel("default", "queued").status is JobStatus.CANCELED
    assert farm.claim() == []
    farm.submit("running")
    farm.plan(3)
    (held,) = farm.claim()
    farm.jobs.cancel("default", "running")
    assert farm.work.beat([held]) == [held]
    assert farm.work.finish_segment(held, result(held)) is Finish.ENDED
    assert farm.claim() == []
    assert farm.jobs.cancel("default", "running").status is JobStatus.CANCELED
    farm.submit("done")
    finish_job(farm, 1)
    with pytest.raises(WrongState):
        farm.jobs.cancel("default", "done")


def test_retry_runs_only_what_is_not_done(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(3)
    done, failing = farm.claim(limit=2)
    farm.work.finish_segment(done, result(done))
    farm.work.fail(failing, NotFound("for good"))
    assert farm.status("a") is JobStatus.FAILED
    farm.jobs.retry("default", "a")
    again = farm.claim(limit=8)
    assert [c.unit for c in again] == ["000001", "000002"]
    for claim in again:
        farm.work.finish_segment(claim, result(claim))
    (assembly,) = farm.claim()
    farm.work.finish_assembly(assembly, AUDIO)
    assert farm.status("a") is JobStatus.SUCCEEDED
    with pytest.raises(WrongState):
        farm.jobs.retry("default", "a")


def test_delete_leaves_nothing_but_garbage(farm: Farm) -> None:
    farm.submit("a", key="k")
    farm.plan(2)
    farm.jobs.delete("default", "a")
    with pytest.raises(NotFound):
        farm.jobs.job("default", "a")
    assert [g.prefix for g in farm.repair.garbage()] == ["jobs/a/"]
    assert list(farm.scripts.client.scan_iter("*job:a*")) == []
    assert farm.submit("b", key="k") == "b"


def test_a_job_stays_until_the_message_of_its_end_is_delivered(farm: Farm) -> None:
    farm.submit("a", retention_s=1, webhook_url="https://example.com/")
    farm.jobs.cancel("default", "a")
    client, key = farm.scripts.client, farm.scripts.key
    (message,) = client.zrange(key("deliveries", "due"), 0, -1)
    for status, gone in (("due", 0), ("sending", 0), ("dead", 1)):
        client.hset(key("delivery", message), "status", status)
        client.zadd(key("retention"), {"a": 0})
        assert farm.repair.expire_jobs() == (0, gone)


def test_a_plan_begun_by_a_lost_worker_is_taken_up_again(farm: Farm) -> None:
    farm.submit("a")
    (first,) = farm.claim()
    farm.work.append_plan(first, [spec(0), spec(1)])
    (segment,) = farm.claim()
    farm.work.finish_segment(segment, result(segment))
    key = farm.scripts.key("lane", "fake", "leases")
    farm.scripts.client.zadd(key, {"a|plan": 0})
    farm.repair.expire_leases()
    claims = {c.unit: c for _ in range(2) for c in farm.claim()}
    second = claims["plan"]
    assert farm.work.append_plan(first, [spec(2)], total=3) is Finish.STALE
    specs = [spec(0), spec(1), spec(2)]
    assert farm.work.append_plan(second, specs, total=3) is Finish.ACCEPTED
    assert farm.jobs.job("default", "a").segments_done == 1


def test_a_plan_that_differs_replaces_what_was_stored(farm: Farm) -> None:
    farm.submit("a")
    (first,) = farm.claim()
    farm.work.append_plan(first, [spec(0), spec(1), spec(2)])
    segments = farm.claim(limit=3)
    for claim in segments:
        farm.work.finish_segment(claim, result(claim))
    key = farm.scripts.key("lane", "fake", "leases")
    farm.scripts.client.zadd(key, {"a|plan": 0})
    farm.repair.expire_leases()
    (second,) = farm.claim()
    farm.work.append_plan(second, [spec(0), spec(1, n_chars=7)], total=2)
    assert farm.jobs.job("default", "a").segments_done == 1
    assert [c.unit for c in farm.claim(limit=8)] == ["000001"]


def test_tenants_take_turns_charged_in_characters(farm: Farm) -> None:
    for tenant in ("one", "two"):
        farm.submit(tenant, tenant=tenant)
    for claim in [*farm.claim(), *farm.claim()]:
        n_chars = 20 if claim.tenant == "one" else 100
        farm.work.append_plan(claim, [spec(i, n_chars) for i in range(100)], total=100)
    spoken = {"one": 0, "two": 0}
    for _ in range(60):
        (claim,) = farm.claim()
        assert claim.spec is not None
        spoken[claim.tenant] += claim.spec.n_chars
        farm.work.finish_segment(claim, result(claim))
    assert 0.6 < spoken["one"] / spoken["two"] < 1.7


def test_a_greeting_behind_a_book_is_claimed_next(farm: Farm) -> None:
    farm.submit("book", interactive=False)
    farm.plan(50)
    for _ in range(7):
        farm.claim()
    farm.submit("greeting")
    assert "greeting" in {claim.job for _ in range(2) for claim in farm.claim()}


def test_the_book_goes_on_under_a_stream_of_greetings(farm: Farm) -> None:
    farm.submit("book", interactive=False)
    farm.plan(50)
    for i in range(60):
        farm.submit(f"g{i:02d}")
    jobs = [claim.job for _ in range(40) for claim in farm.claim()]
    assert 6 <= jobs.count("book") <= 12


def test_priority_orders_a_tenants_jobs(farm: Farm) -> None:
    farm.submit("normal")
    farm.submit("high", priority="high")
    farm.submit("later", priority="high")
    assert [c.job for _ in range(3) for c in farm.claim()] == ["high", "later", "normal"]


def test_list_pages_newest_first_and_filters(farm: Farm) -> None:
    for i in range(7):
        farm.submit(f"j{i}", metadata={"n": str(i % 2)})
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        page = farm.jobs.page("default", cursor=cursor, limit=3, only=JobFilter())
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"j{i}" for i in reversed(range(7))]
    odd = farm.jobs.page("default", limit=9, only=JobFilter(metadata={"n": "1"}))
    assert [job.id for job in odd.jobs] == ["j5", "j3", "j1"]
    none = farm.jobs.page("default", only=JobFilter(statuses=frozenset({JobStatus.FAILED})))
    assert none.jobs == ()


def test_lanes_show_what_is_due(farm: Farm) -> None:
    farm.submit("a")
    farm.submit("b", interactive=False)
    (lane,) = farm.presence.lanes()
    assert (lane.voice, lane.depth_interactive, lane.depth_bulk, lane.claimed) == ("fake", 1, 1, 0)
    farm.claim()
    (lane,) = farm.presence.lanes()
    assert (lane.depth, lane.claimed) == (1, 1)


def test_the_end_of_a_job_writes_its_delivery_once(farm: Farm) -> None:
    farm.submit("a", webhook_url="https://example.com/", webhook_events=("started", "completed"))
    finish_job(farm, 1)
    due = farm.scripts.client.zrange(farm.scripts.key("deliveries", "due"), 0, -1)
    assert sorted(due) == ["msg_a_completed", "msg_a_started"]


def test_a_late_finish_of_an_ended_job_is_told_so(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    (segment,) = farm.claim()
    farm.work.finish_segment(segment, result(segment))
    (old,) = farm.claim()
    expire_leases(farm)
    (new,) = farm.claim()
    assert farm.work.finish_assembly(new, AUDIO)[0] is Finish.ACCEPTED
    assert farm.work.finish_assembly(new, AUDIO)[0] is Finish.REPEATED
    assert farm.work.finish_assembly(old, AUDIO)[0] is Finish.ENDED
    farm.jobs.delete("default", "a")
    assert farm.work.finish_assembly(old, AUDIO)[0] is Finish.GONE


def test_a_chosen_id_is_not_free_again_at_once(farm: Farm) -> None:
    farm.submit("mine", id_chosen=True)
    farm.jobs.delete("default", "mine")
    rest_s = farm.scripts.client.ttl(farm.scripts.key("ended", "mine"))
    assert 11 * 86_400 < rest_s <= 12 * 86_400
    with pytest.raises(IdempotencyConflict, match="was removed"):
        farm.submit("mine", id_chosen=True)


def test_extra_keys_of_a_job_are_bounded_and_go_with_it(farm: Farm) -> None:
    for i in range(20):
        farm.submit("a", key=f"k{i}")
    keys = farm.scripts.key("idempotency", "*")
    assert len(list(farm.scripts.client.scan_iter(keys))) == 9
    farm.jobs.delete("default", "a")
    assert not list(farm.scripts.client.scan_iter(keys))


@pytest.mark.parametrize("part", ["text", "units", "specs", "results", "held"])
def test_a_part_of_a_job_is_no_job(farm: Farm, part: str) -> None:
    farm.submit("a")
    farm.plan(1)
    for call in (farm.jobs.job, farm.jobs.cancel, farm.jobs.retry, farm.jobs.delete):
        with pytest.raises(NotFound):
            call("default", f"a:{part}")


def test_a_job_is_not_retried_for_ever(farm: Farm) -> None:
    farm.submit("a")
    for _ in range(20):
        farm.jobs.cancel("default", "a")
        farm.jobs.retry("default", "a")
    farm.jobs.cancel("default", "a")
    with pytest.raises(WrongState, match="as often as a job may be"):
        farm.jobs.retry("default", "a")


def test_a_second_key_for_a_known_id_is_kept(farm: Farm) -> None:
    farm.submit("a")
    assert farm.submit("a", key="k") == "a"
    with pytest.raises(IdempotencyConflict):
        farm.submit("b", "别的。", key="k")


def test_a_claim_sent_twice_answers_the_same_units(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(6)
    call = ("claim", "w1", "fake", 4, 10_000, "one-call")
    first, second = farm.scripts(*call), farm.scripts(*call)
    assert first == second
    more, *rows = first
    assert more == 0
    assert [row[1] for row in rows] == ["000000", "000001", "000002", "000003"]
    assert len(farm.claim(limit=8)) == 2
    third = farm.scripts(*call)
    assert third == [0]  # another call came between: this one is new again


def test_a_claim_sent_again_does_not_answer_what_was_taken_away(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    call = ("claim", "w1", "fake", 2, 10_000, "one-call")
    assert len(farm.scripts(*call)) == 3
    expire_leases(farm)
    (taken,) = farm.work.claim("w2", "fake", 1)
    assert farm.scripts(*call) == [0]
    farm.jobs.cancel("default", taken.job)
    assert farm.scripts(*call) == [0]


def test_what_failed_before_is_claimed_alone(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(3)
    for claim in farm.claim(limit=3):
        farm.work.fail(claim, SynthesisError("no"))
    ready_retries(farm)
    assert [len(farm.claim(limit=8)) for _ in range(4)] == [1, 1, 1, 0]


def test_a_batch_never_mixes_a_greeting_with_a_book(farm: Farm) -> None:
    farm.submit("book", interactive=False)
    farm.plan(10)
    farm.submit("greeting")
    farm.plan(2)
    batches = [{claim.job for claim in farm.claim(limit=8)} for _ in range(3)]
    assert {"greeting"} in batches
    assert {"book", "greeting"} not in batches


def test_a_filtered_list_reads_a_bounded_number_of_records(farm: Farm) -> None:
    client = farm.scripts.client
    farm.submit("seed")
    record = client.hgetall(farm.scripts.key("job", "seed"))
    pipe = client.pipeline()
    for i in range(2500):
        pipe.hset(farm.scripts.key("job", f"x{i}"), mapping={**record, "id": f"x{i}"})
        pipe.zadd(farm.scripts.key("jobs", "default"), {f"x{i}": 1000 + i})
    pipe.execute()
    nothing = JobFilter(voice="nobody")
    page = farm.jobs.page("default", only=nothing)
    assert page.jobs == ()
    assert page.next_cursor is not None


def test_a_full_redis_refuses_new_jobs_but_lets_old_ones_end(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    (claim,) = farm.claim()
    client = farm.scripts.client
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateStoreFull):
            farm.submit("b")
        assert farm.work.finish_segment(claim, result(claim)) is Finish.ACCEPTED
        (assembly,) = farm.claim()
        assert farm.work.finish_assembly(assembly, AUDIO)[0] is Finish.ACCEPTED
        assert farm.repair.lead("keeper", 5)
        client.config_set("maxmemory", 0)
        client.zadd(farm.scripts.key("retention"), {"a": 0})
        client.config_set("maxmemory", 1)
        assert farm.repair.expire_jobs() == (0, 1)
    finally:
        client.config_set("maxmemory", 0)


def test_a_voice_nobody_offers_any_more_is_forgotten_with_its_lane(farm: Farm) -> None:
    voice = Voice(name="fake", engine="fake", language="zh", sample_rate_hz=16_000, revision="1")
    here = WorkerPresence(id="w1", host="h", pid=1, voices=(voice,), ready=True, started_ms=0)
    farm.presence.announce(here)
    farm.submit("a")
    client, key = farm.scripts.client, farm.scripts.key
    assert farm.repair.forget_voices() == 0
    client.zadd(key("voices", "seen"), {"fake": 0})
    assert farm.repair.forget_voices() == 0  # work is due
    finish_job(farm, 1)
    farm.claim()
    assert farm.repair.forget_voices() == 1
    assert [name for name in snapshot(farm.scripts) if "fake" in name] == []
    assert (farm.presence.lanes(), farm.presence.voices()) == ([], [])
