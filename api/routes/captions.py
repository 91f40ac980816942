"""/v1/jobs/{id}/captions.{srt,vtt,lrc,json}: when each sentence and each word is heard."""

from flask import Blueprint, Response, request

from api.answers import Operation, current_farm, documented
from api.guards import current_tenant
from api.objects import Download, send_object
from api.queries import check_known
from api.requests import Fault, describe, raise_faults
from api.routes.audio import finished_audio
from shared.captions import CAPTION_TYPES, rendered
from shared.errors import (
    InvalidRequest,
    NotFound,
    ObjectMissing,
    ObjectStoreUnavailable,
    RangeNotSatisfiable,
    WrongState,
)
from shared.schemas import CaptionsResult, Job
from shared.tenants import Scope

captions = Blueprint("captions", __name__)


def finished_captions(job: Job) -> CaptionsResult:
    """The job's captions; raises `NotFound` where none were asked for, `WrongState` before they
    are there."""
    if not job.request.captions:
        raise NotFound('The job has no captions: submit it with "captions": true')
    finished_audio(job)
    if job.captions is None:
        raise NotFound("The job was finished by a worker that writes no captions; submit it again")
    return job.captions


def wants_words() -> bool:
    """Whether the query asks for the times of words; raises `InvalidRequest` for other values."""
    given = request.args.get("words", "0")
    if given not in ("0", "1"):
        raise_faults([Fault(field="words", given=describe("words", given), expected="0 or 1")])
    return given == "1"


@captions.get("/v1/jobs/<job_id>/captions.<caption_format>")
@documented(
    Operation(
        summary="The captions of a succeeded job, as srt, vtt, lrc or json",
        tag="jobs",
        scope=Scope.READ,
        answers={200: "*/*", 206: "application/json", 304: None},
        parameters={
            "query:words": {
                "enum": ["0", "1"],
                "description": "1: vtt and lrc carry the time of every word, as json always does",
            }
        },
        errors=(
            NotFound,
            WrongState,
            InvalidRequest,
            RangeNotSatisfiable,
            ObjectMissing,
            ObjectStoreUnavailable,
        ),
    )
)
def get_captions(job_id: str, caption_format: str) -> Response:
    farm = current_farm()
    check_known(request.args, "words")
    if caption_format not in CAPTION_TYPES:
        known = ", ".join(CAPTION_TYPES)
        raise NotFound(f"There are no captions as {caption_format[:20]!r}; there are {known}")
    words = wants_words()
    job = farm.jobs.job(current_tenant(), job_id)
    found = finished_captions(job)
    download = Download(
        key=found.key,
        size_bytes=found.size_bytes,
        media_type=CAPTION_TYPES[caption_format],
        filename=f"{job.id}.{caption_format}",
        etag=found.sha256,
    )
    if caption_format == "json":
        return send_object(farm.store, download)
    duration_ms = finished_audio(job).duration_ms
    chunks = farm.store.read(found.key)
    response = Response(
        rendered(chunks, caption_format, duration_ms, words=words),
        content_type=download.media_type,
    )
    response.headers["Content-Disposition"] = f'inline; filename="{download.filename}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(f"{found.sha256}-{caption_format}{'-words' * words}")
    response.make_conditional(request)
    return response
