"""The cache of segments with real processes: what was spoken once is not rendered again."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.conftest import wait_until
from tests.e2e.conftest import Farm, MakeFarm, farm_maker
from tests.units import held_by

pytestmark = pytest.mark.e2e

SLOW = "[[sleep 5]]等一下就好了。"


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_maker(tmp_path_factory.mktemp("farms")) as make:
        farm = make()
        farm.start(workers=2)
        yield farm


def cached(farm: Farm) -> dict[str, int]:
    """The cache's counts as Prometheus reads them."""
    lines = farm.call("GET", "/metrics").body.decode().splitlines()
    rows = (line.split() for line in lines if line.startswith("ttsfarm_cache_"))
    return {name.removeprefix("ttsfarm_cache_"): int(float(value)) for name, value in rows}


def rendered(job: dict[str, Any]) -> int:
    return int(job["progress"]["segments_total"] - job["timing"]["cached_segments"])


def test_editing_one_sentence_of_a_thousand_renders_one(farm: Farm) -> None:
    book = [f"这是书里的第{i}句话，它和别的不同。" for i in range(1000)]
    first = farm.ended(farm.submit("".join(book)), 200)
    assert (first["status"], first["progress"]["segments_total"]) == ("succeeded", 1000)
    before = cached(farm)
    book[500] = "这一句改过了。"
    edited = farm.ended(farm.submit("".join(book)), 200)
    assert (edited["status"], rendered(edited)) == ("succeeded", 1)
    after = cached(farm)
    assert after["misses_total"] - before["misses_total"] == 1
    assert after["hits_total"] - before["hits_total"] == 999
    assert edited["audio"]["sha256"] != first["audio"]["sha256"]


def test_a_thousand_identical_jobs_at_once_render_once(farm: Farm) -> None:
    before = cached(farm)
    with ThreadPoolExecutor(8) as callers:
        ids = list(callers.map(lambda _: farm.submit("一千个人同时要听的一句话。"), range(1000)))
    jobs = [farm.ended(job_id, 240) for job_id in ids]
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert len({job["audio"]["sha256"] for job in jobs}) == 1
    assert sum(map(rendered, jobs)) == 1
    assert cached(farm)["misses_total"] - before["misses_total"] == 1


def test_kill_9_of_who_renders_lets_those_that_wait_go_on(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_LEASE_S="15")
    farm.start(workers=2)
    with redis.Redis.from_url(farm.redis.url, decode_responses=True) as client:

        def waiting() -> int:
            return sum(client.zcard(key) for key in client.scan_iter("ttsfarm:parked:*"))

        ids = [farm.submit(SLOW)]
        wait_until(lambda: client.exists("ttsfarm:rendering") == 1, 30)
        (name,) = [
            n
            for n in ("worker0", "worker1")
            if held_by(farm.redis.url, farm.children[n].pid, ids[0])
        ]
        farm.signal(name, signal.SIGSTOP)  # so that it does not end before the others are here
        ids += [farm.submit(SLOW) for _ in range(4)]
        wait_until(lambda: waiting() == 4, 30)
        farm.kill(name)
        jobs = [farm.ended(job_id, 90) for job_id in ids]
        assert {job["status"] for job in jobs} == {"succeeded"}
        assert sum(map(rendered, jobs)) == 1
        assert (waiting(), client.exists("ttsfarm:rendering")) == (0, 0)


def test_a_deleted_job_leaves_no_object(make_farm: MakeFarm) -> None:
    farm = make_farm()
    farm.start()
    kept = farm.ended(farm.submit("两个任务都有的一句话。"))
    job = farm.ended(farm.submit("两个任务都有的一句话。只有这里才有的一句。"))
    folder = farm.directory / "objects" / "objects"

    def objects() -> list[str]:
        # A folder that goes while it is looked at is no fault to `os.walk`.
        return [f"{at}/{name}" for at, _, names in os.walk(folder) for name in names]

    assert len(objects()) == 4  # two segments, two jobs' audio
    assert farm.call("DELETE", f"/v1/jobs/{job['id']}").status == 204
    wait_until(lambda: len(objects()) == 2, 60)
    assert farm.audio(kept["id"])
    assert farm.call("DELETE", f"/v1/jobs/{kept['id']}").status == 204
    wait_until(lambda: objects() == [], 60)
