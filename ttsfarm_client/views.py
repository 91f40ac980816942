"""What a farm answers, as values: jobs, batches, voices; and what a program may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypedDict

JOB_ENDS = frozenset({"succeeded", "failed", "canceled", "expired"})
BATCH_ENDS = frozenset({"completed", "canceled"})


class Options(TypedDict, total=False):
    """How a text is spoken; docs/api.md says what each may be."""

    id: str
    voice: str
    emotion: str
    emotion_intensity: float
    speed: float
    pitch: float
    volume: float
    format: Literal["wav", "mp3", "flac", "ogg", "opus", "pcm"]
    sample_rate: int
    captions: bool
    priority: Literal["high", "normal", "low"]
    webhook_url: str
    webhook_events: list[str]
    metadata: dict[str, str]
    retention_s: int
    deadline_s: int
    cache: bool


@dataclass(frozen=True, kw_only=True)
class Audio:
    """The finished audio of a job; `url` works without a key until it expires."""

    url: str | None
    duration_s: float
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the farm shows it; `segments_total` is None until the text is split.

    `position` is its place in the line; it starts in `starts_in_s` and is done in `done_in_s`.
    `view` is the whole job object.
    """

    id: str
    status: str
    voice: str
    characters: int
    created_at: str
    segments_done: int
    segments_total: int | None
    audio_s: float
    total_ms: int | None
    audio: Audio | None
    error: str | None
    position: int | None = None
    starts_in_s: float | None = None
    done_in_s: float | None = None
    view: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def finished(self) -> bool:
        return self.status in JOB_ENDS

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Self:
        """A job from the farm's job object, as calls and webhooks give it."""
        audio, error, progress = view["audio"], view["error"], view["progress"]
        queue = view.get("queue") or {}
        return cls(
            id=view["id"],
            status=view["status"],
            voice=view["request"]["voice"],
            characters=view["characters"],
            created_at=view["created_at"],
            segments_done=progress["segments_done"],
            segments_total=progress["segments_total"],
            audio_s=progress["audio_s"],
            total_ms=view["timing"]["total_ms"],
            audio=Audio(
                url=audio.get("url"),
                duration_s=audio["duration_s"],
                size_bytes=audio["size_bytes"],
                sha256=audio["sha256"],
            )
            if audio
            else None,
            error=f"{error['message']} ({error['code']})" if error else None,
            position=queue.get("position"),
            starts_in_s=queue.get("eta_s"),
            done_in_s=progress.get("eta_s"),
            view=view,
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as the farm shows it; `faults` are those of the inputs that were left out."""

    id: str
    status: str
    counts: Mapping[str, int]
    audio_s: float
    n_rejected: int
    faults: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        return self.status in BATCH_ENDS

    @property
    def n_ended(self) -> int:
        """How many of its jobs have ended, however they did."""
        return self.counts["total"] - self.counts["queued"] - self.counts["running"]

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Self:
        """A batch from the farm's batch object."""
        return cls(
            id=view["id"],
            status=view["status"],
            counts=view["counts"],
            audio_s=view["audio_s"],
            n_rejected=view["rejected"]["count"],
            faults=view["rejected"]["errors"],
        )


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice the farm knows, and how many workers are ready to speak it."""

    name: str
    engine: str
    language: str
    emotions: tuple[str, ...]
    ready_workers: int

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Self:
        names = ("name", "engine", "language", "ready_workers")
        return cls(**{name: view[name] for name in names}, emotions=tuple(view["emotions"]))


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What `speak` gives: the job, and its audio as the bytes of a file."""

    job: Job
    audio: bytes = field(repr=False)
