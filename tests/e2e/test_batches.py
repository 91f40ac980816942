"""Batches on a farm of real processes: a killed API, one webhook, one archive, the command."""

import hashlib
import io
import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from tests.conftest import RedisServer, wait_until
from tests.e2e.conftest import BIN, Farm, MakeFarm
from tests.e2e.receiver import Receiver
from tests.faults.wire import Wire

pytestmark = pytest.mark.e2e

N_INPUTS = 4000
SPOKEN = 12  # texts that are spoken; the rest of a large batch is canceled


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(refusals=0)
    yield receiver
    receiver.close()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    """Lines that a test strings; they last until its farm has ended."""
    strung: list[Wire] = []
    yield strung
    for wire in strung:
        wire.close()


def ended(farm: Farm, batch_id: str, timeout_s: float = 120) -> dict[str, Any]:
    batch: dict[str, Any] = {}

    def check() -> bool:
        batch.update(farm.call("GET", f"/v1/batches/{batch_id}?wait=5").json)
        return batch["finished_at"] is not None

    wait_until(check, timeout_s)
    return batch


def test_a_batch_makes_one_message_and_one_archive(make_farm: MakeFarm, receiver: Receiver) -> None:
    farm = make_farm()
    farm.start(courier=True)
    lines = [{"batch": {"webhook_url": receiver.url, "defaults": {"format": "flac"}}}]
    lines += [{"text": f"第{i}课，请读出来。", "name": f"课{i}"} for i in range(SPOKEN)]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    answer = farm.call("POST", "/v1/batches", body, {"Content-Type": "application/jsonl"})
    assert answer.status == 202, answer.body
    batch = ended(farm, answer.json["id"])
    assert (batch["status"], batch["counts"]["succeeded"]) == ("completed", SPOKEN)
    with zipfile.ZipFile(io.BytesIO(farm.call("GET", batch["links"]["results"]).body)) as archive:
        rows = json.loads(archive.read("manifest.json"))
        assert [row["file"] for row in rows] == [f"课{i}.flac" for i in range(SPOKEN)]
        for row in rows:
            data = archive.read(row["file"])
            assert (data[:4], hashlib.sha256(data).hexdigest()) == (b"fLaC", row["sha256"])
    assert sum(row["duration_s"] for row in rows) == pytest.approx(batch["audio_s"], abs=0.1)
    wait_until(lambda: bool(receiver.received), 30)
    secret = farm.call("GET", "/v1/webhooks/secret").json["secret"]
    ((headers, message),) = receiver.received
    event = Webhook(secret).verify(message, headers)
    assert (event["type"], event["data"]["id"]) == ("batch.completed", batch["id"])
    assert event["data"]["links"]["results"] == batch["links"]["results"]


def test_kill_9_of_the_api_in_the_middle_of_a_submit_is_mended_by_sending_again(
    wires: list[Wire], make_farm: MakeFarm
) -> None:
    farm = make_farm()
    assert isinstance(farm.redis, RedisServer)
    wires.append(Wire(farm.redis.host, farm.redis.port))
    farm.env["TTSFARM_REDIS_URL"] = f"redis://{wires[0].address}/0"
    farm.start(workers=1)
    lines = [{"batch": {"id": "big"}}, *(f"第{i}句。" for i in range(N_INPUTS))]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    headers = {"Content-Type": "application/jsonl", "Idempotency-Key": "one-call"}
    with redis.Redis.from_url(farm.redis.url, decode_responses=True) as client:

        def n_stored() -> int:
            return int(client.zcard("ttsfarm:batch:jobs:big:default"))

        def send_and_lose() -> None:
            with pytest.raises(OSError):  # noqa: PT011  # reset or closed, as it happens
                farm.call("POST", "/v1/batches", body, headers)

        wires[0].delay_s = 0.1  # so that storing takes long enough to be seen
        caller = threading.Thread(target=send_and_lose)
        caller.start()
        wait_until(lambda: n_stored() > 0, 60)
        farm.kill("api")
        caller.join()
        wires[0].delay_s = 0.0
        n_before = n_stored()
        assert 0 < n_before < N_INPUTS
        assert client.zcard("ttsfarm:jobs:default") == 0, "a job began before all were stored"
        farm.spawn("api", "ttsfarm", "serve")
        wait_until(farm.ready(1), 60)
        answer = farm.call("POST", "/v1/batches", body, headers)
        assert answer.status == 202, answer.body
        assert n_stored() == N_INPUTS == answer.json["counts"]["total"]
        assert farm.call("POST", "/v1/batches", body, headers).json["id"] == "big"

        def n_spoken() -> int:
            return int(farm.call("GET", "/v1/batches/big").json["counts"]["succeeded"])

        wait_until(lambda: n_spoken() >= SPOKEN, 60)
        canceled = farm.call("POST", "/v1/batches/big/cancel").json
        assert canceled["status"] == "canceled"
        assert canceled["counts"]["succeeded"] + canceled["counts"]["canceled"] == N_INPUTS
        assert farm.call("DELETE", "/v1/batches/big").status == 204
        assert n_stored() == 0
        assert not list(client.scan_iter("ttsfarm:job:*"))


def test_the_command_makes_an_archive_and_finds_it_again(
    make_farm: MakeFarm, tmp_path: Path
) -> None:
    farm = make_farm()
    farm.start()
    (tmp_path / "texts.jsonl").write_text('"一。"\n\n{"text": "二。", "name": "zwei"}\n', "utf-8")
    env = {**os.environ, "TTSFARM_URL": f"http://127.0.0.1:{farm.api_port}"}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ttsfarm"), "batch", "texts.jsonl", *options]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    first = run("-o", "out.zip", "--format", "mp3")
    assert first.returncode == 0, first.stderr
    assert "2 of 2 spoken" in first.stderr
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist()[:2] == ["00001.mp3", "zwei.mp3"]
    again = run("-o", "again.zip", "--format", "mp3")
    assert again.returncode == 0, again.stderr
    assert len(farm.call("GET", "/v1/batches").json["batches"]) == 1
    (tmp_path / "texts.jsonl").write_text('"一。"\n\n{"text": ""}\n', "utf-8")
    refused = run("--format", "mp3")
    assert refused.returncode == 4
    assert "line 3: text" in refused.stderr
