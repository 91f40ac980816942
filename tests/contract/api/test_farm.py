"""Voices, lanes, workers, webhooks, probes and metrics over HTTP; and Redis gone."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import REDIS_TIMEOUT_S, create_app
from shared.settings import Settings
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis


def test_voices_tell_what_they_can_and_who_is_ready(api: Any) -> None:
    (voice,) = api.client.get("/v1/voices").json["voices"]
    assert voice == {
        "name": "fake",
        "engine": "fake",
        "language": "zh",
        "emotions": ["neutral", "happy"],
        "sample_rate": 16000,
        "revision": "1",
        "description": "",
        "ready_workers": 1,
        "alias_of": {},
        "default": True,
    }


def test_lanes_and_workers_tell_depth_and_who_holds_what(api: Any) -> None:
    job = api.submit()
    api.submit("长" * 400)
    (lane,) = api.client.get("/v1/queue").json["lanes"]
    assert (lane["depth_interactive"], lane["depth_bulk"], lane["workers"]) == (1, 1, 1)
    (worker,) = api.client.get("/v1/workers").json["workers"]
    assert (worker["id"], worker["ready"], worker["voices"]) == ("w1", True, ["fake"])
    assert worker["started_at"] == "1970-01-01T00:00:01.000Z"
    assert job


def test_health_is_503_until_a_voice_is_ready(api: Any) -> None:
    assert api.client.get("/health").json == {
        "status": "ok",
        "model_loaded": True,
        "voices": {"fake": 1},
    }
    api.farm.presence.leave("w1", ["fake"])
    answer = api.client.get("/health")
    assert (answer.status_code, answer.json["model_loaded"]) == (503, False)


def test_ready_means_redis_storage_and_each_live_voice(api: Any) -> None:
    assert api.client.get("/readyz").json["ready"] is True
    api.offer(ready=False)
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json["checks"]
    assert {name: check["ok"] for name, check in checks.items()} == {
        "redis": True,
        "storage": True,
        "voices": False,
    }
    assert "fake" in checks["voices"]["detail"]


def test_a_webhooks_delivery_is_listed_shown_and_replayed(api: Any) -> None:
    job = api.submit(webhook_url="https://example.com/hook?token=secret")
    api.finish()
    (listed,) = api.client.get("/v1/webhooks/deliveries").json["deliveries"]
    assert (listed["job"], listed["event"], listed["status"]) == (job, "completed", "due")
    shown = api.client.get(f"/v1/webhooks/deliveries/{listed['id']}")
    assert shown.json["tries"] == []
    assert "secret" not in shown.text
    answer = api.client.post(f"/v1/webhooks/deliveries/{listed['id']}/replay")
    assert (answer.status_code, answer.json["status"]) == (202, "due")
    assert api.client.get("/v1/webhooks/deliveries/none").status_code == 404
    assert api.client.post("/v1/webhooks/deliveries/none/replay").status_code == 404
    wrong = api.client.get("/v1/webhooks/deliveries?cursor=x&status=lost&limit=0&n=1")
    assert (wrong.status_code, wrong.json["code"]) == (422, "invalid_request")
    assert {one["field"] for one in wrong.json["errors"]} == {"n", "limit", "status", "cursor"}
    assert api.client.get("/v1/webhooks/deliveries?status=dead").json["deliveries"] == []


def test_deliveries_are_listed_page_by_page(api: Any) -> None:
    for name in ("a" * 64, "b-_"):
        api.submit(id=name, webhook_url="https://example.com/hook")
        api.finish()
    first = api.client.get("/v1/webhooks/deliveries?limit=1").json
    query = {"limit": 1, "cursor": first["next_cursor"]}
    second = api.client.get("/v1/webhooks/deliveries", query_string=query).json
    jobs = [page["deliveries"][0]["job"] for page in (first, second)]
    assert (jobs, second["next_cursor"]) == (["b-_", "a" * 64], None)


def test_a_rotated_secret_signs_beside_the_old_one(api: Any) -> None:
    old = api.client.get("/v1/webhooks/secret").json
    new = api.client.post("/v1/webhooks/secret/rotate").json
    assert old["secret"].startswith("whsec_")
    assert new["secret"] != old["secret"]
    assert new["secrets"] == [new["secret"], old["secret"]]


def test_metrics_count_requests_by_template_and_read_the_lanes(api: Any) -> None:
    api.client.get(f"/v1/jobs/{api.submit()}")
    text = api.client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    shown = ("method", "GET"), ("route", "/v1/jobs/<job_id>"), ("status", "200")
    assert values[("ttsfarm_http_requests_total", *shown)] == 1
    depth = ("class", "interactive"), ("voice", "fake")
    assert values[("ttsfarm_lane_depth", *depth)] == 1
    assert values[("ttsfarm_workers", ("ready", "true"))] == 1
    assert values[("ttsfarm_deliveries", ("status", "due"))] == 0
    assert values[("ttsfarm_deliveries_waiting_seconds",)] == 0
    assert values[("ttsfarm_state_store_up",)] == 1


def test_a_made_up_method_or_path_makes_no_series_of_its_own(api: Any) -> None:
    api.client.open("/v1/jobs", method="SURPRISE")
    api.client.get("/surprise")
    text = api.client.get("/metrics").text
    assert "surprise" not in text.lower()
    assert 'method="OTHER"' in text


def test_too_many_waiting_callers_are_told_to_come_back(api: Any) -> None:
    farm = api.app.extensions["ttsfarm"]
    job = api.submit()
    for _ in range(api.settings.api_threads * 3 // 4):
        farm.slots.acquire("default")
    answer = api.client.get(f"/v1/jobs/{job}/events")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    began = time.monotonic()
    assert api.client.get(f"/v1/jobs/{job}?wait=30").json["status"] == "queued"
    assert time.monotonic() - began < 30  # not held


@pytest.fixture
def fallible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RedisServer, Any]]:
    """A Redis of this test's own, and an app on it that waits for it no longer than others do."""
    monkeypatch.setattr("api.app.REDIS_TIMEOUT_S", REDIS_TIMEOUT_S)
    server = RedisServer(tmp_path / "redis", append_only=False)
    server.start()
    app = create_app(Settings(redis_url=server.url, storage_dir=tmp_path / "objects"))
    yield server, app.test_client()
    app.extensions["ttsfarm"].close()
    server.kill()


CALLS = (
    ("GET", "/v1/jobs/x"),
    ("GET", "/v1/voices"),
    ("POST", "/v1/jobs"),
    ("GET", "/readyz"),
    ("GET", "/health"),
)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_without_redis_every_call_is_a_503_before_callers_give_up(
    fallible: tuple[RedisServer, Any], fault: str
) -> None:
    server, client = fallible
    assert client.get("/v1/voices").status_code == 200
    if fault == "kill":
        server.kill()
    elif server.process:
        os.kill(server.process.pid, signal.SIGSTOP)
    for method, path in CALLS:
        began = time.monotonic()
        answer = client.open(path, method=method, json={"text": "好"} if method == "POST" else None)
        assert answer.status_code == 503, path
        assert time.monotonic() - began < 25, path
        if path.startswith("/v1"):
            assert answer.json["code"] == "state_store_unavailable"
            assert answer.headers["Retry-After"]


def test_without_redis_the_process_lives_and_its_own_metrics_are_read(
    fallible: tuple[RedisServer, Any],
) -> None:
    server, client = fallible
    server.kill()
    assert client.get("/livez").status_code == 200
    text = client.get("/metrics").text
    assert re.search(r"^ttsfarm_state_store_up 0\.0$", text, re.MULTILINE)
    assert "ttsfarm_http_requests_total" in text


def test_redis_back_means_answers_back(fallible: tuple[RedisServer, Any]) -> None:
    server, client = fallible
    server.kill()
    assert client.get("/v1/voices").status_code == 503
    server.start()
    assert client.get("/v1/voices").status_code == 200
