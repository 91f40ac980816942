"""/v1/jobs over HTTP, on a real Redis."""

import json
import time
from typing import Any

import pytest

from shared.errors import EmptyAudio
from tests.conftest import wait_until

pytestmark = pytest.mark.redis

KEY = {"Idempotency-Key": "k1"}


def test_a_submit_answers_202_with_the_job_and_where_it_is(api: Any) -> None:
    answer = api.client.post("/v1/jobs", json={"text": "你好。", "metadata": {"课": "一"}})
    assert answer.status_code == 202
    assert answer.headers["Location"].endswith(f"/v1/jobs/{answer.json['id']}")
    assert answer.headers["Retry-After"] == "1"
    assert (answer.json["status"], answer.json["metadata"]) == ("queued", {"课": "一"})
    assert answer.json["queue"] == {"position": 1, "eta_s": None}
    assert answer.json["characters"] == 3
    assert "你好" not in answer.text
    assert api.client.get(f"/v1/jobs/{answer.json['id']}").json["id"] == answer.json["id"]


def test_the_same_key_and_body_answer_the_same_job_and_ring_once(api: Any) -> None:
    first = api.client.post("/v1/jobs", json={"text": "一", "speed": 1}, headers=KEY)
    wait_until(lambda: api.farm.presence.lanes()[0].bells == 1, 60)  # in the background
    again = api.client.post("/v1/jobs", json={"speed": 1, "text": "一"}, headers=KEY)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"]
    api.app.extensions["ttsfarm"].close()  # what was to be rung has been
    assert api.farm.presence.lanes()[0].bells == 1


def test_the_same_key_with_another_body_is_a_409(api: Any) -> None:
    api.client.post("/v1/jobs", json={"text": "一"}, headers=KEY)
    answer = api.client.post("/v1/jobs", json={"text": "二"}, headers=KEY)
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_conflict")


def test_the_same_key_with_another_id_is_a_409(api: Any) -> None:
    for job_id, status in (("a", 202), ("b", 409), ("a", 202)):
        answer = api.client.post("/v1/jobs", json={"id": job_id, "text": "一"}, headers=KEY)
        assert answer.status_code == status
    assert api.client.get("/v1/jobs/b").status_code == 404
    again = api.client.post("/v1/jobs", json={"text": "一"}, headers=KEY)
    assert (again.status_code, again.json["id"]) == (202, "a")


def test_a_chosen_id_is_kept_and_refused_for_another_body(api: Any) -> None:
    assert api.submit(id="lesson-1") == "lesson-1"
    assert api.submit(id="lesson-1") == "lesson-1"
    answer = api.client.post("/v1/jobs", json={"text": "别的", "id": "lesson-1"})
    assert answer.status_code == 409


def test_prefer_wait_answers_200_when_the_job_is_done(api: Any) -> None:
    with api.working(api.finish):
        answer = api.client.post("/v1/jobs", json={"text": "你好。"}, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["status"]) == (200, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert "Retry-After" not in answer.headers
    audio = answer.json["audio"]
    assert (audio["duration_s"], audio["format"], audio["sample_rate"]) == (0.1, "wav", 16000)
    timing = answer.json["timing"]
    assert timing["total_ms"] >= timing["first_audio_ms"] >= timing["queued_ms"] >= 0
    assert timing["synthesis_ms"] == 10


def test_a_long_poll_ends_with_the_job_and_with_its_time(api: Any) -> None:
    job = api.submit()
    began = time.monotonic()
    assert api.client.get(f"/v1/jobs/{job}?wait=0.3").json["status"] == "queued"
    assert time.monotonic() - began > 0.25
    with api.working(api.finish):
        assert api.client.get(f"/v1/jobs/{job}?wait=60").json["status"] == "succeeded"


def test_a_failed_job_says_why(api: Any) -> None:
    job = api.submit()
    api.fail(EmptyAudio("Nothing here can be spoken."))
    shown = api.client.get(f"/v1/jobs/{job}").json
    assert shown["status"] == "failed"
    assert shown["error"] == {
        "code": "empty_audio",
        "message": "Nothing here can be spoken.",
        "retryable": False,
    }
    assert shown["audio"] is None


def test_jobs_are_listed_newest_first_in_pages(api: Any) -> None:
    ids = [api.submit(f"第{i}句", metadata={"n": str(i % 2)}) for i in range(5)]
    first = api.client.get("/v1/jobs?limit=3").json
    rest = api.client.get("/v1/jobs", query_string={"cursor": first["next_cursor"]}).json
    assert {job["id"] for job in first["jobs"] + rest["jobs"]} == set(ids)
    assert [job["created_at"] for job in first["jobs"] + rest["jobs"]] == sorted(
        (job["created_at"] for job in first["jobs"] + rest["jobs"]), reverse=True
    )
    assert rest["next_cursor"] is None


def test_a_list_is_filtered_by_status_voice_and_metadata(api: Any) -> None:
    kept = api.submit("一", metadata={"课": "一"})
    api.client.post(f"/v1/jobs/{api.submit('二')}/cancel")

    def listed(query: str) -> list[str]:
        return [job["id"] for job in api.client.get(f"/v1/jobs?{query}").json["jobs"]]

    assert listed("status=queued,running") == [kept]
    assert listed("metadata.课=一") == [kept]
    assert listed("voice=other") == []
    assert len(listed("voice=fake")) == 2


def test_cancel_is_idempotent_and_retry_runs_it_again(api: Any) -> None:
    job = api.submit()
    for _ in range(2):
        answer = api.client.post(f"/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json["status"]) == (200, "canceled")
    answer = api.client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.json["status"]) == (202, "queued")


def test_what_a_jobs_state_does_not_allow_is_a_409(api: Any) -> None:
    job = api.submit()
    answer = api.client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.json["code"]) == (409, "wrong_state")
    api.finish()
    assert api.client.post(f"/v1/jobs/{job}/cancel").status_code == 409


def test_a_deleted_job_is_gone(api: Any) -> None:
    job = api.submit()
    assert api.client.delete(f"/v1/jobs/{job}").status_code == 204
    assert api.client.get(f"/v1/jobs/{job}").status_code == 404
    assert api.client.delete(f"/v1/jobs/{job}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/audio"),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ],
)
def test_an_unknown_job_is_a_404(api: Any, method: str, path: str) -> None:
    answer = api.client.open(f"/v1/jobs/nothing{path}", method=method)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"text": " "}, "invalid_request", 422),
        ({"text": "好" * 200_001}, "text_too_long", 413),
        ({"text": "好", "voice": "nobody"}, "unknown_voice", 422),
        ({"text": "好", "emotion": "wistful"}, "unknown_emotion", 422),
        ({"text": "好", "webhook_url": "http://127.0.0.1/x"}, "forbidden_address", 422),
        ({"text": "好", "webhook_url": "http://[::ffff:10.0.0.1]/x"}, "forbidden_address", 422),
        ({"text": "好", "webhook_url": "file:///etc/passwd"}, "forbidden_address", 422),
        ({"text": "\ud800"}, "invalid_request", 422),
    ],
)
def test_bad_input_is_refused_and_leaves_no_job(
    api: Any, body: dict[str, object], code: str, status: int
) -> None:
    answer = api.client.post("/v1/jobs", data=json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert api.client.get("/v1/jobs").json["jobs"] == []


def test_an_unknown_parameter_is_refused(api: Any) -> None:
    assert api.client.post("/v1/jobs?dry=1", json={"text": "好"}).status_code == 422
    assert api.client.get(f"/v1/jobs/{api.submit()}?waitt=3").status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"text": "好", **{f"field{n}": n for n in range(5000)}},
        {"text": "好", "metadata": {f"{n}" * 70: "x" for n in range(1000, 3000)}},
        {"text": "好", "metadata": {f"n{n}": n for n in range(5000)}},
    ],
    ids=["fields", "metadata", "values"],
)
def test_a_body_of_nothing_but_faults_gets_a_short_answer(api: Any, body: dict[str, Any]) -> None:
    answer = api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 50
    assert len(answer.data) < len(json.dumps(body))


def test_metadata_and_keys_can_forge_no_header_and_no_field(api: Any) -> None:
    odd = {"__proto__": "x", "metadata.a": "b", "a.b": "c:d", "=cmd()": "../../etc", "‮": "{{7*7}}"}
    answer = api.client.post(
        "/v1/jobs", json={"text": "好", "metadata": odd}, headers={"Idempotency-Key": 'a:b|c"\\{}'}
    )
    assert (answer.status_code, answer.json["metadata"]) == (202, odd)
    for key in ("a b", "密", "", "x" * 256):
        headers = {"Idempotency-Key": key.encode().decode("latin-1")}
        assert api.client.post("/v1/jobs", json={"text": "好"}, headers=headers).status_code == 422
    for value in ("a\r\nSet-Cookie: x=1", "a\x00", "a\x85"):
        body = {"text": "好", "metadata": {"note": value}}
        assert api.client.post("/v1/jobs", json=body).status_code == 422
