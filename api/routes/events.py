"""/v1/jobs/{id}/events: progress and state as server-sent events, until the job ends."""

import json
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request, stream_with_context

from api.answers import Operation, current_farm, documented
from api.errors import problem_of
from api.farm import Farm
from api.guards import current_tenant
from api.queries import check_known
from shared.errors import FarmError, NotFound, Unavailable
from shared.schemas import Job
from shared.states import JobStatus
from shared.tenants import Scope
from shared.views import job_view

events = Blueprint("events", __name__)

HEARTBEAT_S = 15.0
RECONNECT_MS = 2000


def _event(name: str, data: object, event_id: int | None = None) -> str:
    number = "" if event_id is None else f"id: {event_id}\n"
    return f"{number}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _changes(farm: Farm, job: Job, seen: int, heartbeat_s: float) -> Iterator[str]:
    status: JobStatus | None = None
    yield f"retry: {RECONNECT_MS}\n\n"
    spoke_at = time.monotonic()
    while not farm.stopping():
        if job.version != seen or job.finished:
            name = "progress" if job.status is status else "state"
            yield _event(name, job_view(job, farm.links), job.version)
            seen, status, spoke_at = job.version, job.status, time.monotonic()
        if job.finished:
            return
        quiet_s = heartbeat_s - (time.monotonic() - spoke_at)
        if quiet_s <= 0:
            yield ": still here\n\n"
            spoke_at = time.monotonic()
            continue
        farm.watcher.wait(job.id, job.version, quiet_s)
        job = farm.jobs.job(job.tenant, job.id)


def job_events(farm: Farm, job: Job, seen: int, heartbeat_s: float = HEARTBEAT_S) -> Iterator[str]:
    """The job's events from now to its end, without what version `seen` told already.

    A comment goes out after each `heartbeat_s` of silence, so that proxies keep the line open.
    """
    try:
        yield from _changes(farm, job, seen, heartbeat_s)
    except FarmError as error:  # the status line is sent; the stream is where to say it
        yield _event("error", problem_of(error))


@events.get("/v1/jobs/<job_id>/events")
@documented(
    Operation(
        summary="Progress and state of a job as server-sent events",
        tag="jobs",
        scope=Scope.READ,
        answers={200: "text/event-stream"},
        parameters={"header:Last-Event-ID": {"type": "string"}},
        errors=(NotFound, Unavailable),
    )
)
def get_events(job_id: str) -> Response:
    farm = current_farm()
    check_known(request.args)
    job = farm.jobs.job(current_tenant(), job_id)
    last = request.headers.get("Last-Event-ID", "")
    seen = int(last[:18]) if last.isascii() and last.isdigit() else -1
    farm.slots.acquire()
    response = Response(
        stream_with_context(job_events(farm, job, seen)), content_type="text/event-stream"
    )
    response.call_on_close(farm.slots.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response
