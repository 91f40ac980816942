"""/v1/jobs/{id}/audio: the finished audio, whole or in ranges."""

from flask import Blueprint, Response, request

from api.answers import Operation, current_farm, documented
from api.guards import current_tenant
from api.objects import Download, send_object
from api.queries import check_known
from shared.errors import NotFound, ObjectMissing, RangeNotSatisfiable, WrongState
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
        summary="The audio of a succeeded job; Range is honoured",
        tag="jobs",
        scope=Scope.READ,
        answers={200: "audio/*", 206: "audio/*", 304: None},
        parameters={"header:Range": {"type": "string", "example": "bytes=0-1023"}},
        errors=(NotFound, WrongState, RangeNotSatisfiable, ObjectMissing),
    )
)
def get_audio(job_id: str) -> Response:
    farm = current_farm()
    check_known(request.args)
    return send_object(farm.store, download_of(farm.jobs.job(current_tenant(), job_id)))
