"""The values both sides exchange: frozen dataclasses that dump to and load from plain JSON."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from shared.alignment import Runs
from shared.states import JOB_TERMINAL, JobStatus, UnitKind

AudioFormat = Literal["wav", "mp3", "flac", "ogg", "opus", "pcm"]
Priority = Literal["high", "normal", "low"]
WebhookEvent = Literal["started", "completed"]
Dialect = Literal["replicate"]

MEDIA_TYPES: dict[str, str] = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg; codecs=opus",
    "pcm": "audio/L16",
}


class Plain:
    """Dumps a dataclass to JSON-ready values and loads it back, ignoring fields it lacks."""

    def dump(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # only dataclasses inherit

    @classmethod
    def load(cls, values: dict[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # only dataclasses inherit
        return cls(**{k: v for k, v in values.items() if k in known})


@dataclass(frozen=True, kw_only=True)
class Voice(Plain):
    """A name a user picks, with what it can do."""

    name: str
    engine: str
    language: str
    emotions: tuple[str, ...] = ("neutral",)
    sample_rate_hz: int
    revision: str
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class JobRequest(Plain):
    """What was asked, without the text, which is kept beside it.

    `voice` is the one that speaks, `alias` the name it was asked for by where that is another.
    `speed` is a factor, `pitch` semitones, `volume` a gain factor, `sample_rate_hz` None for the
    voice's own. `text_type` says how to read the text, `dialect` which service's object webhooks
    send, None for the farm's own.
    """

    text_type: Literal["text", "ssml"] = "text"
    voice: str
    alias: str | None = None
    emotion: str = "neutral"
    emotion_intensity: float = 1.0
    speed: float = 1.0
    pitch: float = 0.0
    volume: float = 1.0
    format: AudioFormat = "wav"
    sample_rate_hz: int | None = None
    captions: bool = False
    priority: Priority = "normal"
    webhook_url: str | None = None
    webhook_events: tuple[str, ...] = ("completed",)
    metadata: dict[str, str] = field(default_factory=dict)
    retention_s: int = 86_400
    deadline_s: int | None = None
    cache: bool = True
    dialect: Dialect | None = None

    @property
    def asked_voice(self) -> str:
        """The voice's name as the caller gave it."""
        return self.alias or self.voice


@dataclass(frozen=True, kw_only=True)
class SegmentSpec(Plain):
    """One segment as the plan stores it; `n_chars` is what fairness charges for it.

    `voice`, `speed`, `pitch` and `volume` are the request's with what the markup says of them.
    `syllables` pairs characters of `spoken` with syllables of `symbols`. Where captions are asked
    for, `caption` is the source without markup, and `caption_words` pairs it with `spoken`.
    """

    index: int
    start: int
    end: int
    spoken: str
    symbols: str | None = None
    voice: str
    emotion: str
    emotion_intensity: float
    speed: float = 1.0
    pitch: float = 0.0
    volume: float = 1.0
    silence_before_ms: int = 0
    silence_after_ms: int = 0
    n_chars: int
    syllables: Runs = ()
    caption: str = ""
    caption_words: Runs = ()


@dataclass(frozen=True, kw_only=True)
class SegmentResult(Plain):
    """Where a finished segment's audio lies and how it came out."""

    key: str
    size_bytes: int
    duration_ms: int
    sample_rate_hz: int
    synthesis_ms: int
    worker: str


@dataclass(frozen=True, kw_only=True)
class AudioResult(Plain):
    """The finished audio of a job."""

    key: str
    duration_ms: int
    size_bytes: int
    sha256: str
    format: AudioFormat
    sample_rate_hz: int


@dataclass(frozen=True, kw_only=True)
class CaptionsResult(Plain):
    """Where the captions of a finished job lie."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ErrorInfo(Plain):
    """Why a job, a segment or a delivery failed, as callers see it."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt at one unit. `attempt` is the fencing token every report must carry.

    A plan comes with the job's text, a segment with its spec, an assembly with how many it joins.
    """

    job: str
    unit: str
    kind: UnitKind
    attempt: int
    tenant: str
    request: JobRequest
    text: str = ""
    spec: SegmentSpec | None = None
    segments_total: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the store knows it. Times are milliseconds since the epoch, by Redis's clock.

    `starts_in_ms` and `done_in_ms` are what the farm expects from now on.
    """

    id: str
    tenant: str
    status: JobStatus
    request: JobRequest
    n_chars: int
    segments_total: int | None
    segments_done: int
    audio_ms: int
    synthesis_ms: int
    position: int | None
    created_ms: int
    started_ms: int | None
    first_audio_ms: int | None
    finished_ms: int | None
    expires_ms: int | None
    audio: AudioResult | None
    error: ErrorInfo | None
    captions: CaptionsResult | None = None
    substitutions: tuple[dict[str, Any], ...] = ()
    version: int = 0
    cached_segments: int = 0
    batch: str | None = None
    name: str | None = None  # among its batch's jobs
    starts_in_ms: int | None = None
    done_in_ms: int | None = None

    @property
    def finished(self) -> bool:
        return self.status in JOB_TERMINAL
