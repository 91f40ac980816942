"""A job as Replicate's clients read it: the same object in answers, lists, streams and webhooks."""

import hashlib
from typing import Any, Literal

from pydantic import Field

from shared.links import Links
from shared.schemas import Job
from shared.states import JobStatus
from shared.views import View, timestamp

OWNER = "ttsfarm"
BAR_WIDTH = 20
PredictionStatus = Literal["starting", "processing", "succeeded", "failed", "canceled"]
# Theirs has `aborted` too, for a deadline that passed early; their Python client refuses it.
STATUSES: dict[JobStatus, PredictionStatus] = {
    JobStatus.QUEUED: "starting",
    JobStatus.RUNNING: "processing",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "canceled",
    JobStatus.EXPIRED: "canceled",
}


class MetricsView(View):
    predict_time: float | None = Field(default=None, description="Seconds from start to end")
    total_time: float | None = Field(default=None, description="Seconds from submit to end")


class UrlsView(View):
    get: str
    cancel: str
    stream: str = Field(description="Server-sent events: logs, output, done")


class PredictionView(View):
    """A job as a prediction."""

    id: str
    model: str
    version: str
    status: PredictionStatus
    input: dict[str, Any] = Field(description="As it is spoken, defaults filled in; never the text")
    output: str | None = Field(description="A link to the audio that expires; asked again: renewed")
    error: str | None
    logs: str = Field(description="How far it is, as a bar")
    metrics: MetricsView
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    urls: UrlsView


def version_id(voice: str) -> str:
    """The one version of a voice, as 64 hexadecimal digits."""
    return hashlib.sha256(voice.encode()).hexdigest()


def _input(job: Job) -> dict[str, Any]:
    given = job.request
    return {
        "emotion": given.emotion,
        "emotion_intensity": given.emotion_intensity,
        "speed": given.speed,
        "pitch": given.pitch,
        "volume": given.volume,
        "format": given.format,
        "sample_rate": given.sample_rate_hz,
        "captions": given.captions,
        "priority": given.priority,
        "metadata": dict(given.metadata),
        "retention_s": given.retention_s,
        "cache": given.cache,
    }


def _logs(job: Job) -> str:
    """A progress bar as tqdm draws it; their client reads `progress` from it."""
    done, total = job.segments_done, job.segments_total
    if not total:
        return ""
    filled = "█" * (BAR_WIDTH * done // total)
    return f"{100 * done // total:3}%|{filled:<{BAR_WIDTH}}| {done}/{total}\n"


def _metrics(job: Job) -> MetricsView:
    if job.finished_ms is None:
        return MetricsView()
    start_ms = job.finished_ms if job.started_ms is None else job.started_ms
    return MetricsView(
        predict_time=max(0, job.finished_ms - start_ms) / 1000,
        total_time=max(0, job.finished_ms - job.created_ms) / 1000,
    )


def prediction_view(
    job: Job, links: Links, status: PredictionStatus | None = None
) -> dict[str, Any]:
    """The prediction as JSON-ready values; `status` replaces the job's own."""
    here = links.address(f"/v1/predictions/{job.id}")
    done = job.status is JobStatus.SUCCEEDED
    voice = job.request.asked_voice
    view = PredictionView(
        id=job.id,
        model=f"{OWNER}/{voice}",
        version=version_id(voice),
        status=status or STATUSES[job.status],
        input=_input(job),
        output=links.audio(job) if done else None,
        error=job.error.message if job.error else None,
        logs=_logs(job),
        metrics=_metrics(job),
        created_at=timestamp(job.created_ms),
        started_at=timestamp(job.started_ms),
        completed_at=timestamp(job.finished_ms),
        urls=UrlsView(get=here, cancel=f"{here}/cancel", stream=f"{here}/stream"),
    )
    made = view.model_dump(mode="json")
    made["metrics"] = {name: one for name, one in made["metrics"].items() if one is not None}
    return made
