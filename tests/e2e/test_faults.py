"""Faults against real processes: whatever dies, every job that was accepted ends right."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from shared.bells import lane_queue
from tests.conftest import wait_until
from tests.e2e.conftest import Farm, MakeFarm
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.e2e

BOOK = "".join(f"这是第{i:02d}段，它有自己的内容，不和别的段落相同。" for i in range(50))


def units(farm: Farm, job_id: str) -> dict[str, dict[str, Any]]:
    """What Redis knows of every segment of a job."""
    with redis.Redis.from_url(farm.redis.url, decode_responses=True) as client:
        rows: dict[str, str] = client.hgetall(f"ttsfarm:job:{job_id}:units")
    return {unit: json.loads(text) for unit, text in rows.items() if unit.isdigit()}


def attempts(farm: Farm, job_id: str) -> dict[str, int]:
    """How often each segment was claimed."""
    return {unit: row["a"] for unit, row in units(farm, job_id).items()}


def held_by(farm: Farm, name: str, job_id: str) -> list[str]:
    """The segments of a job that a worker's process holds now."""
    owner = f"worker-{farm.children[name].pid}-"
    rows = units(farm, job_id).items()
    return [unit for unit, row in rows if row["s"] == "claimed" and row["w"].startswith(owner)]


def test_kill_9_in_the_middle_of_a_book_repeats_nothing_that_was_done(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.01")
    farm.start(workers=2)
    whole = farm.ended(farm.submit(BOOK))
    job_id = farm.submit(BOOK + " ")
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 10, 30)
    wait_until(lambda: held_by(farm, "worker0", job_id) != [], 60)
    farm.signal("worker0", signal.SIGKILL)
    held = held_by(farm, "worker0", job_id)
    farm.kill("worker0")
    assert held
    # The lease is 3 s; the machine may be slow.
    wait_until(lambda: all(attempts(farm, job_id)[unit] > 1 for unit in held), 60)
    job = farm.ended(job_id)
    assert job["status"] == "succeeded"
    repeated = sorted(unit for unit, n in attempts(farm, job_id).items() if n > 1)
    assert repeated == sorted(held), "more than what was in hand was rendered again"
    assert len(attempts(farm, job_id)) == job["progress"]["segments_total"] >= 50
    assert job["audio"]["sha256"] == whole["audio"]["sha256"]


def test_redis_killed_under_load_loses_no_accepted_job(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.001")
    farm.start(workers=2)
    accepted: list[str] = []
    refused = 0

    def submit(i: int) -> int:
        answer = farm.call("POST", "/v1/jobs", {"text": f"这是第{i}个任务，请读出来。"})
        if answer.status == 202:
            accepted.append(answer.json["id"])
            return 0
        assert answer.status == 503, answer.body
        return 1

    with ThreadPoolExecutor(8) as callers:
        work = [callers.submit(submit, i) for i in range(200)]
        wait_until(lambda: len(accepted) > 60, 30)
        farm.redis.kill()
        time.sleep(1)
        farm.redis.start()
        refused = sum(job.result() for job in work)
    assert len(accepted) + refused == 200
    assert len(accepted) > 60
    assert {farm.ended(job_id, 90)["status"] for job_id in accepted} == {"succeeded"}


def test_the_queue_deleted_under_load_delays_but_loses_nothing(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.005")
    farm.start(workers=2)
    jobs = [farm.submit(f"这是第{i}个任务，请读出来。") for i in range(40)]
    with redis.Redis.from_url(farm.redis.url) as client:
        for _ in range(5):
            client.delete(lane_queue("fake"), "unacked", "unacked_index")
            time.sleep(0.2)
    assert {farm.ended(job)["status"] for job in jobs} == {"succeeded"}


def test_a_text_that_kills_its_worker_fails_alone(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_LEASE_S="1")
    farm.start(workers=1)
    poison = farm.submit("好的。[[crash]]。")
    healthy = [farm.submit(f"第{i}句，请读出来。") for i in range(5)]
    assert {farm.ended(job)["status"] for job in healthy} == {"succeeded"}
    job = farm.ended(poison, 60)
    assert (job["status"], job["error"]["code"]) == ("failed", "segment_lost")


@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_finishes_or_hands_back(make_farm: MakeFarm, whole_group: bool) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.01", TTSFARM_LEASE_S="60")
    farm.start(workers=2)
    job_id = farm.submit(BOOK)
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 5, 30)
    if whole_group:
        farm.signal("worker0", signal.SIGTERM)
    else:
        farm.children["worker0"].terminate()
    assert farm.children.pop("worker0").wait(timeout=60) == 0
    # With a lease of a minute, only an orderly hand-back lets the rest finish in time.
    assert farm.ended(job_id, 30)["status"] == "succeeded"
    assert max(attempts(farm, job_id).values()) == 1


def test_a_frozen_worker_does_not_hold_up_the_job(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.01", TTSFARM_LEASE_S="2")
    farm.start(workers=2)
    whole = farm.ended(farm.submit(BOOK))
    job_id = farm.submit(BOOK + " ")
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 5, 30)
    farm.signal("worker0", signal.SIGSTOP)
    try:
        job = farm.ended(job_id, 60)
    finally:
        farm.signal("worker0", signal.SIGCONT)
    assert (job["status"], job["audio"]["sha256"]) == ("succeeded", whole["audio"]["sha256"])
    assert farm.ended(farm.submit("醒来以后。"))["status"] == "succeeded"
    # What the thawed worker still had to report has changed nothing.
    assert hashlib.sha256(farm.audio(job_id)).hexdigest() == whole["audio"]["sha256"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(refusals=3)
    yield receiver
    receiver.close()


def test_a_receiver_that_fails_three_times_gets_its_message(
    make_farm: MakeFarm, receiver: Receiver
) -> None:
    farm = make_farm(TTSFARM_WEBHOOK_DELAYS_S="0,0.2,0.4,0.8")
    farm.start(courier=True)
    job_id = farm.submit("你好。", webhook_url=receiver.url)
    wait_until(lambda: len(receiver.received) == 4, 30)
    secret = farm.call("GET", "/v1/webhooks/secret").json["secret"]
    for headers, body in receiver.received:
        event = Webhook(secret).verify(body, headers)
        assert (event["data"]["id"], event["data"]["status"]) == (job_id, "succeeded")
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1

    def delivered() -> bool:
        (delivery,) = farm.call("GET", "/v1/webhooks/deliveries").json["deliveries"]
        return bool(delivery["status"] == "delivered")

    wait_until(delivered, 60)


@pytest.mark.s3
def test_the_object_store_down_for_20_s_during_uploads(make_farm: MakeFarm) -> None:
    endpoint = os.environ.get("TTSFARM_TEST_S3_ENDPOINT")
    stop = os.environ.get("TTSFARM_TEST_S3_STOP")  # shell commands that stop and start the server
    start = os.environ.get("TTSFARM_TEST_S3_START")
    if not endpoint or not stop or not start:
        assert not os.environ.get("CI"), "CI must name an S3 server that may be stopped"
        pytest.skip("no S3 server that may be stopped")
    farm = make_farm(
        TTSFARM_STORAGE="s3",
        TTSFARM_S3_ENDPOINT=endpoint,
        TTSFARM_S3_ACCESS_KEY=os.environ["TTSFARM_TEST_S3_ACCESS_KEY"],
        TTSFARM_S3_SECRET_KEY=os.environ["TTSFARM_TEST_S3_SECRET_KEY"],
        TTSFARM_S3_BUCKET="farm-faults",
        TTSFARM_FAKE_COST_S_PER_CHAR="0.01",
    )
    farm.start(workers=2)
    job_id = farm.submit(BOOK)
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 3, 30)
    subprocess.run(stop, shell=True, check=True, capture_output=True)
    time.sleep(20)
    subprocess.run(start, shell=True, check=True, capture_output=True)
    job = farm.ended(job_id, 120)
    assert job["status"] == "succeeded"
    assert len(farm.audio(job_id)) == job["audio"]["size_bytes"]
