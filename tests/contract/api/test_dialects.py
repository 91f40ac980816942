"""The dialects over the whole API: keys, limits, deadlines, streams that can not be, webhooks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest

from shared.batches import BatchStore
from shared.deliveries import DeliveryStore
from shared.errors import SynthesisError, TextRefused
from tests.contract.api.conftest import wav
from worker.delivering import Subjects, message

pytestmark = pytest.mark.redis

SPEECH: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": "你好。"}
PREDICTION = {"version": "fake", "input": {"text": "你好。"}}
HOOK = "https://example.com/hook"


@contextmanager
def client(api: Any, key: str = "none") -> Iterator[openai.OpenAI]:
    """OpenAI's own client, its calls handed to the API without a network between."""
    transport = httpx2.WSGITransport(app=api.app)
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(
            api_key=key, base_url="http://127.0.0.1/v1", http_client=http, max_retries=0
        ) as made,
    ):
        yield made


def key_of(headers: dict[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


# OpenAI


def test_a_caller_without_a_key_or_scope_gets_their_errors(guarded: Any) -> None:
    with client(guarded, "ttsfarm_no") as stranger:
        with pytest.raises(openai.AuthenticationError) as raised:
            stranger.audio.speech.create(**SPEECH)
        assert raised.value.code == "invalid_api_key"
    with client(guarded, key_of(guarded.headers("a", "read"))) as reader:
        assert "fake" in [model.id for model in reader.models.list()]
        with pytest.raises(openai.PermissionDeniedError):
            reader.audio.speech.create(**SPEECH)


def test_a_caller_at_its_limit_gets_their_error(guarded: Any) -> None:
    key = key_of(guarded.headers("a", requests_per_minute=1))
    with client(guarded, key) as caller:
        caller.models.list()
        with pytest.raises(openai.RateLimitError) as raised:
            caller.models.list()
    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["Retry-After"]) > 0


def test_a_path_or_method_there_is_not_is_told_in_their_form(api: Any) -> None:
    for method, path, status in (
        ("GET", "/v1/audio/nothing", 404),
        ("GET", "/v1/audio/speech", 405),
        ("DELETE", "/v1/models/fake", 405),
    ):
        answer = api.client.open(path, method=method)
        assert answer.status_code == status
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}


def test_the_finished_audio_is_sent_where_too_many_listen(make_api: Any) -> None:
    api = make_api(max_streams=1)
    farm = api.app.extensions["ttsfarm"]
    job_id = api.submit()
    api.finish()
    recording = farm.recordings.join(farm.jobs.job("default", job_id), 0)
    try:
        for stream_format in ("audio", "sse"):
            asked = {**SPEECH, "response_format": "wav", "stream_format": stream_format}
            with api.working(api.finish):
                answer = api.client.post("/v1/audio/speech", json=asked)
            assert answer.status_code == 200
            assert (answer.data == wav()) == (stream_format == "audio")
            assert ("Content-Length" in answer.headers) == (stream_format == "audio")
            assert answer.data.count(b"speech.audio.done") == (stream_format == "sse")
    finally:
        farm.recordings.leave(recording)


@pytest.mark.parametrize(
    ("error", "status"), [(TextRefused("坏"), 400), (SynthesisError("坏"), 500)]
)
def test_a_text_that_can_not_be_spoken_is_told_by_its_status(
    make_api: Any, error: SynthesisError, status: int
) -> None:
    api = make_api(max_attempts=1)
    with api.working(lambda: api.fail(error)):
        answer = api.client.post("/v1/audio/speech", json=SPEECH)
    assert (answer.status_code, answer.json["error"]["message"]) == (status, "坏")


# Replicate


def test_a_prediction_is_created_in_both_ways(api: Any) -> None:
    left_out: dict[str, Any] = {"webhook": None, "webhook_events_filter": None}
    versioned = api.client.post("/v1/predictions", json={**PREDICTION, **left_out})
    named = api.client.post(
        "/v1/models/ttsfarm/fake/predictions", json={"input": PREDICTION["input"], **left_out}
    )
    for answer in (versioned, named):
        assert (answer.status_code, answer.json["status"]) == (201, "starting")
        assert answer.json["model"] == "ttsfarm/fake"
        assert "你好" not in answer.text


def test_waiting_answers_the_end_or_starting(api: Any) -> None:
    with api.working(api.finish):
        done = api.client.post("/v1/predictions", json=PREDICTION, headers={"Prefer": "wait"})
    assert (done.status_code, done.json["status"]) == (201, "succeeded")
    assert api.client.get(done.json["output"]).data == wav()
    late = api.client.post("/v1/predictions", json=PREDICTION, headers={"Prefer": "wait=0"})
    assert (late.status_code, late.json["status"]) == (202, "starting")


def test_cancel_after_is_the_jobs_deadline(api: Any) -> None:
    headers = {"Cancel-After": "1m30s"}
    made = api.client.post("/v1/predictions", json=PREDICTION, headers=headers).json
    assert api.farm.jobs.job("default", made["id"]).request.deadline_s == 90
    wrong = api.client.post("/v1/predictions", json=PREDICTION, headers={"Cancel-After": "1s"})
    assert wrong.status_code == 422
    assert wrong.json["detail"].startswith("Cancel-After: must be 5s to 24h")


def test_the_same_key_answers_the_same_prediction_of_the_same_dialect(api: Any) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = (
        api.client.post("/v1/predictions", json=PREDICTION, headers=headers).json["id"]
        for _ in range(2)
    )
    assert first == again
    other = api.client.post("/v1/jobs", json={"text": "你好。"}, headers=headers)
    assert other.status_code == 409


def test_a_list_has_the_tenants_predictions_alone(guarded: Any) -> None:
    mine = guarded.headers("a")
    guarded.submit(headers=mine)
    made = guarded.client.post("/v1/predictions", json=PREDICTION, headers=mine).json["id"]
    guarded.client.post("/v1/predictions", json=PREDICTION, headers=guarded.headers("b"))
    page = guarded.client.get("/v1/predictions", headers=mine).json
    assert [one["id"] for one in page["results"]] == [made]
    assert (page["next"], page["previous"]) == (None, None)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (["start", "output", "logs", "completed"], ["completed", "logs", "started"]),
        (["output"], ["output"]),
        (["completed"], ["completed"]),
    ],
)
def test_webhooks_send_the_prediction_for_the_events_asked_for(
    api: Any, asked: list[str], sent: list[str]
) -> None:
    body = {**PREDICTION, "webhook": HOOK, "webhook_events_filter": asked}
    made = api.client.post("/v1/predictions", json=body).json
    api.finish()
    deliveries = DeliveryStore(api.farm.scripts).page("default").deliveries
    assert sorted(one.event for one in deliveries) == sent
    farm = api.app.extensions["ttsfarm"]
    subjects = Subjects(jobs=farm.jobs, batches=BatchStore(api.farm.scripts))
    told = json.loads(message(deliveries[0], subjects, farm.links))
    shown = api.client.get(f"/v1/predictions/{made['id']}").json
    assert {**told, "output": None} == {**shown, "output": None}


def test_a_prediction_that_fails_has_no_output_to_tell_of(api: Any) -> None:
    body = {**PREDICTION, "webhook": HOOK, "webhook_events_filter": ["output"]}
    api.client.post("/v1/predictions", json=body)
    api.fail(TextRefused("坏"))
    assert DeliveryStore(api.farm.scripts).page("default").deliveries == ()


def test_a_stream_of_events_tells_the_end(api: Any) -> None:
    done, failed, canceled = (
        api.client.post("/v1/predictions", json=PREDICTION).json["id"] for _ in range(3)
    )
    api.finish()
    api.fail(TextRefused("坏"))
    api.client.post(f"/v1/predictions/{canceled}/cancel")

    def told(prediction: str) -> list[str]:
        text = api.client.get(f"/v1/predictions/{prediction}/stream").text
        return [line for line in text.splitlines() if not line.startswith("id:") and line]

    logs, bar, output, link, *end = told(done)
    assert (logs, output, end) == ("event: logs", "event: output", ["event: done", "data: {}"])
    assert bar.endswith("1/1")
    assert link.startswith("data: http")
    assert told(failed)[:2] == ["event: error", 'data: {"detail": "坏"}']
    assert told(canceled) == ["event: done", 'data: {"reason": "canceled"}']
