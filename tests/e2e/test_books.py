"""Books on real processes: interrupted callers, dying parts."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.connection import connect
from tests.conftest import wait_until
from tests.e2e.conftest import BIN, Farm, farm_maker
from tests.units import units

pytestmark = pytest.mark.e2e
LONGEST = 10_000_000


def book(name: str, n_sentences: int) -> str:
    """A text in which no sentence stands twice, about 20 characters each."""
    return "".join(f"这是{name}第{i:03d}段，和别的段落都不相同。" for i in range(n_sentences))


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Two workers that take 40 ms for a sentence; no lease ends because the machine is busy."""
    with farm_maker(tmp_path_factory.mktemp("farms")) as make:
        farm = make(
            TTSFARM_FAKE_COST_S_PER_CHAR="0.002",
            TTSFARM_LEASE_S="10",
            TTSFARM_MAX_TEXT_CHARS=str(LONGEST),
            TTSFARM_MAX_BODY_BYTES=str(8 * LONGEST),
        )
        farm.start(workers=2)
        yield farm


def in_the_middle(farm: Farm, job_id: str) -> None:
    """Returns once some of a book is spoken."""
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 5, 60)


def whole(farm: Farm, job: dict[str, Any]) -> None:
    """A book ended with the right audio and nothing was spoken twice."""
    assert job["status"] == "succeeded", job
    assert hashlib.sha256(farm.audio(job["id"])).hexdigest() == job["audio"]["sha256"]
    spoken = [row["a"] for unit, row in units(farm.redis.url, job["id"]).items() if unit.isdigit()]
    assert spoken == [1] * job["progress"]["segments_total"]


def test_a_job_of_one_character(farm: Farm) -> None:
    job = farm.ended(farm.submit("好"))
    assert (job["status"], job["progress"]["segments_total"]) == ("succeeded", 1)
    assert job["audio"]["duration_s"] > 0
    assert job["progress"]["eta_s"] is None


def test_a_caller_that_is_interrupted_takes_the_same_job_up_again(
    farm: Farm, tmp_path: Path
) -> None:
    text = book("丙", 300)
    (tmp_path / "book.txt").write_text(text, "utf-8")
    command = [str(BIN / "ttsfarm"), "say", "-f", "book.txt", "-o", "book.wav"]
    options: dict[str, Any] = {
        "cwd": tmp_path, "stderr": subprocess.PIPE, "text": True,
        "env": {**os.environ, "TTSFARM_URL": f"http://127.0.0.1:{farm.api_port}"},
    }  # fmt: skip

    def jobs() -> list[str]:
        listed = farm.call("GET", "/v1/jobs").json["jobs"]
        return [job["id"] for job in listed if job["characters"] == len(text)]

    with subprocess.Popen(command, **options) as caller:
        wait_until(lambda: jobs() != [], 60)
        in_the_middle(farm, jobs()[0])
        caller.send_signal(signal.SIGINT)
        _, said = caller.communicate(timeout=60)
    (job_id,) = jobs()
    assert caller.returncode == 130, said
    assert f"Job {job_id} goes on. The same command takes it up again" in said
    assert not (tmp_path / "book.wav").exists()
    again = subprocess.run(command, **options, timeout=120, check=True)
    assert jobs() == [job_id]
    assert f"job {job_id} took" in again.stderr
    job = farm.job(job_id)
    whole(farm, job)
    data = (tmp_path / "book.wav").read_bytes()
    assert hashlib.sha256(data).hexdigest() == job["audio"]["sha256"]


def test_kill_9_of_the_api_in_the_middle_of_a_book(farm: Farm) -> None:
    text, key = book("丁", 100), {"Idempotency-Key": "ding"}
    job_id = farm.call("POST", "/v1/jobs", {"text": text}, key).json["id"]
    in_the_middle(farm, job_id)
    farm.kill("api")
    farm.spawn("api", "ttsfarm", "serve")
    wait_until(farm.ready(2), 60)
    # A caller that does not know whether its submit arrived sends it again.
    assert farm.call("POST", "/v1/jobs", {"text": text}, key).json["id"] == job_id
    whole(farm, farm.ended(job_id, 120))


def test_kill_9_of_the_assembler_repeats_the_assembly_alone(farm: Farm) -> None:
    job_id = farm.submit(book("戊", 300), format="opus")  # the slowest to encode

    def assembly() -> dict[str, Any]:
        return units(farm.redis.url, job_id).get("assemble", {})

    wait_until(lambda: assembly().get("s") == "claimed", 120)
    owner = assembly()["w"]  # "worker-<process>-<random>"
    (name,) = [n for n, child in farm.children.items() if owner.startswith(f"worker-{child.pid}-")]
    farm.kill(name)
    assert assembly()["s"] == "claimed", "it had ended before it could be killed"
    farm.add_worker(name)
    whole(farm, farm.ended(job_id, 120))
    assert assembly()["a"] == 2


def test_ten_million_characters_are_heard_from_their_start_and_leave_nothing(farm: Farm) -> None:
    def most_resident() -> int:
        return max(worker.rss_bytes for worker in farm.presence.workers())

    def held() -> set[str]:
        return {unit for worker in farm.presence.workers() for unit in worker.holding}

    before = most_resident()
    text, job_id = (book("己", 1000) * (LONGEST // 15_000))[:LONGEST], "longest"

    def accepted() -> bool:
        """Whether it is; a machine that is busy may have to be asked again, and says so."""
        answer = farm.call("POST", "/v1/jobs", {"id": job_id, "text": text})
        assert answer.status in (202, 503), answer.body
        return answer.status == 202

    wait_until(accepted, 120)
    in_the_middle(farm, job_id)
    # Both are spoken while most of the book has no plan yet.
    assert farm.ended(farm.submit("你好。"))["status"] == "succeeded"
    book_job = farm.job(job_id)
    assert (book_job["status"], book_job["progress"]["segments_total"]) == ("running", None)
    with connect(farm.redis.url) as client:
        wait_until(lambda: int(client.hlen(f"ttsfarm:job:{job_id}:units")) > 5000, 120)
        # A planner holds the text; the segments made of it take nothing that stays.
        grown = most_resident() - before
        assert grown < 200 << 20
        assert farm.call("DELETE", f"/v1/jobs/{job_id}").status == 204
        wait_until(lambda: not any(unit.startswith(job_id) for unit in held()), 60)
        # That it was there is remembered, nothing else.
        kept = {f"ttsfarm:ended:{job_id}"}
        wait_until(lambda: {*client.scan_iter(f"*{job_id}*", count=10_000)} == kept, 60)
