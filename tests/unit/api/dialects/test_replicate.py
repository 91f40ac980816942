"""Replicate's body and headers in the farm's own terms."""

import re
from dataclasses import replace

import pytest

from api.dialects.replicate import (
    INPUT,
    parse_prediction,
    read_cancel_after,
    read_wait,
    voice_of,
    voice_of_version,
)
from api.requests import Asked, Rules
from api.voices import VoiceDirectory
from shared.errors import InvalidRequest, UnknownModel
from shared.predictions import prediction_view, version_id
from shared.schemas import ErrorInfo
from shared.settings import Settings
from shared.states import JobStatus
from tests.unit.api.dialects.test_openai import OFFER
from tests.unit.shared.test_views import DONE, LINKS, QUEUED

PROGRESS = re.compile(r"^\s*(?P<percentage>\d+)%\s*\|.+?\|\s*(?P<current>\d+)\/(?P<total>\d+)")


def parse(deadline_s: int | None = None, **changes: object) -> Asked:
    rules = Rules(
        settings=Settings(),
        find_voice=VoiceDirectory(lambda: OFFER, "fake").find,
        check_address=lambda url: None,
    )
    return parse_prediction({"input": {"text": "你好。"}, **changes}, "other", rules, deadline_s)


def test_the_input_is_the_job() -> None:
    asked = parse(30, input={"text": "你好。", "emotion": "happy", "format": "mp3", "speed": 1.5})
    request = asked.request
    assert (asked.text, request.voice, request.emotion) == ("你好。", "other", "happy")
    assert (request.format, request.speed, request.deadline_s) == ("mp3", 1.5, 30)
    assert request.dialect == "replicate"


@pytest.mark.parametrize(
    ("asked", "events"),
    [
        (None, ("completed",)),
        (["start", "completed"], ("started", "completed")),
        (["output"], ("output",)),
        (["output", "logs"], ("logs", "output")),
        (["start", "output", "logs", "completed"], ("started", "logs", "completed")),
    ],
)
def test_a_filter_says_which_events_are_sent(
    asked: list[str] | None, events: tuple[str, ...]
) -> None:
    request = parse(webhook="https://example.com/hook", webhook_events_filter=asked).request
    assert (request.webhook_url, request.webhook_events) == ("https://example.com/hook", events)


def test_the_older_webhook_is_told_of_the_end() -> None:
    request = parse(webhook_completed="https://example.com/hook").request
    assert (request.webhook_url, request.webhook_events) == (
        "https://example.com/hook", ("completed",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input": {"text": "好", "voice": "fake"}}, "input.voice"),
        ({"input": {"prompt": "好"}}, "input.prompt"),
        ({"input": {}}, "text"),
        ({"input": "好"}, "input"),
        ({"webhook_events_filter": ["finished"]}, "webhook_events_filter.0"),
        ({"seed": 1}, "seed"),
    ],
)
def test_what_is_not_known_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**changes)
    assert raised.value.details["errors"][0]["field"] == field
    assert "好" not in str(raised.value.details)


@pytest.mark.parametrize(
    "given",
    ["other", "ttsfarm/other", version_id("other"), f"ttsfarm/other:{version_id('other')}"],
)
def test_a_version_names_a_voice_in_four_ways(given: str) -> None:
    assert voice_of_version(given, OFFER) == "other"


@pytest.mark.parametrize(
    "given", ["nobody", "suno/bark", f"ttsfarm/fake:{version_id('other')}", "ttsfarm/fake:1", ""]
)
def test_an_unknown_version_names_those_there_are(given: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        voice_of_version(given, OFFER)
    assert raised.value.details["models"] == ["ttsfarm/fake", "ttsfarm/nova", "ttsfarm/other"]
    with pytest.raises(UnknownModel):
        voice_of("suno", "other", OFFER)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait", 30), ("wait=7", 7), ("wait=90", 30), ("respond-async", None), (None, None),
     ("respond-async, wait=5", 5), ("waiting", None)],
)  # fmt: skip
def test_prefer_wait(header: str | None, seconds: int | None) -> None:
    assert read_wait(header, 30) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("90", 90), ("30s", 30), ("1m", 60), ("1m30s", 90), ("2h", 7200), (None, None)],
)
def test_cancel_after(header: str | None, seconds: int | None) -> None:
    assert read_cancel_after(header) == seconds


@pytest.mark.parametrize("header", ["", "4s", "25h", "soon", "1.5s", "-5", "30s1m"])
def test_a_deadline_out_of_bounds_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        read_cancel_after(header)


@pytest.mark.parametrize(
    ("status", "shown"),
    [("queued", "starting"), ("running", "processing"), ("succeeded", "succeeded"),
     ("failed", "failed"), ("canceled", "canceled"), ("expired", "canceled")],
)  # fmt: skip
def test_statuses_are_theirs(status: str, shown: str) -> None:
    assert prediction_view(replace(QUEUED, status=JobStatus(status)), LINKS)["status"] == shown


def test_a_finished_prediction_has_its_output_and_times() -> None:
    view = prediction_view(DONE, LINKS)
    assert view["output"].startswith("https://farm.example/v1/files/jobs/j1/audio.mp3?")
    assert view["metrics"] == {"predict_time": 0.99, "total_time": 1.0}
    assert (view["model"], view["version"]) == ("ttsfarm/fake", version_id("fake"))
    assert view["urls"]["cancel"] == "https://farm.example/v1/predictions/j1/cancel"
    found = PROGRESS.match(view["logs"])
    assert found
    assert found.groups() == ("100", "2", "2")


def test_a_prediction_repeats_all_of_its_input_but_the_text() -> None:
    request = replace(QUEUED.request, metadata={"order": "7"}, captions=True, cache=False)
    shown = prediction_view(replace(QUEUED, request=request), LINKS)["input"]
    assert set(shown) == set(INPUT) - {"text", "ssml"}
    assert (shown["metadata"], shown["captions"], shown["cache"]) == ({"order": "7"}, True, False)


def test_an_unfinished_prediction_has_neither() -> None:
    error = ErrorInfo(code="bad_audio", message="It is silent.", retryable=True)
    view = prediction_view(replace(QUEUED, status=JobStatus.FAILED, error=error), LINKS)
    assert (view["output"], view["error"]) == (None, "It is silent.")
    assert (view["metrics"], view["logs"]) == ({}, "")
