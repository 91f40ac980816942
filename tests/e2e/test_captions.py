"""Captions as a user gets them: submit with `captions`, fetch every format, compare with the audio
and the text."""

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
import webvtt

from tests.conftest import wait_until
from tests.e2e.conftest import Farm, farm_maker

pytestmark = pytest.mark.e2e

NEWS = (
    "  2026年11月22日，《人民日报》报道：全年增长5.2%！\n\n“消费回升了😀。”他说；"
    "OpenAI的GPT-4模型、iPhone手机都降价了，花了¥100元，it's fine。"
    "天气很好，我们去公园散步，路上看见许多花儿开了，"
    "孩子们在湖边放风筝，老人们在树下下棋，大家都很高兴。"
)
SSML = (
    '<speak>你好&amp;欢迎。<break time="700ms"/>\n'
    '<voice name="espeak-en">Hello, it\'s 1984.</voice>'
    '<prosody rate="80%">今天是<say-as interpret-as="date">2026-11-22</say-as>。</prosody>'
    '<sub alias="万维网">WWW</sub>很好。</speak>'
)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_maker(tmp_path_factory.mktemp("farms")) as make:
        farm = make(TTSFARM_VOICES="espeak,fake")
        farm.start()
        yield farm


def sentences_of(farm: Farm, job_id: str) -> list[dict[str, Any]]:
    answer = farm.call("GET", f"/v1/jobs/{job_id}/captions.json")
    assert answer.status == 200, answer.body
    return list(answer.json["sentences"])


def check_times(sentences: list[dict[str, Any]], duration_ms: int) -> None:
    """Every sentence and word in order, inside the audio, and most of them of some length."""
    words = [word for one in sentences for word in one["words"]]
    edges = [word[edge] for word in words for edge in ("start_ms", "end_ms")]
    assert all(earlier <= later for earlier, later in pairwise([0, *edges, duration_ms]))
    for one in sentences:
        assert one["text"] == "".join(word["text"] for word in one["words"])
        assert one["start_ms"] == one["words"][0]["start_ms"]
        assert one["end_ms"] == one["words"][-1]["end_ms"]
    assert sum(word["start_ms"] < word["end_ms"] for word in words) > 0.9 * len(words)


@pytest.mark.parametrize("voice", ["espeak-zh", "espeak-en", "fake"])
def test_captions_hold_the_text_in_time_with_the_audio(farm: Farm, voice: str) -> None:
    text = 'Hello, it\'s 1984! "Fine", said Mr. Smith.\n' if voice == "espeak-en" else NEWS
    job = farm.ended(farm.submit(text, voice=voice, captions=True))
    assert job["status"] == "succeeded", job["error"]
    samples, rate_hz = soundfile.read(io.BytesIO(farm.audio(job["id"])))
    sentences = sentences_of(farm, job["id"])
    assert "".join(one["text"] for one in sentences) == text
    check_times(sentences, round(1000 * len(samples) / rate_hz))
    for one in sentences:
        # Where a sentence is shown there is sound, and between two of them there is none.
        spoken = samples[one["start_ms"] * rate_hz // 1000 : one["end_ms"] * rate_hz // 1000]
        assert np.abs(spoken).max() > 0.05
    for one, following in pairwise(sentences):
        middle_ms = (one["end_ms"] + following["start_ms"]) // 2
        around = samples[(middle_ms - 10) * rate_hz // 1000 : (middle_ms + 10) * rate_hz // 1000]
        assert np.abs(around).max() < 0.01


def test_subtitles_parse_and_hold_the_text(farm: Farm) -> None:
    job = farm.ended(farm.submit(NEWS, voice="espeak-zh", captions=True))
    duration_ms = round(1000 * job["audio"]["duration_s"])
    for name in ("vtt", "srt"):
        text = farm.call("GET", job["captions"][name]).body.decode()
        parsed = (
            webvtt.from_string(text)
            if name == "vtt"
            else webvtt.from_buffer(io.StringIO(text), format="srt")
        )
        assert "".join("".join(one.text.split()) for one in parsed) == "".join(NEWS.split())
        edges = [
            time.in_milliseconds() for one in parsed for time in (one.start_time, one.end_time)
        ]
        assert all(earlier <= later for earlier, later in pairwise([0, *edges, duration_ms]))
    assert farm.call("GET", job["captions"]["lrc"]).body.startswith(b"[00:00.")


def test_markup_with_two_voices_is_captioned_without_its_tags(farm: Farm) -> None:
    job = farm.ended(farm.submit(None, ssml=SSML, voice="espeak-zh", captions=True))
    assert job["status"] == "succeeded", job["error"]
    sentences = sentences_of(farm, job["id"])
    content = "".join(ElementTree.fromstring(SSML).itertext())
    assert "".join(one["text"] for one in sentences) == content
    check_times(sentences, round(1000 * job["audio"]["duration_s"]))
    first, second = sentences[:2]
    assert 700 <= second["start_ms"] - first["end_ms"] < 900  # the break and the edges' margins
    dates = [word for one in sentences for word in one["words"] if word["text"] == "2026-11-22。"]
    assert len(dates) == 1
    assert dates[0]["end_ms"] - dates[0]["start_ms"] > 1_000  # ten syllables


def test_captions_go_with_the_job(farm: Farm) -> None:
    job_id = farm.submit("再见。", captions=True)
    farm.ended(job_id)
    folder = farm.directory / "objects" / "objects" / "jobs" / job_id
    wait_until(lambda: any(folder.glob("captions-*.json")), 30)
    farm.call("DELETE", f"/v1/jobs/{job_id}")
    assert farm.call("GET", f"/v1/jobs/{job_id}/captions.srt").status == 404
    wait_until(lambda: not any(folder.glob("captions-*.json")), 60)
