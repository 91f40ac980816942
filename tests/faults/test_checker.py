"""The checker finds every kind of breach: each test breaks one promise in facts that were sound."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.connection import Scripts
from shared.storage_local import LocalStore
from tests.faults.calm import Calm, CalmRun
from tests.faults.checker import breaches, left_behind
from tests.faults.facts import JobFacts, Leftovers, RunFacts, Told, leftovers
from tests.faults.history import History
from tests.faults.orders import Order

CALM = Calm(sha256="aa", size_bytes=9, captions_sha256="cc", n_segments=2)
VIEW: dict[str, Any] = {
    "status": "succeeded",
    "error": None,
    "audio": {"sha256": "aa", "size_bytes": 9},
    "progress": {"segments_done": 2, "segments_total": 2},
}
DONE = {"s": "done", "a": 1, "l": 0, "e": 0}
TOLD = Told(id="msg_j1_completed", job="j1", status="succeeded", signed=True)
JOB = JobFacts(
    id="j1",
    order=Order(key="k1", text="好。", captions=True, webhook=True),
    calm=CALM,
    view=VIEW,
    audio_sha256="aa",
    captions_sha256="cc",
    seen=("queued", "running", "succeeded"),
    units={"plan": DONE, "000000": DONE, "000001": DONE, "assemble": DONE},
    told=(TOLD, TOLD),
    deliveries=({"id": TOLD.id, "status": "delivered"},),
)


def run(job: JobFacts = JOB, **fields: Any) -> RunFacts:
    facts = RunFacts(jobs=(job,), listed=(("k1", "j1"),), answers={"k1": frozenset({"j1"})})
    return replace(facts, **fields)


def viewed(**fields: Any) -> JobFacts:
    return replace(JOB, view={**VIEW, **fields})


def unit(**fields: Any) -> JobFacts:
    return replace(JOB, units={**JOB.units, "000001": {**DONE, **fields}})


def told(**fields: Any) -> JobFacts:
    return replace(JOB, told=(TOLD, replace(TOLD, **fields)))


def test_a_sound_run_has_no_breach() -> None:
    assert breaches(run(), spoken_once=True) == []


def test_a_job_that_may_fail_or_be_canceled_may() -> None:
    wish = replace(JOB.order, webhook=False, ends=frozenset({"failed", "canceled"}), error="x")
    for status, error in (("failed", {"code": "x"}), ("canceled", None)):
        job = replace(viewed(status=status, error=error, audio=None), order=wish, seen=())
        assert breaches(run(replace(job, audio_sha256=None, calm=None))) == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (replace(JOB, view=None), "is lost"),
        (viewed(status="running"), "never ended"),
        (viewed(status="failed"), "is failed, not succeeded"),
        (replace(JOB, seen=("running", "failed", "succeeded")), "ended more than once"),
        (replace(JOB, audio_sha256="bb"), "where its record says"),
        (replace(JOB, audio_sha256="404"), "where its record says"),
        (
            replace(viewed(audio={"sha256": "bb", "size_bytes": 9}), audio_sha256="bb"),
            "sounds unlike a calm run",
        ),
        (viewed(audio={"sha256": "aa", "size_bytes": 8}), "sounds unlike a calm run"),
        (replace(JOB, captions_sha256="dd"), "captions unlike"),
        (replace(JOB, captions_sha256=None), "captions unlike"),
        (viewed(progress={"segments_done": 1, "segments_total": 2}), "calm run has 2 segments"),
        (viewed(progress={"segments_done": 3, "segments_total": 3}), "calm run has 2 segments"),
        (unit(s="claimed"), "its 000001 is claimed"),
        (replace(JOB, told=()), "under 0 webhook ids"),
        (told(id="msg_j1_completed_1"), "under 2 webhook ids"),
        (told(signed=False), "without a good signature"),
        (told(status="failed"), "told as j1 failed"),
        (told(job="j2"), "told as j2 succeeded"),
        (replace(JOB, deliveries=()), "has 0 deliveries"),
        (replace(JOB, deliveries=JOB.deliveries * 2), "has 2 deliveries"),
        (replace(JOB, deliveries=({"id": TOLD.id, "status": "dead"},)), "message that is dead"),
        (replace(JOB, deliveries=({"id": "other", "status": "delivered"},)), "never came"),
    ],
)
def test_a_breach_of_a_job_is_found(broken: JobFacts, says: str) -> None:
    assert any(says in line for line in breaches(run(broken)))


def test_a_wrong_reason_is_found() -> None:
    wish = replace(JOB.order, ends=frozenset({"failed"}), error="segment_lost")
    job = replace(viewed(status="failed", error={"code": "internal"}), order=wish)
    assert any("failed as internal, not segment_lost" in line for line in breaches(run(job)))


def test_what_was_rendered_twice_is_found_where_that_is_promised() -> None:
    assert breaches(run(unit(a=2))) == []
    (line,) = breaches(run(unit(a=2)), spoken_once=True)
    assert "segment 000001 rendered 2 times" in line


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"answers": {"k1": frozenset({"j1", "j2"})}}, "answered with 2 jobs"),
        ({"listed": (("k1", "j1"), ("k1", "j2"))}, "k1 became 2 jobs"),
        ({"listed": (("k1", "j1"), ("k2", "j2"))}, "never accepted"),
        ({"listed": ()}, "not listed"),
    ],
)
def test_a_job_too_many_or_too_few_is_found(fields: dict[str, Any], says: str) -> None:
    assert any(says in line for line in breaches(run(**fields)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda left: replace(left, keys=("job:j1",)), "record job:j1"),
        (lambda left: replace(left, objects=left.objects | {"jobs/j1/audio.wav"}), "orphan"),
        (lambda left: replace(left, objects=frozenset()), "cached object segments/a is gone"),
    ],
)
def test_what_stays_behind_is_found(change: Callable[[Leftovers], Leftovers], says: str) -> None:
    clean = Leftovers(keys=(), objects=frozenset({"segments/a"}), cached=frozenset({"segments/a"}))
    assert left_behind(clean) == []
    (line,) = left_behind(change(clean))
    assert says in line


@pytest.mark.redis
def test_every_kind_of_record_of_a_job_is_seen(scripts: Scripts, tmp_path: Path) -> None:
    store = LocalStore(tmp_path, timedelta(days=1))
    store.ensure()
    ground: Any = SimpleNamespace(client=scripts.client, scripts=scripts, store=store)
    scripts.client.mset({scripts.key("lane", "fake", "bulk", "depth"): 0, scripts.key("keys"): 1})
    assert left_behind(leftovers(ground)) == []
    kept = ("jobs:a", "cache:users:aa", "lane:fake:bulk:depth", "retries", "active:tenant:a")
    scripts.client.mset({scripts.key(name): 1 for name in kept})
    assert leftovers(ground).keys == tuple(sorted(kept))


def test_a_calm_run_tells_texts_forms_and_captions_apart() -> None:
    calm = CalmRun()
    wish = Order(key="k", text="你好。再见。")
    forms = [wish, replace(wish, text="你好。再来。"), replace(wish, format="mp3")]
    assert len({calm.of(one).sha256 for one in forms}) == 3
    assert calm.of(wish).captions_sha256 is None
    assert calm.of(replace(wish, captions=True)).captions_sha256 is not None
    assert calm.of(wish) == CalmRun().of(wish)


def test_a_history_says_how_to_repeat_it_and_can_be_read_again(tmp_path: Any) -> None:
    history = History("17", 5)
    history.note("saw", "j1", status="queued")
    history.note("kill -9", "worker0")
    history.note("saw", "j1", status="running")
    assert history.statuses("j1") == ["queued", "running"]
    assert "make faults SCENARIO=17 SEED=5" in str(history)
    assert "SEED=5 ARGS=--short" in str(History("17", 5, short=True))
    rows = [json.loads(line) for line in history.write(tmp_path).read_text().splitlines()]
    assert [row["what"] for row in rows] == ["saw", "kill -9", "saw"]
