"""The engine `sambert` in the farm: text through API, queue, worker and store to a webhook."""

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
from standardwebhooks import Webhook

from tests.conftest import wait_until
from tests.e2e.conftest import MakeFarm
from tests.e2e.receiver import Receiver

pytest.importorskip("torch", reason="the sambert extra is not installed")
pytestmark = pytest.mark.e2e

MODEL = Path(__file__).parents[1] / "golden" / "plain" / "model"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(refusals=0)
    yield receiver
    receiver.close()


def test_a_model_folder_speaks_in_the_farm(
    make_farm: MakeFarm, receiver: Receiver, tmp_path: Path
) -> None:
    farm = make_farm(
        TTSFARM_VOICES="sambert",
        TTSFARM_MODELS=str(MODEL),
        TTSFARM_DEFAULT_VOICE="zhitian_emo",
        TTSFARM_CACHE_DIR=str(tmp_path / "cache"),
    )
    farm.start(courier=True)
    (voice,) = farm.call("GET", "/v1/voices").json["voices"]
    assert (voice["name"], voice["engine"]) == ("zhitian_emo", "sambert")
    assert "happy" in voice["emotions"]
    text = "今天是2026年，天气很好。我们用iPhone拍照，好不好？"
    job_id = farm.submit(text, emotion="happy", captions=True, webhook_url=receiver.url)
    job = farm.ended(job_id, 60)
    assert job["status"] == "succeeded", job["error"]
    samples, rate_hz = soundfile.read(io.BytesIO(farm.audio(job_id)))
    assert rate_hz == voice["sample_rate"]
    assert len(samples) / rate_hz == pytest.approx(job["audio"]["duration_s"], abs=0.01)
    sentences = farm.call("GET", job["captions"]["json"]).json["sentences"]
    assert "".join(one["text"] for one in sentences) == text
    words = [word for one in sentences for word in one["words"]]
    assert {"2026", "iPhone", "年，"} <= {word["text"] for word in words}
    edges = [word[edge] for word in words for edge in ("start_ms", "end_ms")]
    assert all(a <= b for a, b in pairwise([0, *edges, 1000 * len(samples) / rate_hz]))
    assert len({*edges}) > len(words)  # durations of the model's own, not one for all
    wait_until(lambda: len(receiver.received) == 1, 60)
    ((headers, body),) = receiver.received
    secret = farm.call("GET", "/v1/webhooks/secret").json["secret"]
    assert Webhook(secret).verify(body, headers)["data"]["id"] == job_id


def test_two_engines_share_a_job(make_farm: MakeFarm, tmp_path: Path) -> None:
    farm = make_farm(
        TTSFARM_VOICES="espeak-zh,sambert",
        TTSFARM_MODELS=str(MODEL),
        TTSFARM_DEFAULT_VOICE="espeak-zh",
        TTSFARM_CACHE_DIR=str(tmp_path / "cache"),
    )
    farm.start()
    ssml = (
        "<speak>小明说有3只。"
        '<voice name="zhitian_emo"><emotion category="happy">我看见了5只！</emotion></voice>'
        "</speak>"
    )
    answer = farm.call("POST", "/v1/jobs", {"ssml": ssml}, {"Prefer": "wait=30"})
    job = farm.ended(answer.json["id"], 60)
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["segments_total"] == 2
    espeak, sambert = (
        farm.ended(farm.submit(text, voice=voice), 60)["audio"]["duration_s"]
        for text, voice in (("小明说有3只。", "espeak-zh"), ("我看见了5只！", "zhitian_emo"))
    )
    assert job["audio"]["duration_s"] > 0.7 * (espeak + sambert)
