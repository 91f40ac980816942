"""What callers may ask, parsed at the edge: every fault is found and reported at once."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import ErrorDetails

from api.voices import Found
from shared.errors import FarmError, InvalidRequest, RequestError, TextTooLong, UnknownEmotion
from shared.formats import allowed_rates
from shared.schemas import AudioFormat, JobRequest, Priority, Voice, WebhookEvent
from shared.settings import Settings

Body = TypeVar("Body", bound=BaseModel)

DAY_S = 86_400
MAX_METADATA = 16
MAX_METADATA_NAME = 64
MAX_METADATA_VALUE = 256
MOST_FAULTS = 50
# Tab, line feed and carriage return are the only controls a text needs.
UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Metadata has one line: it may end up where a line break would begin another.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
PRINTABLE = re.compile(r"[\x21-\x7e]{1,255}\Z")


class JobBody(BaseModel):
    """The body of `POST /v1/jobs`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="A name of your own; the same id and body again answers the same job",
    )
    text: str | None = Field(default=None, description="What to speak")
    ssml: str | None = Field(default=None, description="What to speak, as SSML; instead of text")
    voice: str | None = Field(default=None, description="A name from GET /v1/voices")
    emotion: str | None = Field(default=None, description="One of the voice's emotions")
    emotion_intensity: float = Field(default=1.0, ge=0, le=2)
    speed: float = Field(default=1.0, ge=0.5, le=2, description="2 is twice as fast")
    pitch: float = Field(default=0.0, ge=-12, le=12, description="Semitones")
    volume: float = Field(default=1.0, ge=0, le=2, description="Gain factor")
    format: AudioFormat = "wav"
    sample_rate: int | None = Field(
        default=None, ge=8000, le=48000, description="Hz; left out: the voice's own"
    )
    captions: bool = Field(
        default=False, description="Whether to write captions; GET /v1/jobs/{id}/captions.srt"
    )
    priority: Priority = "normal"
    webhook_url: str | None = Field(default=None, max_length=2000)
    webhook_events: Annotated[list[WebhookEvent], FailFast()] = Field(
        default=["completed"], min_length=1
    )
    metadata: dict[str, str] = Field(
        default={}, description="Up to 16 pairs; names up to 64 characters, values up to 256"
    )
    retention_s: int | None = Field(default=None, ge=60, description="Left out: the farm's own")
    deadline_s: int | None = Field(default=None, ge=1, le=7 * DAY_S)
    cache: bool = Field(default=True, description="Whether finished segments may be reused")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with a request; its `error`, if any, is raised when it is the only one."""

    field: str
    given: str
    expected: str
    error: FarmError | None = None

    def view(self) -> dict[str, str]:
        message = self.error.message if self.error else f"{self.field}: {self.expected}"
        return {
            "field": self.field,
            "given": self.given,
            "expected": self.expected,
            "message": message,
        }


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the farm of this moment allows; each call raises the error a caller should see.

    `find_voice` takes the name given, None for none; `check_address` a webhook's URL.
    """

    settings: Settings
    find_voice: Callable[[str | None], Found]
    check_address: Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that may be submitted. `fingerprint` is the same for the same body."""

    id: str | None
    text: str
    request: JobRequest
    fingerprint: str


def describe(field: str, value: object) -> str:
    """What was given, short enough to show; a text only by its length."""
    if isinstance(value, str) and field in ("text", "ssml", "input"):
        return f"{len(value)} characters"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise the one fault's own error, or an `InvalidRequest` that lists the first of them.

    Of all of them, a body of nothing but faults would get an answer many times its size; those
    that are not told are not even made, where `faults` makes them one by one.
    """
    found = list(islice(faults, MOST_FAULTS + 1))
    if not found:
        return
    if len(found) == 1 and found[0].error:
        raise found[0].error
    told = found[:MOST_FAULTS]
    names = ", ".join(dict.fromkeys(fault.field for fault in told))
    more = len(found) > len(told)
    count = f"{'More than ' * more}{len(told)} fault{'s' * (len(told) > 1)}"
    raise InvalidRequest(
        f"{count} in: {names}{', ...' * more}.", errors=[fault.view() for fault in told]
    )


@cache
def no_such_field(model: type[BaseModel]) -> str:
    """What is expected instead of a field that `model` does not have."""
    return f"no such field; known are {', '.join(model.model_fields)}"


def _fault_of(detail: ErrorDetails, model: type[BaseModel]) -> Fault:
    path = ".".join(str(part)[:80] for part in detail["loc"])
    field = str(detail["loc"][0])
    if detail["type"] == "missing":
        return Fault(field=path, given="nothing", expected="must be given")
    if detail["type"] == "extra_forbidden":
        expected = no_such_field(model)
    else:
        expected = detail["msg"].replace("Input should be", "must be")
    return Fault(field=path, given=describe(field, detail["input"]), expected=expected)


def parse_body(model: type[Body], raw: Mapping[str, Any]) -> Body:
    """`raw` as `model`; every fault of its form is reported at once."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise_faults(_fault_of(detail, model) for detail in error.errors(include_url=False))
        raise InvalidRequest from error


def check_text(text: str, max_chars: int, field: str = "text") -> Iterator[Fault]:
    """The first thing that keeps `text` from being spoken."""
    given = f"{len(text)} characters"
    if len(text) > max_chars:
        message = f"The text has {len(text)} characters, the limit is {max_chars}; split it."
        expected = f"at most {max_chars} characters"
        error = TextTooLong(message, characters=len(text), limit=max_chars)
        yield Fault(field=field, given=given, expected=expected, error=error)
    elif not text.strip():
        yield Fault(field=field, given=given, expected="must hold something to speak")
    elif found := UNSPEAKABLE.search(text):
        char = found.group()
        kind = "lone surrogates" if char >= "\ud800" else "control characters"
        given = f"U+{ord(char):04X} at position {found.start()}"
        yield Fault(field=field, given=given, expected=f"must not hold {kind}; remove it")


def _content_faults(values: Mapping[str, Any], settings: Settings) -> Iterator[Fault]:
    text, ssml = values.get("text"), values.get("ssml")
    if text is not None and ssml is not None:
        yield Fault(field="ssml", given="text and ssml", expected="one of the two")
    elif text is None and ssml is None and {"text", "ssml"} <= values.keys():
        yield Fault(field="text", given="nothing", expected="must be given")
    for field, content in (("text", text), ("ssml", ssml)):
        if isinstance(content, str):
            yield from check_text(content, settings.max_text_chars, field)


def find_emotion(voice: Voice, emotion: str | None) -> str:
    """The emotion to speak with, the voice's first where none is named; or `UnknownEmotion`."""
    if emotion is None:
        return "neutral" if "neutral" in voice.emotions else voice.emotions[0]
    if emotion not in voice.emotions:
        raise UnknownEmotion(
            f"The voice {voice.name} has no emotion {describe('emotion', emotion)}; "
            f"it has {', '.join(voice.emotions)}.",
            emotions=list(voice.emotions),
        )
    return emotion


def _voice_faults(values: Mapping[str, Any], rules: Rules) -> Iterator[Fault]:
    if "voice" not in values:
        return
    field = "voice"
    try:
        found = rules.find_voice(values["voice"])
        field = "emotion"
        find_emotion(found.voice, values.get("emotion"))
    except RequestError as error:
        known = error.details.get("emotions") or error.details.get("voices") or []
        yield Fault(
            field=field,
            given=describe(field, values.get(field)),
            expected=f"one of {', '.join(known)}",
            error=error,
        )


def _rate_faults(values: Mapping[str, Any]) -> Iterator[Fault]:
    audio_format, rate = values.get("format"), values.get("sample_rate")
    if audio_format is None or rate is None:
        return
    allowed = allowed_rates(audio_format)
    if rate not in allowed:
        listed = ", ".join(str(one) for one in allowed)
        expected = f"{audio_format} has one of {listed} Hz"
        yield Fault(field="sample_rate", given=str(rate), expected=expected)


def metadata_faults(values: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with `metadata`."""
    pairs = values.get("metadata", {})
    if len(pairs) > MAX_METADATA:
        yield Fault(
            field="metadata", given=f"{len(pairs)} pairs", expected=f"at most {MAX_METADATA} pairs"
        )
    for name, value in pairs.items():
        field = f"metadata.{name[:80]}"
        if not 1 <= len(name) <= MAX_METADATA_NAME or UNPRINTABLE.search(name):
            expected = f"a name has 1 to {MAX_METADATA_NAME} characters, all of them visible"
            yield Fault(field=field, given=describe("metadata", name), expected=expected)
        if len(value) > MAX_METADATA_VALUE or UNPRINTABLE.search(value):
            expected = f"a value has at most {MAX_METADATA_VALUE} characters on one line"
            yield Fault(field=field, given=describe("metadata", value), expected=expected)


def webhook_faults(values: Mapping[str, Any], rules: Rules) -> Iterator[Fault]:
    """What keeps the farm from calling `webhook_url`."""
    url = values.get("webhook_url")
    if url is None:
        return
    try:
        rules.check_address(url)
    except RequestError as error:
        yield Fault(
            field="webhook_url",
            given=describe("webhook_url", url),
            expected="a public http or https address",
            error=error,
        )


def retention_faults(values: Mapping[str, Any], settings: Settings) -> Iterator[Fault]:
    """Whether `retention_s` is longer than the store keeps anything."""
    kept_s, limit_s = values.get("retention_s"), settings.object_lifetime_days * DAY_S
    if kept_s is not None and kept_s > limit_s:
        expected = f"at most {limit_s}; the store removes audio after that"
        yield Fault(field="retention_s", given=str(kept_s), expected=expected)


def _type_faults(raw: Mapping[str, Any]) -> tuple[JobBody | None, Iterator[Fault], set[str]]:
    """The body if its fields have the right form, else their faults and the fields at fault."""
    try:
        return JobBody.model_validate(raw), iter(()), set()
    except ValidationError as error:
        details = error.errors(include_url=False)
    wrong = {str(detail["loc"][0]) for detail in details}
    # A lone surrogate is a text's fault that is reported with its position.
    contents = {"text", "ssml"}
    told = (d for d in details if d["loc"][0] not in contents or d["type"] != "string_unicode")
    return None, (_fault_of(detail, JobBody) for detail in told), wrong - contents


def parse_job(raw: dict[str, Any], rules: Rules) -> Asked:
    """What `raw`, a JSON object, asks for; raises one error that names every fault."""
    asked, faults = examine(raw, rules)
    raise_faults(faults)
    if asked is None:
        raise InvalidRequest
    return asked


def examine(raw: dict[str, Any], rules: Rules) -> tuple[Asked | None, list[Fault]]:
    """What `raw` asks for, or None, and what is wrong with it, up to one fault more than told."""
    body, found, wrong = _type_faults(raw)
    defaults = {name: field.default for name, field in JobBody.model_fields.items()}
    values = {name: raw.get(name, default) for name, default in defaults.items()}
    sound = {name: value for name, value in values.items() if name not in wrong}
    found = chain(
        found,
        _content_faults(sound, rules.settings),
        _voice_faults(sound, rules),
        _rate_faults(sound),
        metadata_faults(sound),
        webhook_faults(sound, rules),
        retention_faults(sound, rules.settings),
    )
    faults = list(islice(found, MOST_FAULTS + 1))
    return (_asked(raw, body, rules) if body and not faults else None), faults


def _asked(raw: Mapping[str, Any], body: JobBody, rules: Rules) -> Asked:
    found = rules.find_voice(body.voice)
    voice = found.voice
    request = JobRequest(
        text_type="text" if body.ssml is None else "ssml",
        voice=voice.name,
        alias=found.asked if found.asked != voice.name else None,
        emotion=find_emotion(voice, body.emotion),
        emotion_intensity=body.emotion_intensity,
        speed=body.speed,
        pitch=body.pitch,
        volume=body.volume,
        format=body.format,
        sample_rate_hz=body.sample_rate,
        captions=body.captions,
        priority=body.priority,
        webhook_url=body.webhook_url,
        webhook_events=tuple(dict.fromkeys(body.webhook_events)),
        metadata=body.metadata,
        retention_s=body.retention_s or rules.settings.retention_s,
        deadline_s=body.deadline_s,
        cache=body.cache,
    )
    return Asked(
        id=body.id, text=body.text or body.ssml or "", request=request, fingerprint=fingerprint(raw)
    )


def fingerprint(raw: Mapping[str, Any]) -> str:
    """SHA-256 of the body as given, whatever the order of its fields; the id is not part of it."""
    kept = {name: value for name, value in raw.items() if name != "id"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def check_idempotency_key(key: str | None) -> str | None:
    """The `Idempotency-Key` header as given; raises `InvalidRequest` where it can not be one."""
    if key is None or PRINTABLE.match(key):
        return key
    given = describe("Idempotency-Key", key)
    expected = "must have 1 to 255 printable ASCII characters without spaces"
    raise_faults([Fault(field="Idempotency-Key", given=given, expected=expected)])
    return None
