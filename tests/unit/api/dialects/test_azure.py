"""Azure's body, SSML, names and errors in the farm's own terms."""

import json
from typing import Any

import pytest

from api.batch_bodies import Head, RawInput
from api.dialects.azure.bodies import Definition, parse_definition
from api.dialects.azure.names import find_voice, remembered
from api.dialects.azure.ssml import MAX_BYTES, MarkupFaultError, translated
from api.dialects.azure.values import (
    FORMATS,
    emotion_of,
    read_pitch,
    read_rate,
    read_volume,
)
from api.dialects.failures import azure_failure
from api.voices import Offer, VoiceDirectory
from shared.errors import (
    BodyTooLarge,
    FarmError,
    IdempotencyConflict,
    InternalError,
    InvalidRequest,
    NotFound,
    StateStoreUnavailable,
    TooManyRequests,
    Unauthorized,
    UnknownVoice,
    UnsupportedMediaType,
)
from shared.formats import allowed_rates
from shared.presence import KnownVoice
from shared.schemas import Voice
from shared.settings import Settings


def known(name: str, language: str, ready_workers: int = 1) -> KnownVoice:
    voice = Voice(
        name=name,
        engine="fake",
        language=language,
        emotions=("neutral", "happy", "sad"),
        sample_rate_hz=16000,
        revision="1",
    )
    return KnownVoice(voice=voice, ready_workers=ready_workers)


OFFER = Offer(
    voices={
        "zh": known("zh", "zh-CN"),
        "en-gone": known("en-gone", "en-GB", 0),
        "en-here": known("en-here", "en-US"),
    },
    aliases={"zh-CN-YunxiNeural": {"zh": 1}},
)
SSML = (
    '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
    'xmlns:mstts="https://www.w3.org/2001/mstts" xml:lang="zh-CN">{}</speak>'
)
PLAIN: dict[str, Any] = {
    "inputKind": "PlainText",
    "inputs": [{"content": "你好。"}, {"content": "再见。"}],
    "synthesisConfig": {"voice": "zh-CN-XiaoxiaoNeural"},
}


def directory(offer: Offer = OFFER) -> VoiceDirectory:
    return VoiceDirectory(lambda: offer, "zh")


def parse(body: dict[str, Any], synthesis_id: str = "my.job-1", **settings: Any) -> Definition:
    return parse_definition(synthesis_id, body, directory(), Settings(**settings))


def head(asked: Definition) -> dict[str, Any]:
    first = asked.pieces[0]
    assert isinstance(first, Head)
    return first.values


def values(asked: Definition) -> list[dict[str, Any]]:
    return [piece.value for piece in asked.pieces if isinstance(piece, RawInput)]


def faults(body: dict[str, Any], synthesis_id: str = "my.job-1") -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        parse(body, synthesis_id)
    return [fault["message"] for fault in raised.value.details["errors"]]


def rewritten(inner: str) -> str:
    return translated(SSML.format(inner), remembered(directory())).ssml


# Names and numbers


@pytest.mark.parametrize(
    ("given", "factor"),
    [("1.2", 1.2), (1.5, 1.5), ("+30.00%", 1.3), ("-10%", 0.9), ("50%", 1.5), ("fast", 1.55),
     ("default", 1.0), ("9", 2.0), ("-90%", 0.5)],
)  # fmt: skip
def test_a_rate_is_a_factor_or_a_change(given: str | float, factor: float) -> None:
    assert read_rate(given) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("given", "semitones"),
    [("+2st", 2), ("-2st", -2), ("+100%", 12), ("-50%", -12), ("+0Hz", 0), ("+200Hz", 12),
     ("default", 0), ("+900%", 12)],
)  # fmt: skip
def test_a_pitch_is_a_change(given: str, semitones: float) -> None:
    assert read_pitch(given) == pytest.approx(semitones)


@pytest.mark.parametrize(
    ("given", "gain"),
    [("100", 1), (75.0, 0.75), ("+10", 1.1), ("-50%", 0.5), ("20%", 1.2), ("silent", 0),
     ("default", 1), ("+6dB", 1.995), ("+900%", 2)],
)  # fmt: skip
def test_a_volume_is_a_level_or_a_change(given: str | float, gain: float) -> None:
    assert read_volume(given) == pytest.approx(gain, abs=0.001)


@pytest.mark.parametrize("read", [read_rate, read_pitch, read_volume])
@pytest.mark.parametrize("given", ["loudly", "", "1e9", "--5%", "600Hz", "101x"])
def test_what_is_no_value_says_what_is_one(read: Any, given: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        read(given)


def test_every_output_format_is_one_the_farm_encodes() -> None:
    for name, (ours, rate_hz) in FORMATS.items():
        assert rate_hz in allowed_rates(ours), name
        assert name.startswith({"wav": "riff", "pcm": "raw", "mp3": "audio", "opus": "ogg"}[ours])


def test_a_style_is_an_emotion_the_voice_has_or_neutral() -> None:
    has = ("neutral", "happy", "sad")
    assert [emotion_of(one, has) for one in ("cheerful", "Depressed", "happy")] == [
        "happy",
        "sad",
        "happy",
    ]
    assert [emotion_of(one, has) for one in ("newscast", "angry", "")] == [None, None, None]


def test_a_name_of_theirs_is_an_alias_or_a_voice_of_its_language() -> None:
    found = {
        name: find_voice(name, directory()).asked
        for name in (
            "zh", "zh-CN-YunxiNeural", "zh-CN-liaoning-XiaobeiNeural", "en-US-JennyNeural",
            "en-US-Ava:DragonHDLatestNeural",
            "Microsoft Server Speech Text to Speech Voice (en-US, JennyNeural)",
        )
    }  # fmt: skip
    assert list(found.values()) == ["zh", "zh-CN-YunxiNeural", "zh", *("en-here",) * 3]


@pytest.mark.parametrize("name", ["ja-JP-NanamiNeural", "nobody", "zh-CN"])
def test_a_voice_nobody_can_stand_in_for_is_unknown(name: str) -> None:
    with pytest.raises(UnknownVoice, match="en-here") as raised:
        find_voice(name, directory())
    assert "zh" in raised.value.details["voices"]


def test_a_name_is_looked_up_once_for_a_body() -> None:
    reads = []

    def read() -> Offer:
        reads.append(1)
        return OFFER

    find = remembered(VoiceDirectory(read, "zh", clock=lambda: 0.0))
    for _ in range(5):
        with pytest.raises(UnknownVoice):
            find("ja-JP-NanamiNeural")
        assert find("zh-CN-XiaoxiaoNeural").asked == "zh"
    assert len(reads) == 2  # for each name once


# SSML


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ('<voice name="zh-CN-XiaoxiaoNeural">好</voice>', '<voice name="zh">好</voice>'),
        ('<mstts:express-as style="sad" styledegree="1.5">好</mstts:express-as>',
         '<emotion category="sad" intensity="1.5">好</emotion>'),
        ('<mstts:express-as style="newscast" role="Girl">好</mstts:express-as>', "好"),
        ('<prosody rate="+20%" pitch="-1st" volume="50">好</prosody>',
         '<prosody rate="120%" pitch="-1st" volume="25">好</prosody>'),
        ('一<break time="1.5s"/>二<break time="0ms"/>三<break strength="weak"/>四',
         '一<break time="1500ms"></break>二三<break strength="weak"></break>四'),
        ('<say-as interpret-as="number_digit">12</say-as>',
         '<say-as interpret-as="digits">12</say-as>'),
        ('<say-as interpret-as="ordinal">12</say-as>', "12"),
        ('<phoneme alphabet="sapi" ph="chong 2 qing 4">重庆</phoneme>',
         '<phoneme alphabet="py" ph="chong2 qing4">重庆</phoneme>'),
        ('<sub alias="a &lt; b">c &amp; d</sub>', '<sub alias="a &lt; b">c &amp; d</sub>'),
        ('<p><s>一</s></p><lang xml:lang="en-US">two</lang><bookmark mark="x"/>'
         '<mstts:silence type="Sentenceboundary" value="200ms"/><emphasis>三</emphasis>',
         "<p><s>一</s></p>two三"),
        ("<!-- nothing --><![CDATA[<好>]]>", "&lt;好&gt;"),
    ],
)  # fmt: skip
def test_their_elements_become_ours(theirs: str, ours: str) -> None:
    assert rewritten(theirs) == f"<speak>{ours}</speak>"


def test_the_first_voice_speaks_for_the_document() -> None:
    find = remembered(directory())
    inner = '<voice name="en-US-JennyNeural">Hi</voice><voice name="zh-CN-YunxiNeural">好</voice>'
    made = translated(SSML.format(inner), find)
    assert made.voice == "en-here"
    assert made.ssml.count('<voice name="zh">') == 1
    assert translated(SSML.format("好"), find).voice is None


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("好", "line 1: the markup is not well-formed"),
        ("<p>好</p>", "<p>, not a <speak>"),
        (SSML.format("\n<shout>好</shout>"), "line 2: <shout> is not known"),
        (SSML.format('<audio src="x.wav"/>'), "nothing like <audio>"),
        (SSML.format('<mstts:backgroundaudio src="x"/>'), "nothing like <mstts:backgroundaudio>"),
        (SSML.format('<voice name="zh" effect="eq_car">好</voice>'), "no effects"),
        (SSML.format("<voice>好</voice>"), "<voice>: needs a name"),
        (SSML.format('<prosody contour="(0%,+20Hz)">好</prosody>'), "no contour"),
        (SSML.format('<prosody rate="quickly">好</prosody>'), "<prosody>: rate is"),
        (SSML.format('<break time="11s"/>'), "time is up to 10000ms"),
        (SSML.format('<phoneme alphabet="ipa" ph="x">好</phoneme>'), "pinyin with tones"),
        (SSML.format('<mstts:express-as style="sad" styledegree="3">好</mstts:express-as>'),
         "styledegree is"),
        (SSML.format("<speak>好</speak>"), "stands inside another element"),
        ('<!DOCTYPE speak [<!ENTITY a "b">]><speak>&a;</speak>', "entities"),
        ("<speak><?php x?></speak>", "processing instructions"),
        (f"<speak>{'x' * MAX_BYTES}</speak>", f"at most {MAX_BYTES}"),
    ],
)  # fmt: skip
def test_markup_that_can_not_be_spoken_says_why(source: str, why: str) -> None:
    with pytest.raises(MarkupFaultError) as raised:
        translated(source, remembered(directory()))
    assert why in str(raised.value)


# Bodies


def test_plain_text_is_a_batch_with_numbered_inputs() -> None:
    asked = parse(PLAIN)
    assert values(asked) == [{"name": "0001", "text": "你好。"}, {"name": "0002", "text": "再见。"}]
    assert head(asked) == {
        "defaults": {"format": "wav", "sample_rate": 24000, "captions": False, "voice": "zh"},
        "retention_s": 86_400,
    }
    assert asked.kept == {
        "inputKind": "PlainText",
        "properties": {
            "timeToLiveInHours": 24,
            "outputFormat": "riff-24khz-16bit-mono-pcm",
            "concatenateResult": False,
            "decompressOutputFiles": False,
            "wordBoundaryEnabled": False,
            "sentenceBoundaryEnabled": False,
        },
        "synthesisConfig": {"voice": "zh-CN-XiaoxiaoNeural"},
    }


def test_what_is_asked_of_all_inputs_becomes_the_jobs_fields() -> None:
    config = {"voice": "zh-CN-XiaoxiaoNeural", "style": "cheerful", "styleDegree": 1.5,
              "rate": "+10%", "pitch": "default", "volume": 80}  # fmt: skip
    properties = {"outputFormat": "Ogg-48khz-16bit-mono-opus", "sentenceBoundaryEnabled": True}
    asked = parse({**PLAIN, "synthesisConfig": config, "properties": properties})
    assert head(asked)["defaults"] == {
        "format": "opus", "sample_rate": 48000, "captions": True, "voice": "zh",
        "emotion": "happy", "emotion_intensity": 1.5, "speed": 1.1, "pitch": 0.0, "volume": 0.8,
    }  # fmt: skip


def test_what_is_null_was_not_given() -> None:
    nothing = {"properties": None, "customVoices": None, "description": None}
    assert parse({**PLAIN, **nothing}).kept == parse(PLAIN).kept


def test_ssml_names_its_own_voices() -> None:
    content = SSML.format('<voice name="en-US-JennyNeural">Hi</voice>')
    asked = parse({"inputKind": "ssml", "inputs": [{"content": content}, {"text": content}]})
    assert asked.kept["inputKind"] == "SSML"
    assert [(one["name"], one["voice"]) for one in values(asked)] == [
        ("0001", "en-here"),
        ("0002", "en-here"),
    ]
    assert "voice" not in head(asked)["defaults"]


def test_the_faults_of_several_inputs_are_told_and_no_more_than_are_read() -> None:
    unknown, fine = {f"f{n}": 1 for n in range(3)}, {"content": "好"}
    told = faults({**PLAIN, "colour": 1, "inputs": [fine, unknown, {"text": 1}, fine, 5, unknown]})
    assert sorted(one.partition(":")[0] for one in told) == [
        "colour",
        *(f"inputs[1].f{n}" for n in range(3)),
        "inputs[2].text",
        "inputs[4]",
        *(f"inputs[5].f{n}" for n in range(3)),
    ]


@pytest.mark.parametrize("bad", [{f"f{n}": 1 for n in range(100)}, {}, 5])
def test_of_many_faults_in_inputs_the_first_are_told(bad: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^More than 50 faults") as raised:
        parse({**PLAIN, "inputs": [bad] * 10_000})
    assert len(raised.value.details["errors"]) == 50


def test_more_inputs_than_a_batch_may_have_are_not_looked_at() -> None:
    with pytest.raises(BodyTooLarge, match="more than 3 inputs"):
        parse({**PLAIN, "inputs": [5] * 4}, max_batch_inputs=3)


def test_concatenated_inputs_are_one() -> None:
    joined = {"properties": {"concatenateResult": True}}
    assert values(parse({**PLAIN, **joined})) == [{"name": "0001", "text": "你好。\n再见。"}]
    content = SSML.format('<voice name="zh">好</voice>')
    (one,) = values(parse({"inputKind": "SSML", "inputs": [{"content": content}] * 2, **joined}))
    assert one["ssml"].count("<speak>") == 2
    long = {"content": SSML.format("x" * (MAX_BYTES // 2))}
    assert "can be joined" in faults({"inputKind": "SSML", "inputs": [long] * 3, **joined})[0]


@pytest.mark.parametrize(("asked", "kept"), [(1, 1), (744, 720)])
def test_results_are_kept_as_asked_but_no_longer_than_the_store_keeps_them(
    asked: int, kept: int
) -> None:
    made = parse({**PLAIN, "properties": {"timeToLiveInHours": asked}}, object_lifetime_days=30)
    assert head(made)["retention_s"] == kept * 3600
    assert made.kept["properties"]["timeToLiveInHours"] == kept


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": None}, "inputs: must be a valid list"),
        ({"inputs": []}, "inputs: must hold at least one input"),
        ({"inputs": [{}]}, "inputs[0].content: must be given"),
        ({"inputs": ["好"]}, "inputs[0]: "),
        ({"inputKind": "Morse"}, "inputKind: must be 'PlainText' or 'SSML'"),
        ({"synthesisConfig": None}, "synthesisConfig.voice: must be given"),
        ({"customVoices": {"mine": "502ac834"}}, "customVoices: the farm has no custom voices"),
        ({"properties": {"outputFormat": "amr-wb-16000hz"}}, "riff-24khz-16bit-mono-pcm, "),
        ({"properties": {"destinationContainerUrl": "https://a"}}, "outputs.result has a link"),
        ({"properties": {"timeToLiveInHours": 745}}, "properties.timeToLiveInHours: must be"),
        ({"properties": []}, "properties: must be an object"),
        ({"synthesisConfig": {"voice": "zh", "rate": []}}, "synthesisConfig.rate: must be a"),
        ({"properties": {"loud": True}}, "properties.loud: no such property; known are time"),
        ({"synthesisConfig": {"voice": "zh", "backgroundAudio": {"src": "https://a"}}}, "no other"),
        ({"synthesisConfig": {"voice": "zh", "speakerProfileId": "a"}}, "no personal voices"),
        ({"synthesisConfig": {"voice": "zh", "rate": "?"}}, "synthesisConfig.rate: rate is"),
        ({"str": 1}, "str: no such property"),
        ({"unheard": 1}, "unheard: no such property; known are description, displayName, inputK"),
    ],
)
def test_what_can_not_be_done_is_told_by_its_property(changes: dict[str, Any], told: str) -> None:
    assert told in faults({**PLAIN, **changes})[0]


def test_every_fault_of_the_markup_is_told() -> None:
    bad = [{"content": "<speak>"}, {"content": SSML.format("好")}, {"content": "<a/>"}]
    assert [one.partition(":")[0] for one in faults({"inputKind": "SSML", "inputs": bad})] == [
        "inputs[0].content",
        "inputs[2].content",
    ]


@pytest.mark.parametrize("synthesis_id", ["ab", "-abc", "abc.", "a b c", "a" * 65, "名字呢"])
def test_an_id_has_their_form(synthesis_id: str) -> None:
    assert "3 to 64 letters" in faults(PLAIN, synthesis_id)[0]


def test_the_same_body_under_another_id_is_another_synthesis() -> None:
    assert parse(PLAIN).fingerprint == parse(json.loads(json.dumps(PLAIN))).fingerprint
    assert parse(PLAIN).fingerprint != parse(PLAIN, "other-id").fingerprint


# Errors


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("no"), 400, "BadRequest"),
        (UnknownVoice("no"), 400, "BadRequest"),
        (BodyTooLarge("no"), 413, "BadRequest"),
        (Unauthorized("no"), 401, "Unauthorized"),
        (NotFound("no"), 404, "NotFound"),
        (IdempotencyConflict("no"), 409, "Conflict"),
        (UnsupportedMediaType("no"), 415, "UnsupportedMediaType"),
        (TooManyRequests("no"), 429, "TooManyRequests"),
        (StateStoreUnavailable("no"), 503, "ServiceUnavailable"),
        (InternalError("no"), 500, "InternalServerError"),
    ],
)
def test_an_error_has_their_form(error: FarmError, status: int, code: str) -> None:
    body, given = azure_failure(error)
    assert (given, body) == (
        status,
        {"error": {"code": code, "message": "no",
                   "innererror": {"code": error.code, "message": "no"}}},
    )  # fmt: skip


def test_a_fault_of_an_input_is_told_where_it_stands_in_their_body() -> None:
    found = [
        {"input": 3, "field": "text", "message": "text: must hold something to speak"},
        {"field": "defaults.sample_rate", "message": "defaults.sample_rate: no"},
    ]
    error = azure_failure(InvalidRequest("2 faults", errors=found))[0]["error"]
    assert (error["target"], error["message"]) == (
        "inputs[2].content",
        "inputs[2].content: must hold something to speak",
    )
    assert error["details"][1]["target"] == "properties.outputFormat"
