"""A farm on a Redis that fails over, and on one that speaks TLS alone."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.conftest import RedisServer, wait_until
from tests.e2e.conftest import Farm
from tests.replicated import PASSWORD, SENTINEL_PASSWORD, Node, Replicated

pytestmark = pytest.mark.e2e

N_JOBS = 150
GIVE_UP_S = 120


@pytest.fixture
def farm_on(tmp_path: Path) -> Iterator[Callable[..., Farm]]:
    """Makes a farm on the Redis it is given; everything ends with the test."""
    farms: list[Farm] = []

    def make(redis: RedisServer | Replicated, **env: str) -> Farm:
        farms.append(Farm(tmp_path, redis, env=env))
        redis.start()
        return farms[-1]

    yield make
    for farm in farms:
        farm.stop()
        farm.redis.kill()


def accepted(farm: Farm, i: int) -> tuple[str, int]:
    """The id of job `i` once the farm has answered 202, and how often it said 503 before."""
    body, refused = {"text": f"这是第{i}个任务，请读出来。"}, 0
    limit = time.monotonic() + GIVE_UP_S
    while time.monotonic() < limit:
        answer = farm.call("POST", "/v1/jobs", body, {"Idempotency-Key": f"job-{i}"})
        if answer.status == 202:
            return str(answer.json["id"]), refused
        assert answer.status == 503, answer.body
        assert answer.json["code"] in ("state_store_unavailable", "not_replicated")
        refused += 1
        time.sleep(0.25)
    raise AssertionError(f"job {i} was refused {refused} times")


def all_jobs(farm: Farm) -> list[dict[str, Any]]:
    """Every job the farm knows."""
    found: list[dict[str, Any]] = []
    path = "/v1/jobs?limit=100"
    while True:
        page = farm.call("GET", path).json
        found += page["jobs"]
        if not page["next_cursor"]:
            return found
        path = f"/v1/jobs?limit=100&cursor={page['next_cursor']}"


@pytest.mark.parametrize("frozen", [False, True], ids=["killed", "frozen"])
def test_a_master_lost_under_load_loses_and_doubles_nothing(
    farm_on: Callable[..., Farm], tmp_path: Path, frozen: bool
) -> None:
    redis = Replicated(tmp_path / "redis", tls=Certificates(tmp_path / "certificates"))
    farm = farm_on(redis, TTSFARM_REDIS_WAIT_REPLICAS="1", TTSFARM_FAKE_COST_S_PER_CHAR="0.002")
    farm.start(workers=2)
    done: list[tuple[str, int]] = []
    old = redis.master()
    assert old.process
    with ThreadPoolExecutor(8) as callers:
        work = [callers.submit(lambda i: done.append(accepted(farm, i)), i) for i in range(N_JOBS)]
        wait_until(lambda: len(done) >= N_JOBS // 3, 60)
        if frozen:  # cut off, and then back, believing for seconds that it is the master
            old.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: redis.master() is not old, 60)
            old.process.send_signal(signal.SIGCONT)
        else:
            old.kill()
        for job in work:
            job.result()
    ids = {job_id for job_id, _ in done}
    assert len(ids) == N_JOBS
    assert {farm.ended(job_id, GIVE_UP_S)["status"] for job_id in ids} == {"succeeded"}
    assert sorted(job["id"] for job in all_jobs(farm)) == sorted(ids)
    assert redis.master() is not old
    assert frozen or sum(refused for _, refused in done) > 0, "the failover was over at once"
    for name, child in farm.children.items():
        assert child.poll() is None, f"{name} has ended"
    for log in tmp_path.glob("*.log"):
        text = log.read_text("utf-8")
        assert PASSWORD not in text
        assert SENTINEL_PASSWORD not in text


def test_a_farm_speaks_with_a_redis_behind_tls(
    farm_on: Callable[..., Farm], tmp_path: Path
) -> None:
    redis = Node(tmp_path / "redis", Certificates(tmp_path / "certificates"))
    farm = farm_on(redis)
    farm.start(courier=True)
    job = farm.ended(farm.submit("你好。"))
    assert job["status"] == "succeeded"
    assert farm.audio(job["id"])[:4] == b"RIFF"
