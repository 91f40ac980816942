"""What a call makes of a farm's answers; nothing is sent, and only milliseconds pass."""

import json
import time
from email.message import Message
from typing import Any

import pytest

from ttsfarm_client import FarmProblem, Job
from ttsfarm_client.calls import Answer, Call, Calls, Flow

AUDIO = {"url": None, "duration_s": 1.0, "size_bytes": 9, "sha256": "00"}


def view(status: str) -> dict[str, Any]:
    return {
        "id": "one",
        "status": status,
        "request": {"voice": "fake"},
        "characters": 2,
        "created_at": "2026-01-01T00:00:00.000Z",
        "progress": {"segments_done": 0, "segments_total": None, "audio_s": 0.0},
        "timing": {"total_ms": None},
        "audio": AUDIO if status == "succeeded" else None,
        "error": None,
    }


def answered(status: int, fields: dict[str, Any], **headers: str) -> Answer:
    head = Message()
    for name, value in headers.items():
        head[name.replace("_", "-")] = value
    return Answer(status=status, headers=head, body=json.dumps(fields).encode())


def path_of(step: Call | float) -> str:
    assert isinstance(step, Call)
    return step.path


REFUSED = answered(409, {"code": "wrong_state", "detail": "The job is queued."})


def carry_out(flow: Flow[Job], answer: Answer, longest_s: float) -> None:
    """Give every request this answer; no pause may be longer than `longest_s`."""
    step = next(flow)
    while True:
        if isinstance(step, Call):
            step = flow.send(answer)
            continue
        assert step <= longest_s
        until_s = time.monotonic() + step
        while time.monotonic() < until_s:
            pass
        step = next(flow)


def test_a_wait_ends_in_time_though_the_farm_asks_for_patience() -> None:
    flow = Calls()._wait(Job.read(view("queued")), None, 0.05)
    with pytest.raises(TimeoutError, match="one was still queued"):
        carry_out(flow, answered(503, {}, Retry_After="50"), 0.05)


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
def test_a_retry_whose_answer_was_lost_is_no_error(status: str) -> None:
    flow = Calls()._retry("one")
    assert path_of(next(flow)) == "/v1/jobs/one/retry"
    assert isinstance(flow.throw(ConnectionResetError()), float)
    assert path_of(next(flow)) == "/v1/jobs/one/retry"
    assert path_of(flow.send(REFUSED)) == "/v1/jobs/one"
    with pytest.raises(StopIteration) as ended:
        flow.send(answered(200, view(status)))
    assert ended.value.value.status == status


def test_a_job_that_was_retried_too_often_is_refused() -> None:
    flow = Calls()._retry("one")
    next(flow)
    flow.send(REFUSED)
    with pytest.raises(FarmProblem, match="The job is queued"):
        flow.send(answered(200, view("failed")))
