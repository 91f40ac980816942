"""Expected starts and ends on a real Redis: the arithmetic, with a pace and workers set by hand."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.connection import Scripts
from shared.errors import FarmCrowded, NotFound
from shared.presence import WorkerPresence
from shared.schemas import Job, Voice
from shared.settings import Settings
from shared.states import UnitKind
from tests.walk import AUDIO, Farm, head, inputs, result, spec

pytestmark = pytest.mark.redis

MS_PER_CHAR = 100


class Line(Farm):
    """A farm whose workers spend 100 ms on a character, 10 characters on a segment."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        super().__init__(scripts, settings)
        self.present: list[WorkerPresence] = []

    def offer(self, n_workers: int, *names: str) -> None:
        voices = tuple(
            Voice(name=name, engine="fake", language="und", sample_rate_hz=16000, revision="1")
            for name in names or ("fake",)
        )
        self.present = [
            WorkerPresence(id=f"w{i}", host="h", pid=1, voices=voices, ready=True, started_ms=0)
            for i in range(n_workers)
        ]
        self.beat()

    def beat(self) -> None:
        for worker in self.present:
            self.presence.announce(worker, ttl_s=600)

    def leave(self) -> None:
        for worker in self.present:
            self.presence.leave(worker.id, [voice.name for voice in worker.voices])
        self.present = []

    def speak(self, n_segments: int, ms_per_char: float = MS_PER_CHAR) -> None:
        """The next job is planned and spoken, and joined in no time."""
        self.plan(n_segments, 10)
        for _ in range(n_segments):
            (claim,) = self.claim()
            self.work.finish_segment(claim, result(claim), busy_s=ms_per_char * 10 / 1000)
        (assembly,) = self.claim()
        self.work.finish_assembly(assembly, AUDIO)

    def job(self, job_id: str, tenant: str = "default") -> Job:
        self.beat()  # a slow test's workers are here still
        return self.jobs.job(tenant, job_id)

    def wait_ms(self, job_id: str, tenant: str = "default") -> int | None:
        return self.job(job_id, tenant).starts_in_ms

    def end_ms(self, job_id: str, tenant: str = "default") -> int | None:
        return self.job(job_id, tenant).done_in_ms


@pytest.fixture
def line(scripts: Scripts, farm_settings: Settings) -> Line:
    """One worker, whose pace is known."""
    farm = Line(scripts, farm_settings)
    farm.offer(1)
    farm.submit("first")
    farm.speak(2)
    return farm


def test_nothing_is_expected_before_a_voice_has_spoken(
    scripts: Scripts, farm_settings: Settings
) -> None:
    farm = Line(scripts, farm_settings)
    farm.offer(1)
    farm.submit("a")
    assert (farm.wait_ms("a"), farm.end_ms("a")) == (None, None)


def test_nothing_is_expected_without_a_worker(line: Line) -> None:
    line.leave()
    line.submit("a", "字" * 50)
    assert (line.wait_ms("a"), line.end_ms("a")) == (None, None)


def test_an_ended_job_expects_nothing(line: Line) -> None:
    assert (line.wait_ms("first"), line.end_ms("first")) == (None, None)


def test_jobs_wait_for_the_characters_before_them(line: Line) -> None:
    for name, n_chars in (("a", 50), ("b", 30), ("c", 20)):
        line.submit(name, "字" * n_chars)
    assert [line.wait_ms(name) for name in "abc"] == [0, 5000, 8000]
    assert [line.end_ms(name) for name in "abc"] == [5000, 8000, 10_000]
    assert [line.job(name).position for name in "abc"] == [1, 2, 3]


def test_more_workers_share_the_work_but_not_a_segment(line: Line) -> None:
    line.offer(4)
    line.submit("book", "字" * 400)
    line.submit("greeting", "字" * 8)
    assert line.end_ms("book") == 10_000
    assert line.wait_ms("greeting") == 10_000
    assert line.end_ms("greeting") == 10_800


def test_the_plan_and_every_segment_correct_what_is_expected(line: Line) -> None:
    line.submit("a", "字" * 50)
    line.plan(8, 10)  # the text turned out longer than it was written
    assert line.end_ms("a") == 8000
    for left in range(7, -1, -1):
        (claim,) = line.claim()
        line.work.finish_segment(claim, result(claim), busy_s=1.0)
        assert line.end_ms("a") == left * 1000
    (assembly,) = line.claim()
    line.work.finish_assembly(assembly, AUDIO)
    assert line.end_ms("a") is None


def test_what_is_in_hand_does_not_keep_the_next_one_waiting(line: Line) -> None:
    line.submit("a", "字" * 20)
    line.plan(2, 10)
    line.claim()
    line.submit("b", "字" * 10)
    # One segment waits; the one in hand is taken to be half done.
    assert line.wait_ms("b") == 1000 + 500


def test_tenants_wait_for_one_anothers_turns(line: Line) -> None:
    line.submit("one", "字" * 1000, tenant="one")
    line.submit("two", "字" * 1000, tenant="two")
    line.submit("few", "字" * 50, tenant="three")
    # Half a turn of 400 characters of each of the other two, and as much as its own.
    assert line.end_ms("few", "three") == (50 + 2 * 250) * MS_PER_CHAR
    assert line.end_ms("one", "one") == (1000 + 1000 + 50) * MS_PER_CHAR


def test_the_interactive_class_leaves_a_fifth_to_bulk(line: Line) -> None:
    line.submit("book", "字" * 10_000, interactive=False)
    line.submit("greeting", "字" * 80)
    assert line.end_ms("greeting") == (80 + 20) * MS_PER_CHAR
    assert line.end_ms("book") == (10_000 + 80) * MS_PER_CHAR


def test_a_high_priority_goes_before(line: Line) -> None:
    line.submit("a", "字" * 50)
    line.submit("b", "字" * 20, priority="high")
    assert (line.wait_ms("b"), line.wait_ms("a")) == (0, 2000)


def test_workers_that_speak_for_another_voice_too_have_less_time(line: Line) -> None:
    line.offer(1, "fake", "fake-2")
    line.submit("other", "字" * 30, voice="fake-2")
    (claim,) = line.work.claim("w0", "fake-2")
    line.work.append_plan(claim, [spec(i, 10) for i in range(3)], total=3)
    (claim,) = line.work.claim("w0", "fake-2")
    line.work.finish_segment(claim, result(claim), busy_s=1.0)
    line.submit("a", "字" * 50)
    assert line.end_ms("a") == 5000 + 2000
    line.submit("b", "字" * 10, voice="fake-2")
    assert line.end_ms("b") == (20 + 10) * MS_PER_CHAR * 2


def test_of_many_jobs_before_one_the_last_are_estimated(line: Line) -> None:
    for i in range(300):  # 200 of them are looked at
        line.submit(f"j{i:03d}", "字" * 10)
    assert line.wait_ms("j299") == 299 * 10 * MS_PER_CHAR
    assert line.end_ms("j250") == 251 * 10 * MS_PER_CHAR


def test_joining_is_expected_by_its_format(line: Line) -> None:
    line.submit("a")
    line.plan(2, 10)
    for claim in [*line.claim(), *line.claim()]:
        line.work.finish_segment(claim, result(claim), busy_s=1.0)
    (assembly,) = line.claim()
    line.work.finish_assembly(assembly, AUDIO, busy_s=2.0)  # of 20 characters: 100 ms each
    line.submit("b", "字" * 30)
    assert line.end_ms("b") == 3000 + 3000


def test_an_old_pace_is_forgotten(line: Line) -> None:
    line.submit("slow")
    line.speak(200, ms_per_char=500)
    line.submit("b", "字" * 10)
    assert line.end_ms("b") == pytest.approx(5000, rel=0.01)


def test_what_ends_leaves_the_line(line: Line) -> None:
    line.submit("a", "字" * 50)
    line.submit("b", "字" * 50)
    line.submit("c", "字" * 10)
    line.jobs.cancel("default", "a")
    assert line.wait_ms("c") == 5000
    line.jobs.delete("default", "b")
    assert line.wait_ms("c") == 0
    line.jobs.retry("default", "a")
    assert line.wait_ms("c") == 5000


def test_a_segment_to_be_made_again_counts_again(line: Line) -> None:
    line.submit("a", "字" * 20)
    line.plan(2, 10)
    for claim in [*line.claim(), *line.claim()]:
        line.work.finish_segment(claim, result(claim), busy_s=1.0)
    assert line.end_ms("a") == 0
    (assembly,) = line.claim()
    assert assembly.kind is UnitKind.ASSEMBLE
    line.work.remake(assembly, [(1, "jobs/a/000001")])
    assert line.end_ms("a") == 1000


def test_who_would_wait_too_long_is_refused_with_the_reason(line: Line) -> None:
    line.submit("a", "字" * 70)
    with pytest.raises(FarmCrowded, match=r"about 7 s .* limit of 5 s") as refused:
        line.submit("b", wait_limit_s=5)
    assert refused.value.details == {"expected_wait_s": 7.0, "limit_s": 5, "retry_after_s": 2}
    line.submit("urgent", priority="high", wait_limit_s=5)  # goes before the 70 characters
    assert line.submit("a", "字" * 70, wait_limit_s=0) == "a"  # is there already


def test_a_batch_that_would_wait_too_long_is_refused_whole(line: Line) -> None:
    line.submit("a", "字" * 70, interactive=False)
    line.batches.open(head(), "stem")
    line.batches.add("default", "b", inputs(range(1, 3)))
    with pytest.raises(FarmCrowded, match=r"about 7 s .* limit of 5 s"):
        line.batches.commit("default", "b", wait_limit_s=5)
    with pytest.raises(NotFound):
        line.batches.batch("default", "b")


def test_fifty_submits_at_once_do_not_slip_through(line: Line) -> None:
    def submit(i: int) -> bool:
        try:
            line.submit(f"j{i}", "字" * 10, wait_limit_s=5)
        except FarmCrowded:
            return False
        return True

    with ThreadPoolExecutor(50) as callers:
        accepted = list(callers.map(submit, range(50)))
    assert accepted.count(True) == 6  # each waits a second longer, the sixth for five


def test_a_limit_holds_while_no_worker_is_there(line: Line) -> None:
    line.submit("a", "字" * 70)
    line.leave()
    with pytest.raises(FarmCrowded):
        line.submit("b", wait_limit_s=5)


def test_a_batch_is_shared_between_the_workers(line: Line) -> None:
    line.offer(4)
    line.submit("a")
    line.plan(6)
    assert [len(line.claim(limit=8)) for _ in range(5)] == [2, 1, 1, 1, 1]


def test_a_greeting_of_three_claims_is_not_interrupted(line: Line) -> None:
    line.submit("book", interactive=False)
    line.plan(50)
    for i in range(8):
        line.claim()
        line.submit(f"g{i}")
        line.plan(1)
        (segment,) = line.claim()
        line.work.finish_segment(segment, result(segment), busy_s=0.1)
        (assembly,) = line.claim()
        assert (segment.job, assembly.job, assembly.kind) == (f"g{i}", f"g{i}", UnitKind.ASSEMBLE)
        line.work.finish_assembly(assembly, AUDIO)
