"""Replicate's calls: a prediction's body as a job, the farm's voices as models, events."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from api.farm import Farm
from api.requests import (
    Asked,
    Fault,
    JobBody,
    Rules,
    describe,
    fingerprint,
    parse_body,
    parse_job,
    raise_faults,
)
from api.voices import Offer
from shared.errors import FarmError, UnknownModel
from shared.predictions import OWNER, PredictionView, prediction_view, version_id
from shared.schemas import Job
from shared.states import JobStatus
from shared.views import View

DEFAULT_WAIT_S = 60
HEARTBEAT_S = 15.0
SHORTEST_S, LONGEST_S = 5, 86_400
# Theirs is `input` without these; the model names the voice, the body the webhook.
NOT_INPUT = ("id", "voice", "webhook_url", "webhook_events", "deadline_s")
INPUT = tuple(name for name in JobBody.model_fields if name not in NOT_INPUT)
PREFERS = re.compile(r'(?:^|[,;])\s*wait(?:\s*=\s*"?(\d{1,9})"?)?\s*(?:[,;]|$)', re.I | re.ASCII)
DURATION = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?\Z", re.ASCII)
UNITS_S = (3600, 60, 1)
Event = Literal["start", "output", "logs", "completed"]
FARM_EVENTS: dict[str, str] = {"start": "started", "completed": "completed", "logs": "logs"}


class PredictionBody(BaseModel):
    """The body of `POST /v1/models/{owner}/{model}/predictions`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    input: dict[str, Any] = Field(description="text or ssml, and what else POST /v1/jobs takes")
    webhook: str | None = Field(default=None, max_length=2000)
    webhook_events_filter: Annotated[list[Event], FailFast()] = Field(
        default=["output", "completed"], min_length=1
    )
    webhook_completed: str | None = Field(default=None, description="The older webhook")
    stream: bool | None = Field(default=None, description="Every prediction can be streamed")


class VersionedBody(PredictionBody):
    """The body of `POST /v1/predictions`."""

    version: str = Field(description="A version's id, owner/model, or owner/model:version")


class PredictionList(View):
    """A page of predictions, newest first."""

    previous: str | None = Field(description="Always null: pages go one way")
    next: str | None = Field(description="The address of the next page; null: last")
    results: list[PredictionView]


class WebhookKeyView(View):
    key: str


class VersionView(View):
    id: str
    created_at: str
    cog_version: str
    openapi_schema: dict[str, Any] = Field(description="Input and Output, as JSON schemas")


class VoiceModelView(View):
    """A voice as a model of Replicate."""

    url: str
    owner: str
    name: str
    description: str
    visibility: str
    github_url: None = None
    paper_url: None = None
    license_url: None = None
    run_count: int
    cover_image_url: None = None
    default_example: None = None
    latest_version: VersionView


def _unknown(name: str, offer: Offer) -> UnknownModel:
    known = [f"{OWNER}/{one}" for one in offer.names]
    message = f"There is no model {name[:120]!r}; known: {', '.join(known)}."
    return UnknownModel(message, models=known)


def voice_of(owner: str, name: str, offer: Offer) -> str:
    """The voice behind a model; raises `UnknownModel` with those there are."""
    if owner != OWNER or name not in offer.names:
        raise _unknown(f"{owner}/{name}", offer)
    return name


def voice_of_version(given: str, offer: Offer) -> str:
    """The voice behind `version`: an id, a name, `owner/name` or `owner/name:id`."""
    model, _, version = given.rpartition(":") if ":" in given else (given, "", "")
    ids = {version_id(name): name for name in offer.names}
    name = ids.get(model) or model.removeprefix(f"{OWNER}/")
    if name not in offer.names or (version and ids.get(version) != name):
        raise _unknown(given, offer)
    return name


def parse_prediction(
    raw: dict[str, Any], voice: str, rules: Rules, deadline_s: int | None
) -> Asked:
    """The job a prediction's body asks for; `raw` is without its version."""
    body = parse_body(PredictionBody, {name: one for name, one in raw.items() if one is not None})
    if wrong := [name for name in body.input if name not in INPUT]:
        expected = f"no such input; known are {', '.join(INPUT)}"
        given = describe("text", body.input[wrong[0]])
        raise_faults([Fault(field=f"input.{wrong[0][:80]}", given=given, expected=expected)])
    webhook = body.webhook or body.webhook_completed
    values = {**body.input, "voice": voice, "webhook_url": webhook, "deadline_s": deadline_s}
    asked = parse_job(values, rules)
    events = _farm_events(body.webhook_events_filter if body.webhook else ["completed"])
    request = replace(asked.request, dialect="replicate", webhook_events=events)
    return replace(
        asked, request=request, fingerprint=fingerprint({"replicate": raw, "voice": voice})
    )


def _farm_events(asked: list[Event]) -> tuple[str, ...]:
    """The one output comes with the end, so a message of its own only where that is not sent."""
    found = [FARM_EVENTS[one] for one in asked if one in FARM_EVENTS]
    if "output" in asked and "completed" not in asked:
        found.append("output")
    return tuple(dict.fromkeys(found))


def read_wait(header: str | None, max_wait_s: int) -> int | None:
    """Seconds of `Prefer: wait` or `wait=N`, `max_wait_s` at most; None where there is none."""
    found = PREFERS.search(header or "")
    return min(int(found[1] or DEFAULT_WAIT_S), max_wait_s) if found else None


def read_cancel_after(header: str | None) -> int | None:
    """Seconds of `Cancel-After`, such as `90`, `30s`, `1m30s` or `2h`; None where there is none."""
    if header is None:
        return None
    found = DURATION.match(header.strip())
    parts = found.groups() if found else ()
    seconds = sum(int(n or 0) * unit for n, unit in zip(parts, UNITS_S, strict=False))
    if not SHORTEST_S <= seconds <= LONGEST_S:
        expected = f"must be {SHORTEST_S}s to {LONGEST_S // 3600}h, such as 90, 30s or 1m30s"
        given = describe("Cancel-After", header)
        raise_faults([Fault(field="Cancel-After", given=given, expected=expected)])
    return seconds


def version_view(voice: str) -> VersionView:
    """A voice's one version, with what its input and output are."""
    fields = JobBody.model_json_schema()["properties"]
    schemas = {
        "Input": {"type": "object", "properties": {name: fields[name] for name in INPUT}},
        "Output": {"type": "string", "format": "uri"},
    }
    return VersionView(
        id=version_id(voice),
        created_at="1970-01-01T00:00:00Z",
        cog_version="0.9.0",  # from 0.3.9 on their client takes the schemas as they are
        openapi_schema={"openapi": "3.1.0", "components": {"schemas": schemas}},
    )


def model_view(name: str, offer: Offer, address: str) -> VoiceModelView:
    """A voice as a model."""
    return VoiceModelView(
        url=address,
        owner=OWNER,
        name=name,
        description=offer.targets(name)[0][0].voice.description,
        visibility="private",
        run_count=0,
        latest_version=version_view(name),
    )


def _event(name: str, data: str, job: Job) -> str:
    return f"event: {name}\nid: {job.version}\ndata: {data}\n\n"


def _ending(job: Job, output: str | None) -> Iterator[str]:
    if job.status is JobStatus.SUCCEEDED:
        yield _event("output", output or "", job)
        yield _event("done", "{}", job)
    elif job.status is JobStatus.FAILED:
        detail = job.error.message if job.error else "the prediction failed"
        yield _event("error", json.dumps({"detail": detail}, ensure_ascii=False), job)
        yield _event("done", '{"reason": "error"}', job)
    else:
        yield _event("done", '{"reason": "canceled"}', job)


def prediction_events(farm: Farm, job: Job, heartbeat_s: float = HEARTBEAT_S) -> Iterator[str]:
    """A prediction's events to its end: `logs` as it goes on, then `output` or `error`, `done`."""
    told, spoke_at = "", time.monotonic()
    try:
        while not farm.stopping():
            view = prediction_view(job, farm.links)
            if view["logs"] != told:
                told, spoke_at = view["logs"], time.monotonic()
                yield _event("logs", told.strip(), job)
            if job.finished:
                yield from _ending(job, view["output"])
                return
            if time.monotonic() - spoke_at > heartbeat_s:
                spoke_at = time.monotonic()
                yield ": still here\n\n"
            farm.watcher.wait(job.id, job.version, heartbeat_s)
            job = farm.jobs.job(job.tenant, job.id)
    except FarmError as error:  # the status line is sent; the stream is where to say it
        yield _event("error", json.dumps({"detail": error.message}, ensure_ascii=False), job)
