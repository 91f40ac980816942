"""/v1/jobs: submit, show, list, cancel, retry, delete."""

from flask import Blueprint, Response, jsonify, request

from api.answers import IDEMPOTENCY, Operation, current_farm, documented, job_answer
from api.bodies import read_json
from api.guards import current_caller, current_tenant
from api.queries import LIMIT_SCHEMA, check_known, read_page, read_prefer, read_wait
from api.requests import JobBody, check_idempotency_key, parse_job
from api.submission import rules_of, submit, wait_finished
from api.views import JobList
from shared.errors import (
    BodyTooLarge,
    FarmCrowded,
    ForbiddenAddress,
    IdempotencyConflict,
    InvalidRequest,
    MalformedBody,
    NotFound,
    NotReplicated,
    NoVoiceReady,
    StateStoreFull,
    TextTooLong,
    UnknownEmotion,
    UnknownVoice,
    UnsupportedMediaType,
    WrongState,
)
from shared.states import JobStatus
from shared.tenants import Scope
from shared.views import JobView, job_view

jobs = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

WAIT = {"type": "number", "minimum": 0, "description": "Seconds to wait for the job to end"}


@jobs.post("")
@documented(
    Operation(
        summary="Submit a job",
        tag="jobs",
        scope=Scope.SUBMIT,
        body=JobBody,
        answers={202: JobView, 200: JobView},
        parameters={
            **IDEMPOTENCY,
            "header:Prefer": {"type": "string", "description": "wait=N: answer when done"},
        },
        errors=(
            InvalidRequest,
            UnknownVoice,
            UnknownEmotion,
            ForbiddenAddress,
            TextTooLong,
            BodyTooLarge,
            MalformedBody,
            UnsupportedMediaType,
            IdempotencyConflict,
            FarmCrowded,
            NoVoiceReady,
            StateStoreFull,
            NotReplicated,
        ),
    )
)
def post_job() -> Response:
    farm = current_farm()
    check_known(request.args)
    key = check_idempotency_key(request.headers.get("Idempotency-Key"))
    asked = parse_job(read_json(request), rules_of(farm))
    job = submit(farm, asked, key).job
    wait_s = read_prefer(request.headers.get("Prefer"), farm.settings.max_wait_s)
    job = wait_finished(farm, job, wait_s or 0)
    response = job_answer(job, 200 if job.finished else 202)
    response.headers["Location"] = farm.links.job(job.id)
    if wait_s is not None:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    return response


@jobs.get("")
@documented(
    Operation(
        summary="List jobs, newest first",
        tag="jobs",
        scope=Scope.READ,
        answers={200: JobList},
        parameters={
            "query:cursor": {"type": "string", "description": "next_cursor of the page before"},
            "query:limit": LIMIT_SCHEMA,
            "query:status": {
                "type": "array",
                "items": {"enum": [status.value for status in JobStatus]},
            },
            "query:voice": {"type": "string"},
            "query:batch": {"type": "string", "description": "Jobs of this batch"},
            "query:metadata.<name>": {"type": "string", "description": "Jobs with this pair"},
        },
        errors=(InvalidRequest,),
    )
)
def list_jobs() -> Response:
    farm = current_farm()
    asked = read_page(request.args)
    page = farm.jobs.page(current_tenant(), cursor=asked.cursor, limit=asked.limit, only=asked.only)
    return jsonify(
        jobs=[job_view(job, farm.links) for job in page.jobs], next_cursor=page.next_cursor
    )


@jobs.get("/<job_id>")
@documented(
    Operation(
        summary="Show a job, at once or when it ends",
        tag="jobs",
        scope=Scope.READ,
        answers={200: JobView},
        parameters={"query:wait": WAIT},
        errors=(NotFound, InvalidRequest),
    )
)
def show_job(job_id: str) -> Response:
    farm = current_farm()
    wait_s = read_wait(request.args, farm.settings.max_wait_s)
    job = farm.jobs.job(current_tenant(), job_id)
    return job_answer(wait_finished(farm, job, wait_s))


@jobs.post("/<job_id>/cancel")
@documented(
    Operation(
        summary="Cancel a job",
        tag="jobs",
        scope=Scope.SUBMIT,
        answers={200: JobView},
        errors=(NotFound, WrongState),
    )
)
def cancel_job(job_id: str) -> Response:
    return job_answer(current_farm().jobs.cancel(current_tenant(), job_id))


@jobs.post("/<job_id>/retry")
@documented(
    Operation(
        summary="Run what is missing of a failed, canceled or expired job again",
        tag="jobs",
        scope=Scope.SUBMIT,
        answers={202: JobView},
        errors=(NotFound, WrongState, TextTooLong, StateStoreFull),
    )
)
def retry_job(job_id: str) -> Response:
    farm = current_farm()
    caller = current_caller()
    farm.room.require()
    job = farm.jobs.retry(caller.tenant, job_id, caller.subjects)
    farm.bells.ring(job.request.voice)
    return job_answer(job, 202)


@jobs.delete("/<job_id>")
@documented(
    Operation(
        summary="Remove a job, its record and its audio",
        tag="jobs",
        scope=Scope.SUBMIT,
        answers={204: None},
        errors=(NotFound,),
    )
)
def delete_job(job_id: str) -> Response:
    current_farm().jobs.delete(current_tenant(), job_id)
    return Response(status=204)
