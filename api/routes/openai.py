"""OpenAI's dialect: speech with its formats and streams, models, voices."""

from collections.abc import Iterator
from functools import partial
from typing import cast

from flask import Blueprint, Response, jsonify, request

from api.answers import IDEMPOTENCY, Operation, current_farm, documented
from api.bodies import read_json
from api.dialects.openai import (
    SpeechBody,
    SpeechFailure,
    SpeechModelList,
    SpeechModelView,
    SpeechVoiceList,
    check_model,
    model_names,
    parse_speech,
    speech_events,
    voice_list,
)
from api.farm import Farm
from api.objects import send_object
from api.queries import check_known
from api.requests import check_idempotency_key
from api.routes.audio import download_of
from api.streaming import send_stream
from api.submission import finish_or_raise, rules_of, submit, why_silent
from shared.errors import FarmError, StreamingMissing, Unavailable, WrongState
from shared.schemas import Job
from shared.tenants import Scope

openai = Blueprint("openai", __name__)

REFUSED = {401: SpeechFailure, 403: SpeechFailure, 429: SpeechFailure, 503: SpeechFailure}
FAILED = dict.fromkeys((400, 404, 413, 415, 500, 504), SpeechFailure)
FILE_HEADERS = ("Content-Length", "Content-Disposition", "Accept-Ranges", "ETag")


def _sound(farm: Farm, job: Job) -> Response:
    """The job's audio while it is rendered; the finished file where that can not be."""
    try:
        return send_stream(farm, job, 0)
    except (Unavailable, StreamingMissing, WrongState):
        job = farm.jobs.job(job.tenant, job.id)
    return send_object(farm.store, download_of(finish_or_raise(farm, job)))


def _why_cut(farm: Farm, job: Job) -> FarmError:
    try:
        job = farm.jobs.job(job.tenant, job.id)
    except FarmError as error:
        return error
    return why_silent(job) if job.finished and job.audio is None else Unavailable()


@openai.post("/v1/audio/speech")
@documented(
    Operation(
        summary="OpenAI: speak a text, the audio sent while it is rendered",
        tag="openai",
        scope=Scope.SUBMIT,
        body=SpeechBody,
        parameters=IDEMPOTENCY,
        answers={200: ("audio/*", "text/event-stream"), **FAILED, **REFUSED},
    )
)
def create_speech() -> Response:
    farm = current_farm()
    check_known(request.args)
    key = check_idempotency_key(request.headers.get("Idempotency-Key"))
    raw = read_json(request)
    farm.voices.find(None)
    body, asked = parse_speech(raw, rules_of(farm), farm.voices.offer)
    job = submit(farm, asked, key).job
    response = _sound(farm, job)
    response.headers["Content-Location"] = f"/v1/jobs/{job.id}/audio"
    if body.response_format == "pcm":
        response.content_type = "audio/pcm"
    if body.stream_format == "sse":
        chunks = cast(Iterator[bytes], response.response)
        response.response = speech_events(chunks, job, partial(_why_cut, farm, job))
        response.content_type = "text/event-stream"
        for name in FILE_HEADERS:
            response.headers.pop(name, None)
    return response


@openai.get("/v1/models")
@documented(
    Operation(
        summary="OpenAI: the models that speech may name",
        tag="openai",
        scope=Scope.READ,
        answers={200: SpeechModelList, **REFUSED},
    )
)
def list_models() -> Response:
    farm = current_farm()
    farm.voices.refresh()
    views = [SpeechModelView(id=name) for name in model_names(farm.voices.offer)]
    return jsonify(SpeechModelList(data=views).model_dump())


@openai.get("/v1/models/<model>")
@documented(
    Operation(
        summary="OpenAI: one model",
        tag="openai",
        scope=Scope.READ,
        answers={200: SpeechModelView, 404: SpeechFailure, **REFUSED},
    )
)
def show_model(model: str) -> Response:
    farm = current_farm()
    farm.voices.refresh()
    check_model(model, farm.voices.offer)
    return jsonify(SpeechModelView(id=model).model_dump())


@openai.get("/v1/audio/voices")
@documented(
    Operation(
        summary="OpenAI: the names that speech takes as its voice",
        tag="openai",
        scope=Scope.READ,
        answers={200: SpeechVoiceList, **REFUSED},
    )
)
def list_voices() -> Response:
    farm = current_farm()
    farm.voices.refresh()
    return jsonify(voice_list(farm.voices.offer, farm.voices.default).model_dump())
