"""OpenAI's body and errors in the farm's own terms."""

import json
from collections.abc import Iterator

import pytest

from api.dialects.failures import openai_failure
from api.dialects.openai import (
    VOICES,
    emotion_in,
    model_names,
    parse_speech,
    speech_events,
    voice_list,
)
from api.listening import CutOff
from api.requests import Asked, Rules
from api.voices import Offer, VoiceDirectory
from shared.errors import (
    FarmError,
    InvalidRequest,
    SynthesisError,
    TextRefused,
    TextTooLong,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnknownModel,
    UnknownVoice,
)
from shared.presence import KnownVoice
from shared.schemas import Voice
from shared.settings import Settings
from tests.unit.shared.test_views import QUEUED

EMOTIONS = ("neutral", "happy", "sad", "angry")


def known(name: str) -> KnownVoice:
    voice = Voice(
        name=name,
        engine="fake",
        language="zh",
        emotions=EMOTIONS,
        sample_rate_hz=16000,
        revision="1",
    )
    return KnownVoice(voice=voice, ready_workers=1)


OFFER = Offer(
    voices={name: known(name) for name in ("fake", "other")}, aliases={"nova": {"other": 1}}
)
SPEECH = {"model": "tts-1", "input": "你好。", "voice": "alloy"}


def parse(**changes: object) -> Asked:
    directory = VoiceDirectory(lambda: OFFER, "fake")
    rules = Rules(settings=Settings(), find_voice=directory.find, check_address=lambda url: None)
    return parse_speech({**SPEECH, **changes}, rules, OFFER)[1]


def test_their_defaults_are_kept() -> None:
    asked = parse()
    assert asked.text == "你好。"
    assert (asked.request.voice, asked.request.format, asked.request.emotion) == (
        "fake", "mp3", "neutral",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("voice", "speaks"),
    [*((name, "fake") for name in VOICES if name != "nova"), ("nova", "other"), ("other", "other"),
     ({"id": "other"}, "other"), ("Alloy", "fake")],
)  # fmt: skip
def test_a_built_in_name_is_the_default_voice_unless_the_farm_has_one(
    voice: object, speaks: str
) -> None:
    assert parse(voice=voice).request.voice == speaks


def test_a_voice_named_as_the_model_speaks_for_the_built_in_names_alone() -> None:
    assert parse(model="other").request.voice == "other"
    assert parse(model="other", voice="fake").request.voice == "fake"


@pytest.mark.parametrize("model", ["tts-1-1106", "tts-1-hd-1106", "gpt-4o-mini-tts-2025-03-20"])
def test_a_dated_name_of_a_model_is_that_model(model: str) -> None:
    assert parse(model=model).request == parse().request


def test_pcm_has_the_rate_their_clients_expect() -> None:
    assert parse(response_format="pcm").request.sample_rate_hz == 24_000
    assert parse(response_format="wav").request.sample_rate_hz is None


@pytest.mark.parametrize(
    ("instructions", "emotion"),
    [
        ("Speak in a cheerful and positive tone.", "happy"),
        ("Angrily, then with a SAD ending.", "angry"),
        ("用悲伤的语气朗读", "sad"),
        ("特别开心地说", "happy"),
        ("不要太悲伤", None),
        ("Do not sound sad", None),
        ("Not sad, but happy.", "happy"),
        ("Read the saddle story.", None),
        ("Sound terrified.", None),  # the voice has no fear
        ("", None),
    ],
)
def test_the_first_emotion_the_voice_has_is_taken(instructions: str, emotion: str | None) -> None:
    assert emotion_in(instructions, EMOTIONS) == emotion


def test_how_far_back_a_negation_is_looked_for_is_bounded() -> None:
    """To the beginning for each word, 4,096 characters of such words took half a second."""
    assert emotion_in(f"not{' ' * 50}sad", ("sad",)) is None
    assert emotion_in(f"not{' ' * 4000}sad", ("sad",)) == "sad"


def failure(**changes: object) -> dict[str, object]:
    with pytest.raises(FarmError) as raised:
        parse(**changes)
    body, status = openai_failure(raised.value)
    assert status in (400, 404)
    return dict(body["error"])


@pytest.mark.parametrize(
    ("changes", "param", "part"),
    [
        ({"input": ""}, "input", "input: must hold something"),
        ({"input": None}, "input", "must be given"),
        ({"response_format": "aac"}, "response_format", "'pcm'"),
        ({"speed": 4.0}, "speed", "less than or equal to 2"),
        ({"speed": 0.25}, "speed", "greater than or equal to 0.5"),
        ({"voice": "nobody"}, "voice", "fake"),
        ({"voice": 7}, "voice", "must be"),
        ({"model": "whisper-1"}, "model", "tts-1"),
        ({"instructions": "x" * 5000}, "instructions", "4096"),
        ({"temperature": 1}, "temperature", "no such field"),
    ],
)
def test_a_fault_names_their_parameter(changes: dict[str, object], param: str, part: str) -> None:
    told = failure(**changes)
    assert told["param"] == param
    assert part in str(told["message"])
    assert told["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (Unauthorized(), 401, "authentication_error", "invalid_api_key"),
        (TooManyRequests(), 429, "rate_limit_error", "rate_limit_exceeded"),
        (TextTooLong(), 400, "invalid_request_error", "string_above_max_length"),
        (UnknownModel(), 404, "invalid_request_error", "model_not_found"),
        (UnknownVoice(), 400, "invalid_request_error", "unknown_voice"),
        (InvalidRequest(), 400, "invalid_request_error", "invalid_request"),
        (TextRefused(), 400, "invalid_request_error", "text_refused"),
        (SynthesisError(), 500, "server_error", "synthesis_failed"),
        (Unavailable(), 503, "server_error", "unavailable"),
    ],
)
def test_errors_have_their_statuses_and_types(
    error: FarmError, status: int, kind: str, code: str
) -> None:
    body, answered = openai_failure(error)
    assert (answered, body["error"]["type"], body["error"]["code"]) == (status, kind, code)
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_lists_have_their_names_and_the_farms() -> None:
    assert {"tts-1", "fake", "other", "nova"} <= set(model_names(OFFER))
    voices = {one.id: one.speaks for one in voice_list(OFFER, "fake").voices}
    assert voices["alloy"] == voices["fake"] == "fake"
    assert set(voices) == {*VOICES, "fake", "other"}


def events(sound: Iterator[bytes]) -> list[dict[str, object]]:
    made = b"".join(speech_events(sound, QUEUED, lambda: TextRefused("It is no text.")))
    return [json.loads(one.removeprefix("data: ")) for one in made.decode().split("\n\n") if one]


def test_a_stream_of_events_ends_with_done() -> None:
    delta, done = events(iter([b"\x00\x01"]))
    assert delta == {"type": "speech.audio.delta", "audio": "AAE="}
    assert done["type"] == "speech.audio.done"


def test_a_broken_stream_ends_with_the_reason() -> None:
    def sound() -> Iterator[bytes]:
        yield b"\x00"
        raise CutOff("the recording broke off")

    _, last = events(sound())
    assert last == {
        "error": {
            "message": "It is no text.",
            "type": "invalid_request_error",
            "param": None,
            "code": "text_refused",
        }
    }
