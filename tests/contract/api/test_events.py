"""Server-sent events of a job."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.redis


def read(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Events as (name, data); comments and the retry hint left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_every_state_and_end_with_the_job(api: Any) -> None:
    job = api.submit()
    with api.working(api.finish):
        answer = api.client.get(f"/v1/jobs/{job}/events")
        told = read(answer.text)
    assert answer.content_type.startswith("text/event-stream")
    assert told[0][0] == "state"
    assert (told[0][1]["status"], told[-1][1]["status"]) == ("queued", "succeeded")
    assert told[-1][1]["audio"]["size_bytes"] > 0
    assert {name for name, _ in told} <= {"state", "progress"}


def test_a_finished_job_tells_its_end_at_once_whatever_was_seen(api: Any) -> None:
    job = api.submit()
    api.finish()
    for last in ("", "0", "999999", "not a number", "9" * 40):
        answer = api.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last})
        assert [data["status"] for _, data in read(answer.text)] == ["succeeded"]


def test_what_was_seen_is_not_told_again(api: Any) -> None:
    job = api.submit()
    stream = api.client.get(f"/v1/jobs/{job}/events", buffered=False)
    seen = next(part for part in stream.iter_encoded() if b"id: " in part)
    stream.close()
    number = seen.decode().split("id: ")[1].split("\n")[0]
    with api.working(api.finish):
        answer = api.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": number})
    assert "queued" not in [data["status"] for _, data in read(answer.text)]


def test_a_deleted_job_ends_its_stream_with_an_error(api: Any) -> None:
    job = api.submit()
    with api.working(
        lambda: api.client.application.extensions["ttsfarm"].jobs.delete("default", job)
    ):
        told = read(api.client.get(f"/v1/jobs/{job}/events").text)
    assert told[-1][0] in ("error", "state")
    assert told[-1][1].get("code") == "not_found" or told[-1][1]["status"] == "canceled"


def test_a_closed_stream_gives_its_place_back(api: Any) -> None:
    slots = api.app.extensions["ttsfarm"].slots
    job = api.submit()
    stream = api.client.get(f"/v1/jobs/{job}/events", buffered=False)
    assert slots.taken == 1
    stream.close()
    assert slots.taken == 0
