"""What callers are told of their place in the line, and when it is too long."""

import json
from typing import Any

import pytest

from api.routes.events import follow_events, followed_job
from shared.connection import Scripts
from shared.settings import Settings
from tests.contract.api.conftest import Api
from tests.walk import result

pytestmark = pytest.mark.redis


def speak(api: Any, text: str, s_per_char: float) -> None:
    """A job is planned and spoken but not joined, so that the voice's pace is known."""
    api.submit(text)
    api.farm.plan(1, len(text))
    (claim,) = api.farm.claim()
    api.farm.work.finish_segment(claim, result(claim), busy_s=s_per_char * len(text))
    api.farm.jobs.cancel("default", claim.job)


def test_a_job_tells_its_place_when_it_starts_and_when_it_is_done(api: Any) -> None:
    speak(api, "字" * 10, 0.5)
    api.submit("字" * 20)
    job = api.client.post("/v1/jobs", json={"text": "字" * 30}).json
    assert job["queue"] == {"position": 2, "eta_s": 10.0}
    assert job["progress"]["eta_s"] == 25.0
    shown = api.client.get(f"/v1/jobs/{job['id']}").json
    assert (shown["queue"], shown["progress"]) == (job["queue"], job["progress"])


def test_events_tell_how_the_line_moves(api: Any) -> None:
    speak(api, "字" * 10, 0.5)
    first = api.submit("字" * 20)
    farm = api.app.extensions["ttsfarm"]
    job = farm.jobs.job("default", api.submit("字" * 30))
    with api.app.app_context():
        parts = follow_events(farm, followed_job(farm, job), job, job.version, heartbeat_s=0.05)
        assert next(parts) == "retry: 2000\n\n"
        api.offer()
        assert next(parts) == ": still here\n\n"
        api.farm.jobs.cancel("default", first)
        news = next(part for part in parts if "data: " in part)
        parts.close()
    data = json.loads(news.split("data: ")[1])
    assert "event: progress" in news
    assert (data["queue"], data["progress"]["eta_s"]) == ({"position": 1, "eta_s": 0.0}, 15.0)


@pytest.fixture
def short_line(scripts: Scripts, farm_settings: Settings) -> Any:
    """A farm that lets nobody wait for longer than ten seconds."""
    settings = farm_settings.model_copy(update={"default_voice": "fake", "queue_wait_limit_s": 10})
    made = Api(scripts, settings)
    made.offer()
    yield made
    made.app.extensions["ttsfarm"].close()


def test_a_line_that_is_too_long_answers_429_and_says_why(short_line: Any) -> None:
    speak(short_line, "字" * 10, 0.5)
    kept = short_line.submit("字" * 30, id="kept")
    answer = short_line.client.post("/v1/jobs", json={"text": "你好。"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "5"
    assert answer.content_type == "application/problem+json"
    assert (answer.json["code"], answer.json["retryable"]) == ("farm_crowded", True)
    assert (answer.json["expected_wait_s"], answer.json["limit_s"]) == (15.0, 10)
    assert "15 s" in answer.json["detail"]
    assert short_line.submit("字" * 30, id="kept") == kept  # what is accepted stays so
    told = short_line.client.post("/api/tts", json={"text": "你好"})
    assert (told.status_code, told.headers["Retry-After"]) == (429, "5")
    assert told.json == {"code": 429, "msg": "排队任务过多, 请稍后重试"}
