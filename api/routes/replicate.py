"""Replicate's dialect: predictions with their events, and voices as models."""

from dataclasses import replace
from functools import partial
from typing import Any

from flask import Blueprint, Response, jsonify, request

from api.answers import IDEMPOTENCY, Operation, Parameters, current_farm, documented
from api.bodies import read_json
from api.dialects.replicate import (
    PredictionBody,
    PredictionList,
    VersionedBody,
    VersionView,
    VoiceModelView,
    WebhookKeyView,
    model_view,
    parse_prediction,
    prediction_events,
    read_cancel_after,
    read_wait,
    version_view,
    voice_of,
    voice_of_version,
)
from api.guards import current_tenant
from api.queries import check_known, read_page
from api.requests import check_idempotency_key, parse_body
from api.submission import rules_of, submit, wait_finished
from api.voices import Offer
from shared.errors import (
    BodyTooLarge,
    ForbiddenAddress,
    IdempotencyConflict,
    InvalidRequest,
    MalformedBody,
    NotFound,
    NoVoiceReady,
    TextTooLong,
    Unavailable,
    UnknownEmotion,
    UnknownModel,
    UnsupportedMediaType,
    WrongState,
)
from shared.predictions import PredictionStatus, PredictionView, prediction_view
from shared.schemas import Job
from shared.tenants import Scope

replicate = Blueprint("replicate", __name__)

CREATE_HEADERS: Parameters = {
    **IDEMPOTENCY,
    "header:Prefer": {"type": "string", "description": "wait or wait=N: answer when done"},
    "header:Cancel-After": {"type": "string", "description": "A deadline, such as 90, 30s, 1m30s"},
}
CREATE_ERRORS = (
    InvalidRequest,
    UnknownModel,
    UnknownEmotion,
    ForbiddenAddress,
    TextTooLong,
    BodyTooLarge,
    MalformedBody,
    UnsupportedMediaType,
    IdempotencyConflict,
    NoVoiceReady,
)


def _offer() -> Offer:
    voices = current_farm().voices
    voices.refresh()
    return voices.offer


def _answer(job: Job, status: int = 200, shown: PredictionStatus | None = None) -> Response:
    response = jsonify(prediction_view(job, current_farm().links, shown))
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def _create(raw: dict[str, Any], voice: str) -> Response:
    """Submit; a caller that waited in vain sees `starting`, by which its client knows to go on."""
    farm = current_farm()
    key = check_idempotency_key(request.headers.get("Idempotency-Key"))
    deadline_s = read_cancel_after(request.headers.get("Cancel-After"))
    job = submit(farm, parse_prediction(raw, voice, rules_of(farm), deadline_s), key).job
    wait_s = read_wait(request.headers.get("Prefer"), farm.settings.max_wait_s)
    if wait_s is None:
        return _answer(job, 201)
    job = wait_finished(farm, job, wait_s)
    response = _answer(job, 201) if job.finished else _answer(job, 202, "starting")
    response.headers["Preference-Applied"] = f"wait={wait_s}"
    return response


@replicate.post("/v1/predictions")
@documented(
    Operation(
        summary="Replicate: speak, by a version",
        tag="replicate",
        scope=Scope.SUBMIT,
        body=VersionedBody,
        answers={201: PredictionView, 202: PredictionView},
        parameters=CREATE_HEADERS,
        errors=CREATE_ERRORS,
    )
)
def create_prediction() -> Response:
    check_known(request.args)
    raw = read_json(request)
    given = {name: one for name, one in raw.items() if one is not None}
    version = parse_body(VersionedBody, given).version
    rest = {name: one for name, one in raw.items() if name != "version"}
    return _create(rest, voice_of_version(version, _offer()))


@replicate.post("/v1/models/<owner>/<model>/predictions")
@documented(
    Operation(
        summary="Replicate: speak, by a model",
        tag="replicate",
        scope=Scope.SUBMIT,
        body=PredictionBody,
        answers={201: PredictionView, 202: PredictionView},
        parameters=CREATE_HEADERS,
        errors=CREATE_ERRORS,
    )
)
def create_model_prediction(owner: str, model: str) -> Response:
    check_known(request.args)
    return _create(read_json(request), voice_of(owner, model, _offer()))


@replicate.get("/v1/predictions")
@documented(
    Operation(
        summary="Replicate: list predictions, newest first",
        tag="replicate",
        scope=Scope.READ,
        answers={200: PredictionList},
        parameters={"query:cursor": {"type": "string", "description": "Part of `next`"}},
        errors=(InvalidRequest,),
    )
)
def list_predictions() -> Response:
    farm = current_farm()
    check_known(request.args, "cursor")
    asked = read_page(request.args)
    only = replace(asked.only, dialect="replicate")
    page = farm.jobs.page(current_tenant(), cursor=asked.cursor, limit=asked.limit, only=only)
    path = f"/v1/predictions?cursor={page.next_cursor}"
    following = farm.links.address(path) if page.next_cursor else None
    views = [prediction_view(job, farm.links) for job in page.jobs]
    return jsonify(previous=None, next=following, results=views)


@replicate.get("/v1/predictions/<prediction_id>")
@documented(
    Operation(
        summary="Replicate: show a prediction",
        tag="replicate",
        scope=Scope.READ,
        answers={200: PredictionView},
        errors=(NotFound,),
    )
)
def show_prediction(prediction_id: str) -> Response:
    return _answer(current_farm().jobs.job(current_tenant(), prediction_id))


@replicate.post("/v1/predictions/<prediction_id>/cancel")
@documented(
    Operation(
        summary="Replicate: cancel a prediction; one that has ended stays as it is",
        tag="replicate",
        scope=Scope.SUBMIT,
        answers={200: PredictionView},
        errors=(NotFound,),
    )
)
def cancel_prediction(prediction_id: str) -> Response:
    jobs = current_farm().jobs
    try:
        return _answer(jobs.cancel(current_tenant(), prediction_id))
    except WrongState:
        return _answer(jobs.job(current_tenant(), prediction_id))


@replicate.get("/v1/predictions/<prediction_id>/stream")
@documented(
    Operation(
        summary="Replicate: a prediction's logs, output and end as server-sent events",
        tag="replicate",
        scope=Scope.READ,
        answers={200: "text/event-stream"},
        errors=(NotFound, Unavailable),
    )
)
def stream_prediction(prediction_id: str) -> Response:
    farm = current_farm()
    job = farm.jobs.job(current_tenant(), prediction_id)
    farm.slots.acquire(job.tenant)
    response = Response(prediction_events(farm, job), content_type="text/event-stream")
    response.call_on_close(partial(farm.slots.release, job.tenant))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


@replicate.get("/v1/models/<owner>/<model>")
@documented(
    Operation(
        summary="Replicate: a voice as a model",
        tag="replicate",
        scope=Scope.READ,
        answers={200: VoiceModelView},
        errors=(UnknownModel,),
    )
)
def show_model(owner: str, model: str) -> Response:
    offer = _offer()
    name = voice_of(owner, model, offer)
    address = current_farm().links.address(f"/v1/models/{owner}/{name}")
    return jsonify(model_view(name, offer, address).model_dump())


@replicate.get("/v1/models/<owner>/<model>/versions/<version>")
@documented(
    Operation(
        summary="Replicate: a voice's one version",
        tag="replicate",
        scope=Scope.READ,
        answers={200: VersionView},
        errors=(UnknownModel,),
    )
)
def show_version(owner: str, model: str, version: str) -> Response:
    offer = _offer()
    name = voice_of(owner, model, offer)
    voice_of_version(f"{name}:{version}", offer)
    return jsonify(version_view(name).model_dump())


@replicate.get("/v1/webhooks/default/secret")
@documented(
    Operation(
        summary="Replicate: the secret that signs messages",
        tag="replicate",
        scope=Scope.SUBMIT,
        answers={200: WebhookKeyView},
    )
)
def show_webhook_key() -> Response:
    response = jsonify(key=current_farm().keys.webhook_secrets(current_tenant())[0])
    response.headers["Cache-Control"] = "no-store"
    return response
