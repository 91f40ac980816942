"""The engine `sambert` in the farm: text through API, queue, worker and store to a webhook."""

import io
from collections.abc import Iterator
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
    text = "今天天气很好。我们去公园，好不好？"
    job_id = farm.submit(text, emotion="happy", webhook_url=receiver.url)
    job = farm.ended(job_id, 60)
    assert job["status"] == "succeeded", job["error"]
    samples, rate_hz = soundfile.read(io.BytesIO(farm.audio(job_id)))
    assert rate_hz == voice["sample_rate"]
    assert len(samples) / rate_hz == pytest.approx(job["audio"]["duration_s"], abs=0.01)
    wait_until(lambda: len(receiver.received) == 1, 60)
    ((headers, body),) = receiver.received
    secret = farm.call("GET", "/v1/webhooks/secret").json["secret"]
    assert Webhook(secret).verify(body, headers)["data"]["id"] == job_id
