"""What a job's body may hold, with every kind of bad input."""

import json
from typing import Any

import pytest

from api.requests import (
    Asked,
    Fault,
    JobBody,
    Rules,
    check_idempotency_key,
    examine,
    fingerprint,
    parse_job,
    raise_faults,
)
from api.voices import Offer, VoiceDirectory
from shared.errors import (
    FarmError,
    ForbiddenAddress,
    InvalidRequest,
    NoVoiceReady,
    TextTooLong,
    UnknownEmotion,
    UnknownVoice,
)
from shared.presence import KnownVoice
from shared.schemas import Voice
from shared.settings import Settings

FAKE = Voice(
    name="fake",
    engine="fake",
    language="zh",
    emotions=("neutral", "happy"),
    sample_rate_hz=16000,
    revision="1",
)


def refuse_private(url: str) -> None:
    if "127.0.0.1" in url:
        raise ForbiddenAddress


def rules(**settings: Any) -> Rules:
    chosen = Settings(default_voice="fake", max_text_chars=20, **settings)
    offer = Offer(
        voices={"fake": KnownVoice(voice=FAKE, ready_workers=1)}, aliases={"one": {"fake": 1}}
    )
    voices = VoiceDirectory(lambda: offer, chosen.default_voice)
    return Rules(settings=chosen, find_voice=voices.find, check_address=refuse_private)


def parse(**body: Any) -> Asked:
    return parse_job({"text": "你好", **body}, rules())


def faults_of(**body: Any) -> dict[str, dict[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        parse(**body)
    return {fault["field"]: fault for fault in caught.value.details["errors"]}


def test_a_text_alone_is_enough() -> None:
    asked = parse()
    assert (asked.text, asked.id, asked.request.voice) == ("你好", None, "fake")
    assert (asked.request.emotion, asked.request.retention_s) == ("neutral", 86_400)


def test_every_field_arrives() -> None:
    given = {
        "id": "lesson-1",
        "voice": "fake",
        "emotion": "happy",
        "emotion_intensity": 1.5,
        "speed": 2,
        "pitch": -12,
        "volume": 0,
        "format": "mp3",
        "sample_rate": 16000,
        "priority": "high",
        "webhook_url": "https://example.com/done",
        "webhook_events": ["started", "completed", "started"],
        "metadata": {"课": "一"},
        "retention_s": 600,
        "deadline_s": 30,
        "cache": False,
    }
    asked = parse(**given)
    request = asked.request.dump()
    assert asked.id == "lesson-1"
    assert request.pop("sample_rate_hz") == 16000
    assert request.pop("webhook_events") == ("started", "completed")
    expected = {k: v for k, v in given.items() if k not in ("id", "sample_rate", "webhook_events")}
    assert {name: request[name] for name in expected} == expected


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000\u3000"])
def test_a_blank_text_is_refused(text: str) -> None:
    assert faults_of(text=text)["text"]["expected"] == "must hold something to speak"


@pytest.mark.parametrize("body", [{}, {"text": None}])
def test_a_missing_text_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_job(body, rules())
    assert [fault["field"] for fault in caught.value.details["errors"]] == ["text"]


def test_a_text_over_the_limit_has_its_own_error() -> None:
    assert parse(text="好" * 20).text == "好" * 20
    with pytest.raises(TextTooLong) as caught:
        parse(text="好" * 21)
    assert (caught.value.details["characters"], caught.value.details["limit"]) == (21, 20)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("你\x00好", "U+0000 at position 1"),
        ("你好\x1b", "U+001B at position 2"),
        ("\x7f", "U+007F at position 0"),
        ("一\x85", "U+0085 at position 1"),
        ("一二\ud800", "U+D800 at position 2"),
        ("\udfff一", "U+DFFF at position 0"),
    ],
)
def test_controls_and_lone_surrogates_are_named_with_their_position(text: str, given: str) -> None:
    faults = faults_of(text=text)
    assert faults["text"]["given"] == given
    assert list(faults) == ["text"]


def test_line_breaks_tabs_and_astral_characters_are_text() -> None:
    assert parse(text="一\r\n\t𠮷👋").text == "一\r\n\t𠮷👋"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 5),
        ("text", ["你好"]),
        ("voice", 1),
        ("speed", "1.5"),
        ("speed", True),
        ("speed", 0.49),
        ("speed", 2.01),
        ("speed", float("nan")),
        ("speed", float("inf")),
        ("speed", 10**400),
        ("pitch", 12.5),
        ("pitch", None),
        ("volume", -0.1),
        ("emotion_intensity", 2.5),
        ("format", "aac"),
        ("format", 3),
        ("sample_rate", 7999),
        ("sample_rate", 48001),
        ("sample_rate", 16000.0),
        ("captions", 1),
        ("ssml", 5),
        ("priority", "urgent"),
        ("webhook_events", []),
        ("webhook_events", ["ended"]),
        ("webhook_events", "completed"),
        ("metadata", []),
        ("metadata", {str(i): "" for i in range(17)}),
        ("retention_s", 59),
        ("retention_s", 10**9),
        ("deadline_s", 0),
        ("cache", "yes"),
        ("id", "a/b"),
        ("id", "../x"),
        ("id", "a\n"),
        ("id", ""),
        ("id", "x" * 65),
        ("colour", "red"),
        ("samplerate", 16000),
    ],
)
def test_a_wrong_value_is_named(field: str, value: Any) -> None:
    faults = faults_of(**{field: value})
    assert [name.split(".")[0] for name in faults] == [field]
    assert all(fault["expected"] for fault in faults.values())


@pytest.mark.parametrize(
    "pair", [{"": "x"}, {"n" * 65: "x"}, {"n": "v" * 257}, {"n": "\x00"}, {"n": "\ud800"}, {"n": 1}]
)
def test_a_wrong_metadata_pair_is_named(pair: dict[str, Any]) -> None:
    (field,) = faults_of(metadata=pair)
    assert field == f"metadata.{next(iter(pair))}"


def test_a_rate_the_format_can_not_hold_is_refused_with_those_it_can() -> None:
    assert "48000" in faults_of(format="opus", sample_rate=44100)["sample_rate"]["expected"]
    assert parse(format="opus", sample_rate=48000).request.sample_rate_hz == 48000


def test_every_fault_is_reported_at_once() -> None:
    faults = faults_of(text="\x00", voice="nobody", speed=9, colour=1, format="aac", captions=1)
    assert set(faults) == {"text", "voice", "speed", "colour", "format", "captions"}
    assert "fake" in faults["voice"]["expected"]


def test_only_the_faults_that_are_told_are_made() -> None:
    made = (Fault(field=f"f{n}", given="1", expected="no such field") for n in range(1000))
    with pytest.raises(
        InvalidRequest, match=r"^More than 50 faults in: f0, f1, .*, f49, \.\.\.\.$"
    ):
        raise_faults(made)
    assert next(made).field == "f51"


def test_of_a_long_list_only_the_first_fault_is_told() -> None:
    assert list(faults_of(webhook_events=["ended"] * 100_000)) == ["webhook_events.0"]


@pytest.mark.parametrize(
    "bad",
    [
        {f"f{n}": 1 for n in range(1000)},
        {"metadata": {f"f{n}": 1 for n in range(1000)}},
        {"metadata": {f"f{n}": "\x00" for n in range(1000)}},
    ],
    ids=["fields", "values", "metadata"],
)
def test_of_a_body_of_nothing_but_faults_the_first_are_found(bad: dict[str, Any]) -> None:
    asked, faults = examine({"text": "你好", **bad}, rules())
    assert (asked, len(faults)) == (None, 51)


def test_what_is_expected_instead_of_unknown_fields_is_said_once() -> None:
    faults = examine({"text": "你好", **{f"f{n}": 1 for n in range(40)}}, rules())[1]
    assert len({id(fault.expected) for fault in faults}) == 1
    assert "known are id, text, ssml" in faults[0].expected


def test_the_text_itself_never_stands_in_an_error() -> None:
    with pytest.raises(FarmError) as caught:
        parse(text="秘密\x00", speed=9)
    assert "秘密" not in json.dumps([str(caught.value), caught.value.details], ensure_ascii=False)


def test_an_unknown_voice_alone_has_its_own_error_with_the_known_ones() -> None:
    with pytest.raises(UnknownVoice) as caught:
        parse(voice="nobody")
    assert caught.value.details["voices"] == ["fake", "one"]


def test_an_unknown_emotion_alone_has_its_own_error_with_the_known_ones() -> None:
    with pytest.raises(UnknownEmotion) as caught:
        parse(emotion="wistful")
    assert caught.value.details["emotions"] == ["neutral", "happy"]


def test_a_private_webhook_address_has_its_own_error() -> None:
    with pytest.raises(ForbiddenAddress):
        parse(webhook_url="http://127.0.0.1/")
    assert "webhook_url" in faults_of(webhook_url="http://127.0.0.1/", speed=9)


def test_an_alias_is_kept_beside_the_voice_it_led_to() -> None:
    assert (parse().request.voice, parse().request.alias) == ("fake", None)
    asked = parse(voice="one").request
    assert (asked.voice, asked.alias, asked.asked_voice) == ("fake", "one", "one")


def test_without_any_voice_the_farm_is_unavailable() -> None:
    nobody = VoiceDirectory(lambda: Offer(voices={}, aliases={}), "fake")
    empty = Rules(settings=Settings(), find_voice=nobody.find, check_address=refuse_private)
    with pytest.raises(NoVoiceReady):
        parse_job({"text": "你好"}, empty)


def test_the_fingerprint_is_the_bodys_whatever_the_order_and_the_id() -> None:
    one = fingerprint({"text": "你好", "speed": 1})
    assert one == fingerprint({"speed": 1, "id": "a", "text": "你好"})
    assert one != fingerprint({"text": "你好", "speed": 2})


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\n"])
def test_an_unfit_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest):
        check_idempotency_key(key)


def test_a_fit_idempotency_key_is_kept() -> None:
    assert check_idempotency_key("4f6b-01") == "4f6b-01"
    assert check_idempotency_key(None) is None


def test_ssml_is_taken_instead_of_text_not_beside_it() -> None:
    asked = parse(text=None, ssml="<speak>你好</speak>")
    assert (asked.text, asked.request.text_type) == ("<speak>你好</speak>", "ssml")
    with pytest.raises(InvalidRequest) as refused:
        parse(text="你好", ssml="<speak>你好</speak>")
    assert [error["field"] for error in refused.value.details["errors"]] == ["ssml"]
    with pytest.raises(InvalidRequest):
        parse(text=None, ssml="  ")


def test_every_field_of_the_body_reaches_the_request() -> None:
    beside = {"id", "text", "ssml", "sample_rate"}
    kept = set(parse().request.dump()) - {"text_type", "alias", "sample_rate_hz", "dialect"}
    assert set(JobBody.model_fields) - beside == kept
