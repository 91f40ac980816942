"""The body of Azure's `PUT /texttospeech/batchsyntheses/{id}` as the pieces of a batch of ours."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from api.batch_bodies import Head, Piece, RawInput
from api.batch_requests import check_count
from api.dialects.azure.names import FindVoice, remembered
from api.dialects.azure.ssml import MAX_BYTES, MarkupFaultError, read_degree, translated
from api.dialects.azure.values import (
    DEFAULT_FORMAT,
    FORMATS,
    emotion_of,
    read_pitch,
    read_rate,
    read_volume,
)
from api.requests import DAY_S, MOST_FAULTS, Fault, describe, raise_faults
from api.voices import VoiceDirectory
from shared.errors import InvalidRequest, UnknownVoice
from shared.settings import Settings

HOUR_S = 3600
LONGEST_HOURS = 744
ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]\Z")
KINDS = {"plaintext": "PlainText", "ssml": "SSML"}
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, alias_generator=to_camel)

Prosody = str | float | None


class SynthesisInput(BaseModel):
    """One input; older clients call its content `text`."""

    model_config = STRICT

    content: str | None = Field(default=None, description="Plain text or SSML, as inputKind says")
    text: str | None = Field(default=None, description="The same, under its older name")


class SynthesisConfig(BaseModel):
    """How plain text is spoken."""

    model_config = STRICT

    voice: str = Field(min_length=1, max_length=200, description="A voice of the farm, or Azure's")
    style: str | None = Field(default=None, max_length=100)
    style_degree: float | None = Field(default=None, ge=0.01, le=2)
    role: str | None = Field(default=None, max_length=100, description="Has no effect")
    rate: Prosody = Field(default=None, description="Such as 1.2, +10% or fast")
    pitch: Prosody = Field(default=None, description="Such as +2st, -10% or high")
    volume: Prosody = Field(default=None, description="Such as 80, -10% or soft")
    speaker_profile_id: str | None = Field(default=None, description="Refused")
    background_audio: dict[str, Any] | None = Field(default=None, description="Refused")


class SynthesisProperties(BaseModel):
    """What becomes of the audio."""

    model_config = STRICT

    time_to_live_in_hours: int | None = Field(default=None, ge=1, le=LONGEST_HOURS)
    output_format: str | None = Field(
        default=None, description=f"{DEFAULT_FORMAT} if left out; docs/dialects.md has the others"
    )
    concatenate_result: bool | None = Field(default=None, description="All inputs as one audio")
    decompress_output_files: bool | None = Field(
        default=None, description="Whether outputs.summary has a link to summary.json too"
    )
    word_boundary_enabled: bool | None = None
    sentence_boundary_enabled: bool | None = None
    destination_container_url: str | None = Field(default=None, description="Refused")
    destination_path: str | None = Field(default=None, description="Refused")


def _kind(given: object) -> object:
    return KINDS.get(given.lower(), given) if isinstance(given, str) else given


def _given(properties: object) -> object:
    return {} if properties is None else properties


class SynthesisBody(BaseModel):
    """The body of `PUT /texttospeech/batchsyntheses/{id}`."""

    model_config = STRICT

    description: str | None = Field(default=None, max_length=2000)
    display_name: str | None = Field(default=None, max_length=2000, description="Has no effect")
    input_kind: Annotated[Literal["PlainText", "SSML"], BeforeValidator(_kind)]
    inputs: Annotated[list[SynthesisInput], FailFast()]
    synthesis_config: SynthesisConfig | None = None
    custom_voices: dict[str, str] | None = Field(default=None, description="Refused unless empty")
    properties: Annotated[SynthesisProperties, BeforeValidator(_given)] = SynthesisProperties()


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A body that may be stored: its head and inputs as a batch's, and what its object repeats."""

    pieces: list[Piece]
    kept: dict[str, Any]
    fingerprint: str


def _model_at(place: tuple[str | int, ...]) -> type[BaseModel]:
    nested: dict[str | int, type[BaseModel]] = {
        "properties": SynthesisProperties,
        "synthesisConfig": SynthesisConfig,
        "inputs": SynthesisInput,
    }
    return nested[place[0]] if len(place) > 1 else SynthesisBody


def _path(place: tuple[str | int, ...]) -> str:
    """Where a fault lies, as `inputs[3].content`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in place)
    return "".join(parts).removeprefix(".")


def _fault_of(detail: ErrorDetails) -> Fault:
    place, unknown = detail["loc"], detail["type"] == "extra_forbidden"
    if place[-1] in ("str", "float") and not unknown:  # of a value that may be either
        place = place[:-1]
    field = _path(place)
    if detail["type"] == "missing":
        return Fault(field=field, given="nothing", expected="must be given")
    expected = detail["msg"].replace("Input should be", "must be")
    if detail["type"] == "model_type":
        expected = "must be an object"
    if unknown:
        known = (one.alias or name for name, one in _model_at(place).model_fields.items())
        expected = f"no such property; known are {', '.join(known)}"
    return Fault(field=field, given=describe("text", detail["input"]), expected=expected)


def parse_definition(
    synthesis_id: str, raw: dict[str, Any], voices: VoiceDirectory, settings: Settings
) -> Definition:
    """The body as a batch; raises one error that names every fault of its form and markup."""
    inputs = raw.get("inputs")
    check_count(len(inputs) if isinstance(inputs, list) else 0, settings.max_batch_inputs)
    body = _body(raw)
    raise_faults(chain(_refused(body, synthesis_id), _content_faults(body)))
    find = remembered(voices)
    defaults = _defaults(body, find)
    texts = _joined(body, _texts(body, find))
    hours = _hours(body.properties, settings)
    head = {"defaults": defaults, "retention_s": hours * HOUR_S}
    if body.properties.time_to_live_in_hours is None:
        head["retention_s"] = settings.retention_s
    pieces = [
        RawInput(number=n, line=None, value={"name": f"{n:04d}", **one})
        for n, one in enumerate(texts, start=1)
    ]
    given = json.dumps([synthesis_id, raw], sort_keys=True)
    return Definition(
        pieces=[Head(values=head), *pieces],
        kept=_kept(body, hours),
        fingerprint=hashlib.sha256(given.encode()).hexdigest(),
    )


def _body(raw: dict[str, Any]) -> SynthesisBody:
    try:
        return SynthesisBody.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[: 2 * MOST_FAULTS + 2]  # a field has two at most
        faults = {fault.field: fault for fault in map(_fault_of, first)}
        later = (one for one in _input_faults(raw.get("inputs")) if one.field not in faults)
        raise_faults(chain(faults.values(), later))
        raise InvalidRequest from error


def _input_faults(inputs: object) -> Iterator[Fault]:
    """What is wrong with the inputs, one by one: the check of the whole body ends at the first."""
    for n, one in enumerate(inputs if isinstance(inputs, list) else ()):
        try:
            SynthesisInput.model_validate(one)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                yield _fault_of({**detail, "loc": ("inputs", n, *detail["loc"])})


def _refused(body: SynthesisBody, synthesis_id: str) -> Iterator[Fault]:
    config, properties = body.synthesis_config, body.properties
    if not ID.match(synthesis_id):
        expected = "3 to 64 letters, digits, . _ and -; the first and last no sign"
        yield Fault(field="id", given=describe("id", synthesis_id), expected=expected)
    if config is None and body.input_kind == "PlainText":
        yield Fault(field="synthesisConfig.voice", given="nothing", expected="must be given")
    if body.custom_voices:
        expected = "the farm has no custom voices; name one that GET /v1/voices lists"
        yield Fault(field="customVoices", given="voices", expected=expected)
    if properties.destination_container_url or properties.destination_path:
        expected = "the farm keeps results itself; outputs.result has a link to them"
        yield Fault(field="properties.destinationContainerUrl", given="one", expected=expected)
    if config and config.background_audio:
        expected = "the farm mixes no other sound in"
        yield Fault(field="synthesisConfig.backgroundAudio", given="one", expected=expected)
    if config and config.speaker_profile_id:
        expected = "the farm has no personal voices; name one that GET /v1/voices lists"
        yield Fault(field="synthesisConfig.speakerProfileId", given="one", expected=expected)
    wanted = properties.output_format
    if wanted and wanted.lower() not in FORMATS:
        field, given = "properties.outputFormat", describe("outputFormat", wanted)
        yield Fault(field=field, given=given, expected=f"must be one of {', '.join(FORMATS)}")


def _content_faults(body: SynthesisBody) -> Iterator[Fault]:
    if not body.inputs:
        yield Fault(field="inputs", given="none", expected="must hold at least one input")
    for n, one in enumerate(body.inputs):
        if (one.content is None) == (one.text is None):
            yield Fault(field=f"inputs[{n}].content", given="nothing", expected="must be given")


def _defaults(body: SynthesisBody, find: FindVoice) -> dict[str, Any]:
    """What holds for every input, as fields of a job."""
    properties, config = body.properties, body.synthesis_config
    ours, rate_hz = FORMATS[(properties.output_format or DEFAULT_FORMAT).lower()]
    captions = bool(properties.word_boundary_enabled or properties.sentence_boundary_enabled)
    made: dict[str, Any] = {"format": ours, "sample_rate": rate_hz, "captions": captions}
    if config is None or body.input_kind == "SSML":
        return made
    found = find(config.voice)
    made["voice"] = found.asked
    if config.style and (emotion := emotion_of(config.style, found.voice.emotions)):
        made["emotion"] = emotion
        if config.style_degree is not None:
            made["emotion_intensity"] = read_degree(config.style_degree)
    faults = []
    for field, ours_is, read, given in (
        ("rate", "speed", read_rate, config.rate),
        ("pitch", "pitch", read_pitch, config.pitch),
        ("volume", "volume", read_volume, config.volume),
    ):
        try:
            if given is not None and given != "":
                made[ours_is] = read(given)
        except ValueError as error:
            shown = describe(field, given)
            faults.append(Fault(field=f"synthesisConfig.{field}", given=shown, expected=str(error)))
    raise_faults(faults)
    return made


def _texts(body: SynthesisBody, find: FindVoice) -> list[dict[str, str]]:
    """The inputs as `text`, or as `ssml` with the voice that speaks first in it."""
    contents = [one.content if one.content is not None else one.text or "" for one in body.inputs]
    if body.input_kind == "PlainText":
        return [{"text": content} for content in contents]
    made, faults = [], list[Fault]()
    for n, content in enumerate(contents):
        try:
            markup = translated(content, find)
        except (MarkupFaultError, UnknownVoice) as error:
            faults.append(Fault(field=f"inputs[{n}].content", given="SSML", expected=str(error)))
            if len(faults) == MOST_FAULTS:
                break
            continue
        voice = {"voice": markup.voice} if markup.voice else {}
        made.append({"ssml": markup.ssml, **voice})
    raise_faults(faults)
    return made


def _joined(body: SynthesisBody, texts: list[dict[str, str]]) -> list[dict[str, str]]:
    """One input for all where they are to be one audio: one job, so one way of joining."""
    if not body.properties.concatenate_result or len(texts) == 1:
        return texts
    field = "text" if "text" in texts[0] else "ssml"
    whole = "\n".join(one[field] for one in texts)
    if field == "ssml" and (size := len(whole.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        expected = f"at most {MAX_BYTES} bytes of SSML can be joined; join the files yourself"
        raise_faults([Fault(field="properties.concatenateResult", given=f"{size} bytes",
                            expected=expected)])  # fmt: skip
    return [{**texts[0], field: whole}]


def _hours(properties: SynthesisProperties, settings: Settings) -> int:
    """How long the result is kept: as asked, but no longer than the store keeps anything."""
    limit = settings.object_lifetime_days * DAY_S // HOUR_S
    asked = properties.time_to_live_in_hours
    return min(asked, limit) if asked else max(1, settings.retention_s // HOUR_S)


def _kept(body: SynthesisBody, hours: int) -> dict[str, Any]:
    properties = body.properties
    kept: dict[str, Any] = {
        "inputKind": body.input_kind,
        "properties": {
            "timeToLiveInHours": hours,
            "outputFormat": (properties.output_format or DEFAULT_FORMAT).lower(),
            "concatenateResult": bool(properties.concatenate_result),
            "decompressOutputFiles": bool(properties.decompress_output_files),
            "wordBoundaryEnabled": bool(properties.word_boundary_enabled),
            "sentenceBoundaryEnabled": bool(properties.sentence_boundary_enabled),
        },
    }
    if body.description is not None:
        kept["description"] = body.description
    if body.synthesis_config:
        kept["synthesisConfig"] = body.synthesis_config.model_dump(by_alias=True, exclude_none=True)
    return kept
