"""/v1/batches: many inputs as one; their jobs are ordinary jobs."""

import time

from flask import Blueprint, Response, jsonify, request

from api.answers import IDEMPOTENCY, POLL_S, Operation, current_farm, documented
from api.archive import archive
from api.batch_bodies import LINE_TYPES
from api.batch_requests import BatchBody
from api.batch_submission import submit_batch
from api.guards import current_caller, current_tenant
from api.queries import LIMIT_SCHEMA, check_known, read_plain_page, read_statuses, read_wait
from api.requests import Fault, check_idempotency_key, describe, raise_faults
from api.submission import follow
from api.views import BatchList
from shared.batch_views import BatchView, batch_view
from shared.batches import RETRIABLE, Batch
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
    UnsupportedMediaType,
    WrongState,
)
from shared.states import JobStatus
from shared.tenants import Scope

batches = Blueprint("batches", __name__, url_prefix="/v1/batches")

STATUSES = [status.value for status in JobStatus]


def batch_answer(batch: Batch, status: int = 200, errors: object = None) -> Response:
    """A batch as JSON; one still under way says when to ask again."""
    farm = current_farm()
    told = errors if isinstance(errors, list) else farm.batches.rejected(batch)
    response = jsonify(batch_view(batch, farm.links, told))
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    if not batch.finished:
        response.headers["Retry-After"] = str(POLL_S)
    return response


@batches.post("")
@documented(
    Operation(
        summary="Submit many inputs as one batch, as JSON or JSON lines",
        tag="batches",
        scope=Scope.SUBMIT,
        body=BatchBody,
        lines=(*sorted(LINE_TYPES),),
        answers={202: BatchView, 200: BatchView},
        parameters=IDEMPOTENCY,
        errors=(
            InvalidRequest,
            ForbiddenAddress,
            BodyTooLarge,
            MalformedBody,
            UnsupportedMediaType,
            IdempotencyConflict,
            WrongState,
            TextTooLong,
            FarmCrowded,
            NoVoiceReady,
            StateStoreFull,
            NotReplicated,
        ),
    )
)
def post_batch() -> Response:
    farm = current_farm()
    check_known(request.args)
    key = check_idempotency_key(request.headers.get("Idempotency-Key"))
    batch, judged = submit_batch(farm, request, key)
    response = batch_answer(
        batch, 200 if batch.finished else 202, judged.faults if judged else None
    )
    response.headers["Location"] = farm.links.batch(batch.id)
    return response


@batches.get("")
@documented(
    Operation(
        summary="List batches, newest first",
        tag="batches",
        scope=Scope.READ,
        answers={200: BatchList},
        parameters={"query:cursor": {"type": "string"}, "query:limit": LIMIT_SCHEMA},
        errors=(InvalidRequest,),
    )
)
def list_batches() -> Response:
    farm = current_farm()
    cursor, limit = read_plain_page(request.args)
    page = farm.batches.page(current_tenant(), cursor=cursor, limit=limit)
    views = [batch_view(batch, farm.links) for batch in page.batches]
    return jsonify(batches=views, next_cursor=page.next_cursor)


@batches.get("/<batch_id>")
@documented(
    Operation(
        summary="Show a batch, at once or when it ends",
        tag="batches",
        scope=Scope.READ,
        answers={200: BatchView},
        parameters={
            "query:wait": {
                "type": "number",
                "minimum": 0,
                "description": "Seconds to wait for the batch to end",
            }
        },
        errors=(NotFound, InvalidRequest),
    )
)
def show_batch(batch_id: str) -> Response:
    farm, tenant = current_farm(), current_tenant()
    wait_s = read_wait(request.args, farm.settings.max_wait_s)
    batch = farm.batches.batch(tenant, batch_id)
    batch = follow(
        farm, batch, wait_s, batch.watched_as, lambda: farm.batches.batch(tenant, batch_id)
    )
    return batch_answer(batch)


@batches.get("/<batch_id>/results.zip")
@documented(
    Operation(
        summary="The audio of an ended batch as one archive with a manifest",
        tag="batches",
        scope=Scope.READ,
        answers={200: "application/zip"},
        parameters={
            "query:partial": {
                "type": "integer",
                "enum": [0, 1],
                "description": "1: what is there by now, before the batch has ended",
            }
        },
        errors=(NotFound, WrongState, InvalidRequest),
    )
)
def get_results(batch_id: str) -> Response:
    farm = current_farm()
    partial = _read_partial()
    batch = farm.batches.batch(current_tenant(), batch_id)
    if not batch.finished and not partial:
        raise WrongState(
            f"The batch is {batch.status}; wait for its end with ?wait=30 on its own address, or "
            "take what is there with ?partial=1",
            batch_status=batch.status.value,
        )
    # Made part by part, and none for a HEAD, which must not tell a length of 0 either.
    parts = archive(farm.batches.jobs(batch), farm.store, time.time())
    response = Response(parts, content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{batch.id}.zip"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep a copy of it all
    return response


def _read_partial() -> bool:
    check_known(request.args, "partial")
    given = request.args.get("partial", "0")
    if given not in ("0", "1"):
        fault = Fault(field="partial", given=describe("partial", given), expected="must be 0 or 1")
        raise_faults([fault])
    return given == "1"


@batches.post("/<batch_id>/cancel")
@documented(
    Operation(
        summary="Cancel what has not ended of a batch",
        tag="batches",
        scope=Scope.SUBMIT,
        answers={200: BatchView},
        errors=(NotFound, WrongState),
    )
)
def cancel_batch(batch_id: str) -> Response:
    return batch_answer(current_farm().batches.cancel(current_tenant(), batch_id))


@batches.post("/<batch_id>/retry")
@documented(
    Operation(
        summary="Run a batch's failed and expired jobs again, or those in the states named",
        tag="batches",
        scope=Scope.SUBMIT,
        answers={202: BatchView},
        parameters={"query:status": {"type": "array", "items": {"enum": STATUSES}}},
        errors=(NotFound, WrongState, InvalidRequest, TextTooLong, StateStoreFull),
    )
)
def retry_batch(batch_id: str) -> Response:
    farm = current_farm()
    farm.room.require()
    statuses = read_statuses(request.args) or RETRIABLE
    batch, voices = farm.batches.retry(
        current_tenant(), batch_id, statuses, current_caller().subjects
    )
    for voice in voices:
        farm.bells.ring(voice)
    return batch_answer(batch, 202)


@batches.delete("/<batch_id>")
@documented(
    Operation(
        summary="Remove a batch, its jobs and their audio",
        tag="batches",
        scope=Scope.SUBMIT,
        answers={204: None},
        errors=(NotFound,),
    )
)
def delete_batch(batch_id: str) -> Response:
    current_farm().batches.delete(current_tenant(), batch_id)
    return Response(status=204)
