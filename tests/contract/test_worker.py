"""One worker's bench and heartbeat on a real Redis and a real directory."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from shared.audio.encode import decode_segment
from shared.errors import EngineUnavailable, ObjectStoreUnavailable
from shared.schemas import Claim
from shared.states import JobStatus
from tests.bench import Worker, raises
from tests.conftest import wait_until
from tests.walk import ready_retries
from worker.engine.fake import FakeEngine

pytestmark = pytest.mark.redis

TEXT = "今天天气很好，我们去公园走走吧。"


def book(n_sentences: int) -> str:
    """A text of so many different sentences."""
    return "".join(f"今天天气很好，我们去第{i}个公园走走吧。" for i in range(n_sentences))


def test_a_drain_takes_a_job_from_text_to_audio(worker: Worker) -> None:
    worker.farm.submit("a", book(5))
    assert worker.drain() >= 5
    assert worker.farm.status("a") is JobStatus.SUCCEEDED
    assert worker.audio_of("a")[:4] == b"RIFF"


def test_a_stored_segment_says_when_each_character_is_heard(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.drain()
    ((_, result),) = worker.farm.work.results("a", 1)
    data = b"".join(worker.store.read(result.key))
    wave, timings = decode_segment(data)
    assert len(data) == result.size_bytes
    assert [row[0] for row in timings] == sorted({row[0] for row in timings})
    assert 0 < timings[-1][3] <= round(wave.duration_s * 1000)


def test_a_text_that_comes_again_sounds_the_same_and_is_not_rendered(worker: Worker) -> None:
    for name, cache in (("a", True), ("b", True), ("c", False)):
        worker.farm.submit(name, book(20), cache=cache)
        worker.drain()
    assert worker.audio_of("a") == worker.audio_of("b") == worker.audio_of("c")
    jobs = [worker.farm.jobs.job("default", name) for name in "abc"]
    assert [job.cached_segments for job in jobs] == [0, 20, 0]
    assert [u["a"] for u in worker.units("b")[1:-1]] == [0] * 20  # never claimed


def render_all_but_the_assembly(worker: Worker, job_id: str) -> list[Claim]:
    """Does everything of a job but its assembly, which is claimed and answered."""
    for _ in range(200):
        batch = worker.farm.work.claim("w1", "fake", 8)
        if any(claim.unit == "assemble" for claim in batch):
            return batch
        worker.bench._perform("fake", batch)
    raise AssertionError(f"{job_id} was never to be assembled")


@pytest.mark.parametrize("cache", [True, False])
def test_segments_gone_from_the_store_are_rendered_again_at_once(
    worker: Worker, cache: bool
) -> None:
    worker.farm.submit("a", book(20), cache=False)
    worker.drain()
    worker.farm.submit("b", book(20), cache=cache)
    batch = render_all_but_the_assembly(worker, "b")
    folder = "segments/" if cache else "jobs/b/segments/"
    worker.store.delete(worker.objects(folder)[3:9])
    worker.bench._fresh.clear()
    worker.bench._perform("fake", batch)
    assert worker.farm.status("b") is JobStatus.RUNNING
    assert worker.farm.jobs.job("default", "b").segments_done == 14
    worker.drain()
    assert worker.audio_of("b") == worker.audio_of("a")
    again = [u["a"] for u in worker.units("b") if "w" in u and u["a"] > 1]
    assert again == [2] * 7  # six segments and the assembly


@pytest.mark.parametrize("cache", [True, False])
def test_segments_that_the_store_damaged_are_rendered_again(worker: Worker, cache: bool) -> None:
    worker.farm.submit("a", book(20), cache=False)
    worker.drain()
    worker.farm.submit("b", book(20), cache=cache)
    batch = render_all_but_the_assembly(worker, "b")
    damaged = worker.objects("segments/" if cache else "jobs/b/segments/")[3:6]
    for key in damaged:
        worker.store.put(key, b"fLaC, and then nothing of it", "audio/flac")
    worker.bench._fresh.clear()
    worker.bench._perform("fake", batch)
    assert worker.farm.jobs.job("default", "b").segments_done == 19
    worker.drain()
    assert worker.audio_of("b") == worker.audio_of("a")
    worker.farm.submit("c", book(20), cache=cache)  # which has nothing damaged of the cache
    worker.bench._fresh.clear()
    worker.drain()
    assert worker.audio_of("c") == worker.audio_of("a")


def test_a_store_that_stays_down_costs_no_attempt(worker: Worker) -> None:
    worker.farm.submit("a", book(20))
    folder = worker.settings.storage_dir / "objects"
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert worker.drain() == 0  # asked before anything is claimed
    folder.unlink()
    worker.drain_one()
    batch = worker.farm.work.claim("w1", "fake", 8)
    assert len(batch) == 8
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    worker.bench._perform("fake", batch)
    charged = [(u["e"], u["l"], u["s"]) for u in worker.units("a") if u["a"]]
    # The plan, and the segment that was spoken between its two parts.
    assert charged == [*[(0, 0, "done")] * 2, *[(0, 0, "waiting")] * 8]
    folder.unlink()
    ready_retries(worker.farm)
    worker.drain()
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "flac"])
def test_a_full_temporary_directory_costs_no_attempt(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, audio_format: str
) -> None:
    class FullDirectory(tempfile.TemporaryDirectory[str]):
        def __init__(self, prefix: str) -> None:
            super().__init__(prefix=prefix)
            Path(self.name, "audio").symlink_to("/dev/full")

    worker.farm.submit("a", "你好，世界。", format=audio_format)
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryDirectory", FullDirectory)
        worker.drain()
    assert worker.farm.status("a") is JobStatus.RUNNING
    (assembly,) = (unit for unit in worker.units("a") if unit["s"] == "waiting")
    assert (assembly["e"], assembly["l"]) == (0, 0)
    ready_retries(worker.farm)
    worker.drain()
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


def test_a_fault_of_ours_is_charged_as_an_attempt_and_loses_nothing(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.farm.plan(1)
    (claim,) = worker.farm.claim()
    worker.bench._perform("fake", [replace(claim, spec=None)])  # no caller of ours does this
    assert worker.farm.status("a") is JobStatus.RUNNING
    ready_retries(worker.farm)
    worker.drain()
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


def test_text_nobody_can_speak_fails_with_its_reason(worker: Worker) -> None:
    worker.farm.submit("a", "。。。！！")
    worker.drain()
    job = worker.farm.jobs.job("default", "a")
    assert job.error is not None
    assert (job.status, job.error.code) == (JobStatus.FAILED, "empty_audio")


@contextmanager
def rendering(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Job `a` is being rendered inside the block, and until the heartbeat has heard of its end."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr(FakeEngine, "_obey", wait)
    worker.farm.submit("a", "[[sleep 2]]好了。")
    drain = threading.Thread(target=worker.drain)
    drain.start()
    assert begun.wait(60)
    yield
    wait_until(lambda: len(worker.heartbeat._lost) > 0, 60)
    go_on.set()
    drain.join()


def test_a_canceled_segment_is_not_reported(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rendering(worker, monkeypatch):
        worker.farm.jobs.cancel("default", "a")
    assert worker.farm.status("a") is JobStatus.CANCELED
    assert worker.farm.jobs.job("default", "a").segments_done == 0


def test_a_job_deleted_while_it_is_rendered_leaves_no_object(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rendering(worker, monkeypatch):
        worker.farm.jobs.delete("default", "a")
    assert worker.objects() == []


def test_a_stopping_worker_claims_nothing_more(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.pulse.stopping.set()
    assert worker.drain() == 0
    assert worker.farm.status("a") is JobStatus.QUEUED


def test_while_the_store_is_away_a_worker_is_not_deaf(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.farm.submit("a", TEXT)
    monkeypatch.setattr(worker.store, "ensure", raises(ObjectStoreUnavailable))
    began_s = time.monotonic()
    worker.drain()
    assert worker.pulse.idle_s(began_s) <= 0.0
    assert worker.farm.status("a") is JobStatus.QUEUED


def test_where_no_bell_can_ring_a_drain_goes_on(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = replace(worker.bench._t, settings=worker.settings.model_copy(update={"drain_s": 0.0}))
    monkeypatch.setattr(worker.bench, "_t", hasty)
    worker.farm.submit("a", book(3))
    assert worker.drain() == 1  # the next bell finds the rest
    monkeypatch.setattr(worker.bells._app, "send_task", raises(OutOfMemoryError))
    assert worker.drain() >= 4
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


def test_a_plan_without_room_in_redis_is_handed_back_uncharged(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tasks.REPORT_PATIENCE_S", 0.0)
    worker.farm.submit("a", TEXT)
    worker.farm.scripts.client.config_set("maxmemory", 1)
    try:
        worker.drain_one()
    finally:
        worker.farm.scripts.client.config_set("maxmemory", 0)
    (plan,) = worker.units("a")
    assert (plan["s"], plan["e"], plan["l"]) == ("waiting", 0, 0)
    ready_retries(worker.farm)
    worker.drain()
    assert worker.farm.status("a") is JobStatus.SUCCEEDED


def test_a_worker_whose_engine_is_lost_reports_what_it_holds_and_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[bool] = []
    monkeypatch.setattr(worker.bench, "_end", lambda: ends.append(True))
    monkeypatch.setattr("worker.pipeline.render", raises(EngineUnavailable))
    worker.farm.submit("a", TEXT)
    worker.drain_one()
    worker.drain_one()
    (_, segment) = worker.units("a")
    assert (ends, segment["s"], segment["e"]) == ([True], "waiting", 1)


def test_a_voice_in_markup_that_nobody_offers_fails_its_job_and_ends_no_worker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.bench, "_end", lambda: pytest.fail("the worker ends"))
    worker.farm.submit("a", '<speak><voice name="nobody">好</voice></speak>', text_type="ssml")
    worker.drain()
    error = worker.farm.jobs.job("default", "a").error
    assert error
    assert (error.code, error.retryable) == ("unknown_voice", False)


def test_a_heartbeat_outlives_an_error_nobody_foresaw(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[None] = []

    def beat(_claims: object) -> list[Claim]:
        beats.append(None)
        raise ResponseError("ERR Error running script")

    monkeypatch.setattr(worker.farm.work, "beat", beat)
    wait_until(lambda: len(beats) > 1, 60)


def test_the_heartbeat_keeps_a_lease_until_the_work_takes_too_long(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    (claim,) = worker.farm.claim()
    client, leases = worker.farm.scripts.client, worker.farm.scripts.key("lane", "fake", "leases")

    def announced(*units: str) -> bool:
        return [here.holding for here in worker.farm.presence.workers()] == [units]

    with worker.heartbeat.holding([claim], limit_s=3600.0):
        client.zadd(leases, {"a|plan": 0})  # its time has passed, but for the heartbeat
        wait_until(lambda: client.zscore(leases, "a|plan") > 0, 60)
        wait_until(lambda: announced("a:plan"), 60)
        assert not worker.pulse.hung(time.monotonic())
    with worker.heartbeat.holding([claim], limit_s=0.0):
        wait_until(announced, 60)  # of nothing: a beat left it out
        client.zadd(leases, {"a|plan": 0})
        assert worker.farm.repair.expire_leases() == 1
        assert worker.pulse.hung(time.monotonic())
    assert not worker.pulse.hung(time.monotonic())


def test_a_worker_that_left_is_forgotten_at_once(worker: Worker) -> None:
    assert [w.id for w in worker.farm.presence.workers()] == ["w1"]
    (known, _) = worker.farm.presence.voices(), worker.heartbeat.close()
    assert [(v.voice.name, v.ready_workers) for v in known] == [("fake", 1)]
    assert worker.farm.presence.workers() == []
    assert [v.ready_workers for v in worker.farm.presence.voices()] == [0]


def test_log_lines_of_a_drain_name_the_job_and_no_text(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.farm.submit("a", "秘密的话。[[refuse]]。")
    worker.drain()
    assert worker.farm.status("a") is JobStatus.FAILED
    assert "text_refused" in caplog.text
    assert "秘密" not in caplog.text


def test_metrics_count_attempts_and_audio(worker: Worker) -> None:
    worker.farm.submit("a", TEXT)
    worker.drain()
    sample: Any = worker.metrics.registry.get_sample_value
    labels = {"voice": "fake", "kind": "segment", "outcome": "accepted"}
    assert sample("ttsfarm_attempts_total", labels) == 1
    assert sample("ttsfarm_audio_seconds_total", {"voice": "fake"}) > 0.5
    assert sample("ttsfarm_first_audio_seconds_count", {"voice": "fake"}) == 1
