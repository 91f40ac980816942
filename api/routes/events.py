"""/v1/jobs/{id}/events and /v1/batches/{id}/events: progress and state until the end, as SSE."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic

from flask import Blueprint, Response, request, stream_with_context

from api.answers import Operation, current_farm, documented
from api.errors import problem_of
from api.farm import Farm
from api.guards import current_tenant
from api.queries import check_known
from api.submission import Seen
from shared.batch_views import batch_view
from shared.batches import Batch
from shared.errors import FarmError, InvalidRequest, NotFound, Unavailable
from shared.numbers import read_count
from shared.schemas import Job
from shared.tenants import Scope
from shared.views import job_view

events = Blueprint("events", __name__)

HEARTBEAT_S = 15.0
RECONNECT_MS = 2000
BATCH_REST_S = 0.5


def _event(name: str, data: object, event_id: int | None = None) -> str:
    number = "" if event_id is None else f"id: {event_id}\n"
    return f"{number}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


@dataclass(frozen=True, kw_only=True)
class Followed(Generic[Seen]):
    """What a stream tells of: how it is read anew, shown, and known to the watcher.

    `rest_s` passes between two events, for what changes faster than anybody reads;
    `outlook` is what may change while nothing happens to it.
    """

    name: str
    read: Callable[[], Seen]
    view: Callable[[Seen], object]
    rest_s: float = 0.0
    outlook: Callable[[Seen], object] = lambda _: None


def _changes(
    farm: Farm, followed: Followed[Seen], now: Seen, seen: int, heartbeat_s: float
) -> Iterator[str]:
    status: str | None = None
    yield f"retry: {RECONNECT_MS}\n\n"
    spoke_at, told = time.monotonic(), followed.outlook(now)
    while not farm.stopping():
        if now.version != seen or now.finished:
            name = "progress" if now.status == status else "state"
            yield _event(name, followed.view(now), now.version)
            seen, status, told = now.version, now.status, followed.outlook(now)
            spoke_at = time.monotonic()
        if now.finished:
            return
        quiet_s = heartbeat_s - (time.monotonic() - spoke_at)
        if quiet_s <= 0:
            moved = followed.outlook(now) != told
            view = followed.view(now) if moved else None
            yield _event("progress", view, now.version) if view else ": still here\n\n"
            spoke_at, told = time.monotonic(), followed.outlook(now)
            continue
        time.sleep(followed.rest_s)
        farm.watcher.wait(followed.name, now.version, quiet_s)
        now = followed.read()


def followed_job(farm: Farm, job: Job) -> Followed[Job]:
    """A job's events."""
    return Followed(
        name=job.id,
        read=lambda: farm.jobs.job(job.tenant, job.id),
        view=lambda now: job_view(now, farm.links),
        outlook=lambda now: (now.position, now.done_in_ms),
    )


def followed_batch(farm: Farm, batch: Batch) -> Followed[Batch]:
    """A batch's events."""
    return Followed(
        name=batch.watched_as,
        read=lambda: farm.batches.batch(batch.tenant, batch.id),
        view=lambda now: batch_view(now, farm.links),
        rest_s=BATCH_REST_S,
    )


def follow_events(
    farm: Farm, followed: Followed[Seen], now: Seen, seen: int, heartbeat_s: float = HEARTBEAT_S
) -> Iterator[str]:
    """The events from now to the end, without what version `seen` told already.

    After each `heartbeat_s` of silence its new place in the line goes out, or a comment, so that
    proxies keep the line open.
    """
    try:
        yield from _changes(farm, followed, now, seen, heartbeat_s)
    except FarmError as error:  # the status line is sent; the stream is where to say it
        yield _event("error", problem_of(error))


def _stream(farm: Farm, followed: Followed[Seen], now: Seen) -> Response:
    told = read_count(request.headers.get("Last-Event-ID"))
    seen = -1 if told is None else told
    farm.slots.acquire(now.tenant)
    response = Response(
        stream_with_context(follow_events(farm, followed, now, seen)),
        content_type="text/event-stream",
    )
    response.call_on_close(partial(farm.slots.release, now.tenant))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


@events.get("/v1/jobs/<job_id>/events")
@documented(
    Operation(
        summary="Progress and state of a job as server-sent events",
        tag="jobs",
        scope=Scope.READ,
        answers={200: "text/event-stream"},
        parameters={"header:Last-Event-ID": {"type": "string"}},
        errors=(NotFound, InvalidRequest, Unavailable),
    )
)
def get_events(job_id: str) -> Response:
    farm = current_farm()
    check_known(request.args)
    job = farm.jobs.job(current_tenant(), job_id)
    return _stream(farm, followed_job(farm, job), job)


@events.get("/v1/batches/<batch_id>/events")
@documented(
    Operation(
        summary="Progress and state of a batch as server-sent events",
        tag="batches",
        scope=Scope.READ,
        answers={200: "text/event-stream"},
        parameters={"header:Last-Event-ID": {"type": "string"}},
        errors=(NotFound, InvalidRequest, Unavailable),
    )
)
def get_batch_events(batch_id: str) -> Response:
    farm = current_farm()
    check_known(request.args)
    batch = farm.batches.batch(current_tenant(), batch_id)
    return _stream(farm, followed_batch(farm, batch), batch)
