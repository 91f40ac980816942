"""/v1/jobs/{id}/audio: the finished audio, whole or in ranges, or the stream of one being made."""

from flask import Blueprint, Response, request

from api.answers import Operation, current_farm, documented
from api.guards import current_tenant
from api.objects import Download, send_object
from api.queries import check_known, read_stream, wants_stream
from api.streaming import send_stream
from shared.errors import (
    InvalidRequest,
    LinkExpired,
    NotFound,
    ObjectMissing,
    ObjectStoreUnavailable,
    RangeNotSatisfiable,
    StateStoreUnavailable,
    StreamingMissing,
    TooManyStreams,
    Unavailable,
    WrongState,
)
from shared.schemas import MEDIA_TYPES, AudioResult, Job
from shared.states import JobStatus
from shared.tenants import Scope

audio = Blueprint("audio", __name__)


def finished_audio(job: Job) -> AudioResult:
    """The job's audio; raises `WrongState` while, or because, there is none."""
    if job.status is JobStatus.SUCCEEDED and job.audio:
        return job.audio
    reason = f": {job.error.message}" if job.error else ""
    advice = "" if job.finished else "; wait for it with /v1/jobs/{id}?wait=30"
    raise WrongState(
        f"The job is {job.status} and has no audio{reason}{advice}", job_status=job.status.value
    )


def download_of(job: Job, *, attachment: bool = False) -> Download:
    """How a job's audio is sent; raises `WrongState` when it has none."""
    found = finished_audio(job)
    return Download(
        key=found.key,
        size_bytes=found.size_bytes,
        media_type=MEDIA_TYPES[found.format],
        filename=f"{job.id}.{found.format}",
        etag=found.sha256,
        attachment=attachment,
    )


@audio.get("/v1/jobs/<job_id>/audio")
@documented(
    Operation(
        summary="A job's audio, with stream=1 while it is made; Range is honoured",
        tag="jobs",
        scope=Scope.READ,
        answers={200: "audio/*", 206: "audio/*", 304: None},
        parameters={
            "header:Range": {"type": "string", "example": "bytes=0-1023"},
            "query:stream": {
                "enum": ["0", "1"],
                "description": "1: send what is finished at once and the rest as it is rendered",
            },
            "query:from_segment": {
                "type": "integer",
                "minimum": 0,
                "description": "With stream=1: begin with this segment; the first is 0",
            },
        },
        errors=(
            NotFound,
            InvalidRequest,
            WrongState,
            RangeNotSatisfiable,
            ObjectMissing,
            ObjectStoreUnavailable,
            Unavailable,
            TooManyStreams,
            StreamingMissing,
        ),
    )
)
def get_audio(job_id: str) -> Response:
    farm = current_farm()
    first = read_stream(request.args)
    job = farm.jobs.job(current_tenant(), job_id)
    if first is None or (job.finished and job.status is not JobStatus.SUCCEEDED):
        return send_object(farm.store, download_of(job))
    return send_stream(farm, job, first)


@audio.get("/v1/listen/<job_id>")
@documented(
    Operation(
        summary="A job's audio under the signed link of its `links.listen`",
        tag="jobs",
        answers={200: "audio/*", 206: "audio/*", 304: None},
        parameters={
            "query:tenant": {"type": "string"},
            "query:expires": {"type": "string"},
            "query:signature": {"type": "string"},
            "query:stream": {"enum": ["0", "1"]},
            "header:Range": {"type": "string"},
        },
        errors=(
            InvalidRequest,
            LinkExpired,
            NotFound,
            WrongState,
            RangeNotSatisfiable,
            ObjectMissing,
            StateStoreUnavailable,
            ObjectStoreUnavailable,
            Unavailable,
            TooManyStreams,
            StreamingMissing,
        ),
    )
)
def listen(job_id: str) -> Response:
    farm, given = current_farm(), request.args
    check_known(given, "tenant", "expires", "signature", "stream")
    tenant = given.get("tenant", "")
    farm.links.verify_listen(tenant, job_id, given.get("expires", ""), given.get("signature", ""))
    job = farm.jobs.job(tenant, job_id)
    if not wants_stream(given) or (job.finished and job.status is not JobStatus.SUCCEEDED):
        return send_object(farm.store, download_of(job))
    return send_stream(farm, job, 0)
