"""What the outside sees of a job: the same object in HTTP answers, events and webhooks.

The models are also where the OpenAPI document takes its schemas from.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.captions import CAPTION_TYPES
from shared.links import Links
from shared.schemas import AudioFormat, Job
from shared.states import JobStatus


class View(BaseModel):
    """An object callers read; every field is always present, null where there is nothing."""

    model_config = ConfigDict(frozen=True)


class ProgressView(View):
    segments_done: int
    segments_total: int | None = Field(description="null until the text is split")
    audio_s: float = Field(description="Seconds of audio made so far")
    eta_s: float | None = Field(
        description="Expected seconds until the job is done; null: unknown, or it has ended"
    )


class QueueView(View):
    position: int | None = Field(
        description="Its place among the lane's jobs not started; 1 is next"
    )
    eta_s: float | None = Field(description="Expected seconds until it starts; null: unknown")


class AudioView(View):
    url: str | None = Field(description="A link that expires; ask for the job again for a new one")
    duration_s: float
    size_bytes: int
    sha256: str
    format: AudioFormat
    sample_rate: int


class CaptionsView(View):
    """Where the captions are, in each format they have."""

    json_: str = Field(alias="json", description="Sentences with the times of their words")
    srt: str
    vtt: str
    lrc: str


class TimingView(View):
    queued_ms: int | None = Field(description="From submit to the first claim")
    first_audio_ms: int | None = Field(description="From submit to the first finished segment")
    synthesis_ms: int = Field(description="Engine time, summed over segments")
    cached_segments: int = Field(description="Segments that were not rendered: the cache had them")
    total_ms: int | None = Field(description="From submit to the terminal state")
    real_time_factor: float | None = Field(description="Engine time over audio time")


class ErrorView(View):
    code: str
    message: str
    retryable: bool


class LinksView(View):
    self: str
    audio: str
    listen: str = Field(
        description="Plays it without a key until it expires; with &stream=1 while it is made"
    )
    events: str
    cancel: str
    retry: str


class SpeechView(View):
    voice: str = Field(description="As it was asked for")
    lane: str = Field(description="The voice that speaks; another one where `voice` is an alias")
    emotion: str
    emotion_intensity: float
    speed: float
    pitch: float
    volume: float
    format: AudioFormat
    sample_rate: int | None = Field(description="null: the voice's own")
    priority: str


class JobView(View):
    """A job."""

    id: str
    status: JobStatus
    progress: ProgressView
    queue: QueueView | None = Field(description="Only while the job waits")
    audio: AudioView | None = Field(description="Only when the job succeeded")
    captions: CaptionsView | None = Field(
        description="Only when the job succeeded and was submitted with captions: true"
    )
    timing: TimingView
    substitutions: list[dict[str, Any]] = Field(
        description="What could not be spoken as written, and what was done instead"
    )
    error: ErrorView | None
    request: SpeechView = Field(description="How it is spoken, defaults filled in; never the text")
    characters: int
    metadata: dict[str, str]
    batch: str | None = Field(description="The batch it came with; null: none")
    name: str | None = Field(description="Its name in that batch")
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None = Field(
        description="When the record and its audio are removed; null: with its batch"
    )
    links: LinksView


def timestamp(ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, from milliseconds since the epoch."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _since(start_ms: int, end_ms: int | None) -> int | None:
    return None if end_ms is None else max(0, end_ms - start_ms)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else round(ms / 1000, 1)


def _timing(job: Job) -> TimingView:
    factor = round(job.synthesis_ms / job.audio_ms, 4) if job.audio_ms else None
    return TimingView(
        queued_ms=_since(job.created_ms, job.started_ms),
        first_audio_ms=_since(job.created_ms, job.first_audio_ms),
        synthesis_ms=job.synthesis_ms,
        cached_segments=job.cached_segments,
        total_ms=_since(job.created_ms, job.finished_ms),
        real_time_factor=factor,
    )


def _audio(job: Job, links: Links) -> AudioView | None:
    if job.audio is None or job.status is not JobStatus.SUCCEEDED:
        return None
    return AudioView(
        url=links.audio(job),
        duration_s=job.audio.duration_ms / 1000,
        size_bytes=job.audio.size_bytes,
        sha256=job.audio.sha256,
        format=job.audio.format,
        sample_rate=job.audio.sample_rate_hz,
    )


def _captions(job: Job, here: str) -> CaptionsView | None:
    if job.captions is None or job.status is not JobStatus.SUCCEEDED:
        return None
    return CaptionsView(**{name: f"{here}/captions.{name}" for name in CAPTION_TYPES})


def _speech(job: Job) -> SpeechView:
    given = job.request
    return SpeechView(
        voice=given.asked_voice,
        lane=given.voice,
        emotion=given.emotion,
        emotion_intensity=given.emotion_intensity,
        speed=given.speed,
        pitch=given.pitch,
        volume=given.volume,
        format=given.format,
        sample_rate=given.sample_rate_hz,
        priority=given.priority,
    )


def job_view(job: Job, links: Links) -> dict[str, Any]:
    """The job object as JSON-ready values."""
    here = links.job(job.id)
    waiting = job.status is JobStatus.QUEUED
    view = JobView(
        id=job.id,
        status=job.status,
        progress=ProgressView(
            segments_done=job.segments_done,
            segments_total=job.segments_total,
            audio_s=job.audio_ms / 1000,
            eta_s=_seconds(job.done_in_ms),
        ),
        queue=QueueView(position=job.position, eta_s=_seconds(job.starts_in_ms))
        if waiting
        else None,
        audio=_audio(job, links),
        captions=_captions(job, here),
        timing=_timing(job),
        substitutions=list(job.substitutions),
        error=ErrorView(**job.error.dump()) if job.error else None,
        request=_speech(job),
        characters=job.n_chars,
        metadata=dict(job.request.metadata),
        batch=job.batch,
        name=job.name,
        created_at=timestamp(job.created_ms) or "",
        started_at=timestamp(job.started_ms),
        finished_at=timestamp(job.finished_ms),
        expires_at=timestamp(job.expires_ms),
        links=LinksView(
            self=here,
            audio=f"{here}/audio",
            listen=links.listen(job),
            events=f"{here}/events",
            cancel=f"{here}/cancel",
            retry=f"{here}/retry",
        ),
    )
    return view.model_dump(mode="json", by_alias=True)
