"""OpenAI's speech calls: their body as a job, the farm's voices as their models and voices."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.dialects.failures import openai_failure
from api.listening import CutOff
from api.requests import Asked, Rules, parse_body, parse_job
from api.voices import Found, Offer
from shared.errors import FarmError, UnknownModel, UnknownVoice
from shared.schemas import Job
from shared.views import View

# Names every client of theirs knows. One that the farm offers, as a voice or by `ttsfarm alias`,
# is that voice; the others are the default voice.
VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
)  # fmt: skip
MODELS = (
    "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-03-20", "gpt-4o-mini-tts-2025-12-15",
    "tts-1", "tts-1-1106", "tts-1-hd", "tts-1-hd-1106",
)  # fmt: skip
PCM_RATE_HZ = 24_000  # what their clients take pcm for
MAX_INSTRUCTIONS = 4096
NEGATED = re.compile(
    r"(?:\b(?:not|never|no|without|isn't|don't (?:be|sound))\W+(?:\w+\W+)?"
    r"|(?:不要?|(?<![特分])别|勿)太?)\Z"
)
NEGATION_CHARS = 64  # before a word; looked for from the beginning, many words took a second
TABLE = Path(__file__).parent / "emotions.tsv"


class VoiceRef(BaseModel):
    """A voice named by an object."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: str


class SpeechBody(BaseModel):
    """The body of `POST /v1/audio/speech`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(description="One of GET /v1/models; a voice's name there speaks by default")
    input: str = Field(description="What to speak; up to TTSFARM_MAX_TEXT_CHARS characters")
    voice: str | VoiceRef = Field(description="One of GET /v1/audio/voices")
    instructions: str | None = Field(
        default=None,
        max_length=MAX_INSTRUCTIONS,
        description="The first emotion named in it that the voice has is spoken with",
    )
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = Field(
        default="mp3", description="pcm is 24000 Hz, 16 bit, little-endian, one channel"
    )
    speed: float = Field(default=1.0, ge=0.5, le=2)
    stream_format: Literal["audio", "sse"] = "audio"


class FailureDetail(View):
    message: str
    type: str
    param: str | None
    code: str


class SpeechFailure(View):
    """OpenAI's form of an error."""

    error: FailureDetail


class SpeechModelView(View):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "ttsfarm"


class SpeechModelList(View):
    object: Literal["list"] = "list"
    data: list[SpeechModelView]


class SpeechVoiceView(View):
    id: str
    name: str
    object: Literal["audio.voice"] = "audio.voice"
    speaks: str | None = Field(description="The voice of the farm behind the name")
    language: str | None
    emotions: list[str]


class SpeechVoiceList(View):
    voices: list[SpeechVoiceView]


@cache
def _emotion_words() -> tuple[tuple[re.Pattern[str], str], ...]:
    rows = (line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if line[0] != "#")
    found = []
    for emotion, words in rows:
        for word in words.split():
            edge = r"\b" if word.isascii() else ""
            found.append((re.compile(f"{edge}{re.escape(word)}{edge}", re.IGNORECASE), emotion))
    return tuple(found)


def emotion_in(instructions: str, emotions: Sequence[str]) -> str | None:
    """The emotion named first in `instructions` among a voice's `emotions`, None for none."""
    places = [
        (match.start(), emotion)
        for pattern, emotion in _emotion_words()
        if emotion in emotions
        for match in pattern.finditer(instructions)
        if not NEGATED.search(_before(match))
    ]
    return min(places)[1] if places else None


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - NEGATION_CHARS) : match.start()].lower()


def parse_speech(raw: dict[str, Any], rules: Rules, offer: Offer) -> tuple[SpeechBody, Asked]:
    """What the body asks for, and the job that does it; raises errors in the farm's own names."""
    body = parse_body(SpeechBody, {name: one for name, one in raw.items() if one is not None})
    check_model(body.model, offer)
    named = body.voice.id if isinstance(body.voice, VoiceRef) else body.voice
    try:
        found = rules.find_voice(named)
    except UnknownVoice:
        if named.lower() not in VOICES:
            raise
        found = rules.find_voice(body.model if body.model in offer.names else None)
    values: dict[str, Any] = {
        "text": body.input,
        "voice": found.asked,
        "emotion": emotion_in(body.instructions or "", _emotions(found, offer)),
        "speed": body.speed,
        "format": body.response_format,
    }
    if body.response_format == "pcm":
        values["sample_rate"] = PCM_RATE_HZ
    return body, parse_job(values, rules)


def _emotions(found: Found, offer: Offer) -> list[str]:
    """The emotions of the voice; of an alias those that all its voices have."""
    others = [known.voice for known, _ in offer.targets(found.asked)]
    return [
        emotion
        for emotion in found.voice.emotions
        if all(emotion in voice.emotions for voice in others)
    ]


def check_model(name: str, offer: Offer) -> None:
    """Raise `UnknownModel` where no call can name this model."""
    known = model_names(offer)
    if name not in known:
        raise UnknownModel(
            f"There is no model {name[:80]!r}; known: {', '.join(known)}.", models=known
        )


def model_names(offer: Offer) -> list[str]:
    """Their models, which speak with the voice asked for, and the farm's voices."""
    return [*MODELS, *(name for name in offer.names if name not in MODELS)]


def voice_list(offer: Offer, default: str | None) -> SpeechVoiceList:
    """The farm's voices, then their built-in names."""
    views = [_voice(name, name, offer) for name in offer.names]
    views += [_voice(name, default, offer) for name in VOICES if name not in offer.names]
    return SpeechVoiceList(voices=views)


def _voice(name: str, speaks: str | None, offer: Offer) -> SpeechVoiceView:
    voice = offer.targets(speaks)[0][0].voice if speaks in offer.names and speaks else None
    return SpeechVoiceView(
        id=name,
        name=name,
        speaks=speaks,
        language=voice.language if voice else None,
        emotions=list(voice.emotions) if voice else [],
    )


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def speech_events(
    sound: Iterator[bytes], job: Job, why: Callable[[], FarmError]
) -> Iterator[bytes]:
    """The sound as their server-sent events; one that breaks off ends with the error `why` tells.

    They count tokens; the farm has none, so `usage` counts the characters of the text.
    """
    try:
        for chunk in sound:
            yield _event({"type": "speech.audio.delta", "audio": b64encode(chunk).decode()})
    except CutOff:
        yield _event(openai_failure(why())[0])
        return
    usage = {"input_tokens": job.n_chars, "output_tokens": 0, "total_tokens": job.n_chars}
    yield _event({"type": "speech.audio.done", "usage": usage})
