"""The answers of the API beside the job object, as models the OpenAPI document is made from."""

from pydantic import Field

from api.voices import Offer
from shared.batch_views import BatchView
from shared.deliveries import Delivery
from shared.presence import LaneState, WorkerPresence
from shared.states import DeliveryStatus
from shared.views import JobView, View, timestamp


class JobList(View):
    jobs: list[JobView]
    next_cursor: str | None = Field(description="Give it as cursor for the next page; null: last")


class BatchList(View):
    batches: list[BatchView]
    next_cursor: str | None = Field(description="Give it as cursor for the next page; null: last")


class VoiceView(View):
    name: str
    engine: str
    language: str
    emotions: list[str]
    sample_rate: int = Field(description="The voice's own rate; others are converted")
    revision: str
    description: str
    ready_workers: int
    alias_of: dict[str, int] = Field(
        description="For an alias, the voices it stands for and their weights"
    )
    default: bool = Field(description="Whether a job that names no voice gets this one")


class VoiceList(View):
    voices: list[VoiceView]


class LaneView(View):
    voice: str
    depth_interactive: int
    depth_bulk: int
    waiting_s: float = Field(description="Age of the oldest due work")
    claimed: int
    workers: int


class LaneList(View):
    lanes: list[LaneView]


class WorkerView(View):
    id: str
    host: str
    pid: int
    ready: bool
    voices: list[str]
    holding: list[str] = Field(description="The pieces of work it holds, as job:unit")
    memory_bytes: int
    audio_s: float = Field(description="Audio its engine has made since it started")
    synthesis_s: float = Field(description="How long its engine took for that")
    started_at: str | None
    seen_at: str | None


class WorkerList(View):
    workers: list[WorkerView]


class TryView(View):
    attempt: int
    at: str | None
    status_code: int | None
    error: str | None
    duration_ms: int


class DeliveryView(View):
    id: str = Field(description="The webhook-id header of every try")
    job: str | None = Field(description="What it is about: a job")
    batch: str | None = Field(description="Or a batch")
    event: str
    job_status: str
    status: DeliveryStatus
    attempts: int
    created_at: str | None
    next_try_at: str | None
    finished_at: str | None
    tries: list[TryView] = Field(description="Only where one delivery is shown")


class DeliveryList(View):
    deliveries: list[DeliveryView]
    next_cursor: str | None


class SecretView(View):
    secret: str = Field(description="Signs new messages")
    secrets: list[str] = Field(description="Every secret that signs now, the newest first")


class HealthView(View):
    status: str
    model_loaded: bool = Field(description="Whether some worker has a voice ready")
    voices: dict[str, int] = Field(description="Ready workers of each voice")


class CheckView(View):
    ok: bool
    detail: str


class ReadyView(View):
    ready: bool
    checks: dict[str, CheckView]


class AliveView(View):
    status: str


class ProblemView(View):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; see the list of codes in docs/api.md")
    detail: str
    retryable: bool
    request_id: str | None
    errors: list[dict[str, str | int | None]] | None = Field(
        default=None, description="Every fault: field, given, expected, message"
    )


class ArticleAudio(View):
    audio_url: str


class ArticleSuccess(View):
    code: int
    msg: str
    data: ArticleAudio


class ArticleFailure(View):
    code: int
    msg: str


def voice_view(name: str, offer: Offer, default: str | None) -> VoiceView:
    """A voice, or an alias with what its first voice can do, as callers see it."""
    targets = [known for known, _ in offer.targets(name)]
    voice = targets[0].voice
    return VoiceView(
        name=name,
        engine=voice.engine,
        language=voice.language,
        emotions=list(voice.emotions),
        sample_rate=voice.sample_rate_hz,
        revision=voice.revision,
        description=voice.description,
        ready_workers=sum(known.ready_workers for known in targets),
        alias_of=dict(offer.aliases.get(name, {})),
        default=name == default,
    )


def lane_view(lane: LaneState) -> LaneView:
    """A lane as callers see it."""
    return LaneView(
        voice=lane.voice,
        depth_interactive=lane.depth_interactive,
        depth_bulk=lane.depth_bulk,
        waiting_s=lane.waiting_s,
        claimed=lane.claimed,
        workers=lane.workers,
    )


def worker_view(worker: WorkerPresence) -> WorkerView:
    """A worker as callers see it."""
    return WorkerView(
        id=worker.id,
        host=worker.host,
        pid=worker.pid,
        ready=worker.ready,
        voices=[voice.name for voice in worker.voices],
        holding=list(worker.holding),
        memory_bytes=worker.rss_bytes,
        audio_s=worker.audio_ms / 1000,
        synthesis_s=worker.synthesis_ms / 1000,
        started_at=timestamp(worker.started_ms),
        seen_at=timestamp(worker.seen_ms),
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """A delivery as callers see it; the address is left out, since it may hold a secret."""
    return DeliveryView(
        id=delivery.id,
        job=delivery.job,
        batch=delivery.batch,
        event=delivery.event,
        job_status=delivery.job_status,
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=timestamp(delivery.created_ms),
        next_try_at=timestamp(delivery.next_ms),
        finished_at=timestamp(delivery.finished_ms),
        tries=[
            TryView(
                attempt=one.attempt,
                at=timestamp(one.at_ms),
                status_code=one.status_code,
                error=one.error,
                duration_ms=one.duration_ms,
            )
            for one in delivery.tries
        ],
    )
