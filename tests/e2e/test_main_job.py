"""The main job as a user runs it: a paragraph of Chinese news in, audio that plays out."""

import hashlib
import io
import socket
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e.conftest import Farm, MakeFarm, farm_maker

pytestmark = pytest.mark.e2e

NEWS = (
    "新华社北京11月20日电，国家统计局今天公布的数据显示，今年前十个月，全国规模以上工业企业"
    "利润总额同比增长3.6%。其中，高技术制造业利润增长较快，增速达到8.9%，为工业经济平稳运行"
    "提供了有力支撑。专家表示，随着各项政策持续发力，企业经营状况有望进一步改善。"
)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_maker(tmp_path_factory.mktemp("farms")) as make:
        farm = make(TTSFARM_VOICES="espeak,fake")
        farm.start()
        yield farm


def test_a_paragraph_of_news_becomes_a_wav_that_plays(farm: Farm) -> None:
    job = farm.ended(farm.submit(NEWS, voice="espeak-zh", emotion="happy"))
    assert job["status"] == "succeeded"
    assert job["progress"]["segments_done"] == job["progress"]["segments_total"] >= 3
    data = farm.audio(job["id"])
    assert hashlib.sha256(data).hexdigest() == job["audio"]["sha256"]
    with wave.open(io.BytesIO(data)) as played:
        seconds = played.getnframes() / played.getframerate()
        assert (played.getnchannels(), played.getsampwidth()) == (1, 2)
    assert seconds == pytest.approx(job["audio"]["duration_s"], abs=0.01)
    assert 15 < seconds < 90  # about 150 syllables
    samples, _ = soundfile.read(io.BytesIO(data))
    assert np.sqrt(np.mean(samples**2)) > 0.01
    assert farm.call("GET", job["audio"]["url"]).body == data
    assert job["timing"]["synthesis_ms"] > 0


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "ogg", "opus", "pcm"])
def test_every_format_decodes_to_the_same_length(farm: Farm, name: str) -> None:
    job = farm.ended(farm.submit("你好，世界。", voice="espeak-zh", format=name))
    data = farm.audio(job["id"])
    if name == "pcm":
        seconds = len(data) / 2 / job["audio"]["sample_rate"]
    else:
        samples, rate_hz = soundfile.read(io.BytesIO(data))
        seconds = len(samples) / rate_hz
    assert seconds == pytest.approx(job["audio"]["duration_s"], abs=0.1)


def test_fifty_callers_with_fifty_texts_each_get_their_own_audio(farm: Farm) -> None:
    texts = [f"第{i}位听众，您好。这是编号{i * 7 + 1}的消息。" for i in range(50)]

    def speak(text: str) -> str:
        job = farm.ended(farm.submit(text, voice="espeak-zh"), timeout_s=120)
        assert job["status"] == "succeeded"
        return hashlib.sha256(farm.audio(job["id"])).hexdigest()

    with ThreadPoolExecutor(50) as callers:
        parallel = list(callers.map(speak, texts))
    serial = [speak(text) for text in texts[::5]]
    assert parallel[::5] == serial
    assert len(set(parallel)) == 50


def test_the_articles_calls_answer_with_audio(farm: Farm) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    wav = farm.call("POST", "/synthesize", "text=你好".encode(), form)
    assert (wav.status, wav.body[:4]) == (200, b"RIFF")
    told = farm.call("POST", "/api/tts", {"text": "你好"}).json
    assert (told["code"], told["msg"]) == (200, "Success")
    assert farm.call("GET", told["data"]["audio_url"]).body[:4] == b"RIFF"
    assert farm.call("GET", "/health").json["model_loaded"] is True


def test_poison_text_fails_alone(farm: Farm) -> None:
    poison = farm.submit("前面。[[refuse]]。后面。", voice="fake")
    healthy = [farm.submit(f"第{i}句。", voice="fake") for i in range(5)]
    assert [farm.ended(job)["status"] for job in healthy] == ["succeeded"] * 5
    job = farm.ended(poison)
    assert (job["status"], job["error"]["code"]) == ("failed", "text_refused")


def test_markup_is_spoken_and_bad_markup_fails_with_its_place(farm: Farm) -> None:
    def speak(ssml: str) -> dict[str, Any]:
        answer = farm.call("POST", "/v1/jobs", {"ssml": ssml, "voice": "espeak-zh"})
        assert answer.status == 202, answer.body
        return farm.ended(answer.json["id"])

    plain = speak("<speak>你好，今天气温23℃。我们去公园吧。</speak>")
    paused = speak('<speak>你好，今天气温23℃。<break time="2s"/>我们去公园吧。</speak>')
    assert paused["audio"]["duration_s"] > plain["audio"]["duration_s"] + 1.5
    broken = speak("<speak><emotion>你好</speak>")
    assert (broken["status"], broken["error"]["code"]) == ("failed", "invalid_markup")
    assert "line 1" in broken["error"]["message"]


def test_what_can_not_be_spoken_is_reported(farm: Farm) -> None:
    job = farm.ended(farm.submit("今天真好😀，我们出发。", voice="espeak-zh"))
    (left_out,) = job["substitutions"]
    assert (left_out["start"], left_out["end"]) == (4, 5)


def test_a_worker_that_can_not_be_ready_ends_as_a_failure(make_farm: MakeFarm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        farm = make_farm(TTSFARM_METRICS_PORT=str(other.getsockname()[1]))
        farm.add_worker("worker")
        assert farm.children["worker"].wait(timeout=120) == 1
    assert "TTSFARM_METRICS_PORT" in (farm.directory / "worker.log").read_text("utf-8")
