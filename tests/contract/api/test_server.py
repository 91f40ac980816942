"""The production server as a process: big bodies, many waiters, a graceful end, quiet logs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from redis import Redis

from shared.bells import DELIVER_QUEUE
from tests.conftest import free_port, wait_until

pytestmark = pytest.mark.redis


class Served:
    """A running server and what it logs."""

    def __init__(self, redis_url: str, directory: Path, **more: str) -> None:
        self.port = free_port()
        self.log = directory / "api.log"
        settings = {
            "TTSFARM_REDIS_URL": redis_url,
            "TTSFARM_STORAGE_DIR": str(directory / "objects"),
            "TTSFARM_API_PORT": str(self.port),
            "TTSFARM_API_THREADS": "8",
            "TTSFARM_DEFAULT_VOICE": "fake",
            **more,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from api.server import serve; serve()"],
                env={**os.environ, **settings},
                stderr=log,
            )
        try:
            wait_until(self.lives, 60)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise

    def lives(self) -> bool:
        try:
            return self.call("/livez")[0] == 200
        except OSError:
            return False

    def call(
        self,
        path: str,
        data: bytes | None = None,
        timeout_s: float = 60,
        more: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", **(more or {})}
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        try:
            with urlopen(request, timeout=timeout_s) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@pytest.fixture
def served(api: Any, redis_url: str, tmp_path: Path) -> Iterator[Served]:
    server = Served(redis_url, tmp_path)
    yield server
    if server.process.poll() is None:
        server.process.terminate()
        server.process.wait(timeout=60)


def test_the_first_caller_finds_store_and_broker_met(
    served: Served, redis_client: Redis, tmp_path: Path
) -> None:
    wait_until(lambda: redis_client.llen(DELIVER_QUEUE) == 1, 60)
    wait_until((tmp_path / "objects").is_dir, 60)


def test_a_person_reads_where_it_listens(served: Served) -> None:
    lines = [json.loads(line) for line in served.log.read_text("utf-8").splitlines()]
    assert [line["message"] for line in lines] == [f"listening on http://127.0.0.1:{served.port}"]


def test_a_body_of_10_mb_is_a_413_the_client_can_read(served: Served) -> None:
    body = json.dumps({"text": "a" * 10_000_000}).encode()
    status, problem = served.call("/v1/jobs", body)
    assert (status, problem["code"]) == (413, "body_too_large")


def test_more_long_polls_than_threads_leave_the_server_answering(served: Served, api: Any) -> None:
    job = api.submit()
    answers: list[int] = []

    def wait() -> None:
        answers.append(served.call(f"/v1/jobs/{job}?wait=30", timeout_s=60)[0])

    waiters = [threading.Thread(target=wait) for _ in range(16)]
    for waiter in waiters:
        waiter.start()
    wait_until(lambda: len(answers) == 10, 60)  # the other six wait, on eight threads
    began = time.monotonic()
    assert served.call("/livez")[0] == 200
    assert time.monotonic() - began < 30  # before any of them ends
    api.finish()
    for waiter in waiters:
        waiter.join(timeout=60)
    assert answers == [200] * 16


def test_sigterm_answers_who_waits_and_ends(served: Served, api: Any) -> None:
    job = api.submit()
    answers: list[tuple[int, dict[str, Any]]] = []
    waiter = threading.Thread(target=lambda: answers.append(served.call(f"/v1/jobs/{job}?wait=60")))
    waiter.start()
    metric = "ttsfarm_http_waiting 1.0"
    wait_until(lambda: metric in read_metrics(served), 60)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=55) == 0  # before the poll's time is over
    waiter.join(timeout=60)
    assert [(status, shown["status"]) for status, shown in answers] == [(200, "queued")]


def read_metrics(served: Served) -> str:
    with urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def test_logs_are_json_and_hold_no_text_and_no_signature(served: Served) -> None:
    served.call("/v1/jobs", json.dumps({"text": "秘密的话"}).encode())
    served.call("/v1/files/jobs/x/audio.wav?expires=1&signature=s3cret")
    text = served.log.read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert "秘密" not in text
    assert "s3cret" not in text
    requests = [line for line in lines if line["action"] == "http.request"]
    assert {"GET /v1/files/<path:key> 403", "POST /v1/jobs 202"} <= {
        line["message"] for line in requests
    }
    assert all(line["request_id"] and line["process"] == "api" for line in requests)


def test_who_polls_a_job_or_the_health_fills_no_log(served: Served, api: Any) -> None:
    job = api.submit()
    for path in ("/readyz", "/livez", "/health", f"/v1/jobs/{job}"):
        served.call(path)
    served.call("/v1/jobs/nosuch")
    lines = [json.loads(line) for line in served.log.read_text("utf-8").splitlines()]
    requests = [line["message"] for line in lines if line["action"] == "http.request"]
    assert requests == ["GET /v1/jobs/<job_id> 404"]


def test_no_key_and_no_secret_gets_into_a_log_or_an_error(
    api: Any, redis_url: str, tmp_path: Path
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    server = Served(redis_url, tmp_path, TTSFARM_AUTH="keys", TTSFARM_LOG_LEVEL="DEBUG",
                    TTSFARM_S3_SECRET_KEY=secret, TTSFARM_JWT_SECRET=secret)  # fmt: skip
    try:
        good = api.headers("a")
        key = good["Authorization"].removeprefix("Bearer ")
        signing = server.call("/v1/webhooks/secret", more=good)[1]["secret"]
        wrong = {"Authorization": f"Bearer {key[:-2]}zz"}
        said = [
            server.call("/v1/voices", more=good),
            server.call("/v1/voices", more=wrong),
            server.call("/v1/queue", more=api.headers("a", "read")),
            server.call("/v1/jobs", b'{"text": 1}', more=good),
            server.call("/v1/jobs?wait=1", more=good),
            server.call(f"/nowhere/{key[:6]}", more=good),
            server.call("/v1/webhooks/deliveries", more=good),
            server.call("/readyz"),
        ]
        assert [status for status, _ in said] == [200, 401, 403, 422, 422, 404, 200, 200]
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)
    written = server.log.read_text("utf-8") + json.dumps(said)
    for hidden in (key.rpartition("_")[2][:-2], signing, secret):
        assert hidden not in written
    lines = [json.loads(line) for line in server.log.read_text("utf-8").splitlines()]
    asked = [line for line in lines if line["message"].startswith("GET /v1/voices 200")]
    assert [(line["tenant"], line["key"]) for line in asked] == [("a", key.split("_")[1])]


def test_nobody_but_a_trusted_proxy_may_say_that_it_was_tls(
    api: Any, redis_url: str, tmp_path: Path
) -> None:
    """gunicorn by itself believes every caller on loopback."""
    server = Served(redis_url, tmp_path)
    try:
        url = f"http://127.0.0.1:{server.port}/livez"
        request = Request(url, headers={"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on"})
        with urlopen(request, timeout=60) as answer:
            assert "Strict-Transport-Security" not in answer.headers
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)
