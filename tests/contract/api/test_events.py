"""Server-sent events of a job."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.routes.events import follow_events, followed_job

pytestmark = pytest.mark.redis


def read(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Events as (name, data); comments and the retry hint left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def follow(api: Any, job: str) -> tuple[Any, Iterator[bytes]]:
    """An open stream whose first event has been sent, and its parts from there on."""
    stream = api.client.get(f"/v1/jobs/{job}/events", buffered=False)
    parts = stream.iter_encoded()
    assert b"retry: 2000" in next(parts)
    return stream, parts


def test_events_tell_every_state_and_end_with_the_job(api: Any) -> None:
    stream, parts = follow(api, api.submit())
    assert stream.content_type.startswith("text/event-stream")
    (first,) = read(next(parts).decode())
    assert (first[0], first[1]["status"]) == ("state", "queued")
    api.finish()
    told = read(b"".join(parts).decode())
    assert (told[-1][0], told[-1][1]["status"]) == ("state", "succeeded")
    assert told[-1][1]["audio"]["size_bytes"] > 0
    stream.close()


def test_a_finished_job_tells_its_end_at_once_whatever_was_seen(api: Any) -> None:
    job = api.submit()
    api.finish()
    for last in ("", "0", "999999", "not a number", "9" * 40):
        answer = api.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last})
        assert [data["status"] for _, data in read(answer.text)] == ["succeeded"]


def test_what_was_seen_is_not_told_again(api: Any) -> None:
    job = api.submit()
    stream, parts = follow(api, job)
    number = next(parts).decode().split("id: ")[1].split("\n")[0]
    stream.close()
    with api.working(api.finish):
        answer = api.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": number})
        told = read(answer.text)
    assert "queued" not in [data["status"] for _, data in told]
    assert told[-1][1]["status"] == "succeeded"


def test_a_deleted_job_ends_its_stream_with_an_error(api: Any) -> None:
    job = api.submit()
    stream, parts = follow(api, job)
    next(parts)
    assert api.client.delete(f"/v1/jobs/{job}").status_code == 204
    told = read(b"".join(parts).decode())
    assert [(name, data.get("code")) for name, data in told] == [("error", "not_found")]
    stream.close()


def test_a_closed_stream_gives_its_place_back(api: Any) -> None:
    slots = api.app.extensions["ttsfarm"].slots
    job = api.submit()
    stream = api.client.get(f"/v1/jobs/{job}/events", buffered=False)
    assert slots.taken == 1
    stream.close()
    assert slots.taken == 0


def test_silence_is_broken_by_a_comment(api: Any) -> None:
    farm = api.app.extensions["ttsfarm"]
    job = farm.jobs.job("default", api.submit())
    with api.app.app_context():
        parts = follow_events(farm, followed_job(farm, job), job, job.version, heartbeat_s=0.1)
        assert [next(parts), next(parts)] == ["retry: 2000\n\n", ": still here\n\n"]
        parts.close()
