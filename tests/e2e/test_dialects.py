"""OpenAI's and Replicate's own clients against real processes."""

import asyncio
import json
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
import replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import Webhooks

from api.dialects.openai import MODELS, VOICES
from api.dialects.replicate import INPUT
from tests.conftest import wait_until
from tests.e2e.conftest import Farm, farm_maker
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.e2e

HEADS = {"mp3": (b"\xff", b"ID3"), "opus": (b"OggS",), "flac": (b"fLaC",), "wav": (b"RIFF",)}
# More than one batch of the engine before the segment that lasts.
ENDLESS = "".join(f"这是第{i:02d}段，它有自己的内容。" for i in range(30)) + "[[sleep 600]]好的。"


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_maker(tmp_path_factory.mktemp("dialects")) as make:
        made = make(TTSFARM_SEGMENT_TIMEOUT_S="900", TTSFARM_VOICES="fake,fake-2")
        made.start(courier=True)
        made.wait_for_voices("fake", "fake-2")
        yield made


@pytest.fixture
def speech(farm: Farm) -> Iterator[openai.OpenAI]:
    url = f"http://127.0.0.1:{farm.api_port}/v1"
    with openai.OpenAI(api_key="any", base_url=url, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def predictor(farm: Farm) -> Iterator[replicate.Client]:
    client = replicate.Client(api_token="any", base_url=f"http://127.0.0.1:{farm.api_port}")
    client.poll_interval = 0.05
    with closing(client._client):
        yield client


def job_of(answer: Any) -> str:
    return str(answer.headers["Content-Location"].split("/")[3])


# OpenAI


@pytest.mark.parametrize("audio_format", HEADS)
def test_speech_in_every_format(farm: Farm, speech: openai.OpenAI, audio_format: Any) -> None:
    answer = speech.audio.speech.create(
        model="tts-1", voice="alloy", input="你好，世界。", response_format=audio_format
    )
    assert answer.content.startswith(HEADS[audio_format])
    job = farm.ended(job_of(answer.response))
    assert (job["request"]["voice"], job["request"]["format"]) == ("fake", audio_format)


def test_pcm_is_24_khz_with_instructions_and_speed(farm: Farm, speech: openai.OpenAI) -> None:
    answer = speech.audio.speech.create(
        model="gpt-4o-mini-tts",
        voice={"id": "fake-2"},
        input="今天天气很好。",
        instructions="Speak in a cheerful and positive tone.",
        speed=1.25,
        response_format="pcm",
    )
    assert answer.response.headers["Content-Type"] == "audio/pcm"
    job = farm.ended(job_of(answer.response))
    assert job["audio"]["sample_rate"] == 24_000
    assert abs(len(answer.content) / 2 / 24_000 - job["audio"]["duration_s"]) < 0.01
    said = job["request"]
    assert (said["voice"], said["emotion"], said["speed"]) == ("fake-2", "happy", 1.25)


def test_speech_streams_to_a_file(farm: Farm, speech: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.mp3"
    with speech.audio.speech.with_streaming_response.create(
        model="fake-2", voice="nova", input="一。二。三。" * 20
    ) as answer:
        heard = b"".join(answer.iter_bytes())
        job = farm.ended(job_of(answer))
    path.write_bytes(heard)
    assert job["request"]["voice"] == "fake-2"
    assert heard[-1000:] == farm.audio(job["id"])[-1000:]


def test_speech_async(farm: Farm) -> None:
    async def speak() -> bytes:
        url = f"http://127.0.0.1:{farm.api_port}/v1"
        async with openai.AsyncOpenAI(api_key="any", base_url=url, max_retries=0) as client:
            one = await client.audio.speech.create(
                model="tts-1", voice="alloy", input="你好。", response_format="wav"
            )
            async with client.audio.speech.with_streaming_response.create(
                model="tts-1", voice="alloy", input="你好。", response_format="pcm"
            ) as answer:
                sound = b"".join([chunk async for chunk in answer.iter_bytes()])
            assert sound
            assert "tts-1" in [model.id async for model in client.models.list()]
            return one.content

    assert asyncio.run(speak())[:4] == b"RIFF"


def events(answer: Any) -> Iterator[dict[str, Any]]:
    return (json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line)


def test_speech_as_events(farm: Farm, speech: openai.OpenAI) -> None:
    with speech.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input="一。二。三。", stream_format="sse",
        response_format="pcm",
    ) as answer:  # fmt: skip
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        *deltas, done = events(answer)
        job = farm.ended(job_of(answer))
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    assert b"".join(b64decode(one["audio"]) for one in deltas) == farm.audio(job["id"])
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 6, "output_tokens": 0, "total_tokens": 6},
    }


def test_models_and_voices(speech: openai.OpenAI) -> None:
    assert {"tts-1", "gpt-4o-mini-tts", "fake"} <= {model.id for model in speech.models.list()}
    assert speech.models.retrieve("fake").owned_by == "ttsfarm"
    voices = speech.get("/audio/voices", cast_to=object)["voices"]  # type: ignore[index]
    assert {"alloy", "cedar", "fake-2"} <= {voice["id"] for voice in voices}


def test_speech_that_can_not_be_is_an_error_of_theirs(speech: openai.OpenAI) -> None:
    def refused(**changes: Any) -> openai.APIStatusError:
        asked = {"model": "tts-1", "voice": "alloy", "input": "你好。", **changes}
        with pytest.raises(openai.APIStatusError) as raised:
            speech.audio.speech.create(**asked)
        return raised.value

    wrong = refused(response_format="aac")
    assert isinstance(wrong, openai.BadRequestError)
    assert (wrong.param, wrong.type) == ("response_format", "invalid_request_error")
    assert isinstance(refused(model="gpt-9"), openai.NotFoundError)
    assert refused(input="[[refuse]]坏的。").code == "text_refused"
    assert refused(input="x" * 200_001).code == "string_above_max_length"
    with pytest.raises(openai.NotFoundError) as raised:
        speech.models.retrieve("gpt-9")
    assert raised.value.code == "model_not_found"


# Replicate


def test_run_answers_with_the_audios_link(farm: Farm, predictor: replicate.Client) -> None:
    for ref in (
        "ttsfarm/fake",
        f"ttsfarm/fake:{predictor.models.get('ttsfarm/fake').latest_version.id}",
    ):
        output = predictor.run(ref, input={"text": "你好。", "format": "mp3", "emotion": "happy"})
        heard = farm.call("GET", str(output))
        assert (heard.status, heard.headers["Content-Type"]) == (200, "audio/mpeg")
    assert predictor.run("ttsfarm/fake", input={"text": "你好。"}, wait=False)


def test_a_prediction_from_start_to_end(predictor: replicate.Client) -> None:
    version = predictor.models.get("ttsfarm", "fake-2").latest_version
    assert version is not None
    made = predictor.predictions.create(version=version, input={"text": "你好。", "speed": 1.5})
    assert made.status in ("starting", "processing")
    made.wait()
    assert (made.status, made.error, made.model) == ("succeeded", None, "ttsfarm/fake-2")
    assert made.metrics is not None
    assert made.metrics["predict_time"] > 0
    assert made.progress is not None
    assert made.progress.percentage == 1.0
    assert predictor.predictions.get(made.id).output
    assert [event.event.value for event in made.stream()][-2:] == ["output", "done"]
    made.cancel()
    assert made.status == "succeeded"


def test_predictions_are_listed_page_by_page(farm: Farm, predictor: replicate.Client) -> None:
    farm.ended(farm.submit("不是预测。"))
    ids = [
        predictor.models.predictions.create("ttsfarm/fake", input={"text": "好。"}).id
        for _ in range(51)
    ]
    listed = [
        one.id for page in replicate.pagination.paginate(predictor.predictions.list) for one in page
    ]
    assert listed[:51] == ids[::-1]
    assert len(listed) == len(set(listed))
    native = {job["id"] for job in farm.call("GET", "/v1/jobs?limit=200").json["jobs"]}
    assert set(listed) < native


def test_a_failed_prediction_says_why(predictor: replicate.Client) -> None:
    with pytest.raises(ModelError) as raised:
        predictor.run("ttsfarm/fake", input={"text": "[[refuse]]坏的。"})
    assert raised.value.prediction.error
    with pytest.raises(ReplicateError) as refused:
        predictor.run("suno/bark", input={"text": "好。"})
    assert refused.value.status == 404
    assert "ttsfarm/fake" in str(refused.value.detail)
    with pytest.raises(ReplicateError, match="speed"):
        predictor.run("ttsfarm/fake", input={"text": "好。", "speed": 9})


def test_predictions_async(farm: Farm) -> None:
    async def predict() -> Any:
        client = replicate.Client(api_token="any", base_url=f"http://127.0.0.1:{farm.api_port}")
        client.poll_interval = 0.05
        async with client._async_client:
            made = await client.predictions.async_create(version="fake", input={"text": "好。"})
            await made.async_wait()
            page = await client.predictions.async_list()
            assert made.id in [one.id for one in page]
            return await client.async_run("ttsfarm/fake", input={"text": "你好。"})

    assert "/v1/files/jobs/" in str(asyncio.run(predict()))


def test_webhooks_are_predictions_and_their_client_knows_them(
    predictor: replicate.Client,
) -> None:
    receiver = Receiver(0)
    try:
        made = predictor.predictions.create(
            version="fake",
            input={"text": "你好。"},
            webhook=receiver.url,
            webhook_events_filter=["start", "output", "logs", "completed"],
        )
        wait_until(lambda: len(receiver.received) == 3, 90)
    finally:
        receiver.close()
    secret = predictor.webhooks.default.secret()
    told = []
    for headers, body in receiver.received:
        Webhooks.validate(headers=headers, body=body.decode(), secret=secret)
        told.append(json.loads(body))
    assert {one["id"] for one in told} == {made.id}
    events = {headers["webhook-id"].rpartition("_")[2] for headers, _ in receiver.received}
    assert events == {"started", "logs", "completed"}
    (ended,) = (
        json.loads(body)
        for headers, body in receiver.received
        if headers["webhook-id"].endswith("completed")
    )
    assert (ended["status"], ended["output"] is None) == ("succeeded", False)


def test_the_samples_of_the_docs_run(farm: Farm, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text("utf-8")
    samples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    said = ""
    for sample in samples:
        code = sample.replace("127.0.0.1:8080", f"127.0.0.1:{farm.api_port}")
        command = [sys.executable, "-c", code.replace("espeak-zh", "fake")]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        said += ran.stdout.decode()
    assert (tmp_path / "hello-openai.mp3").stat().st_size > 1000
    assert re.fullmatch(r"http\S+\nsucceeded http\S+\n", said)
    assert all(f"`{name}`" in page for name in INPUT)
    assert all(name in page for name in (*VOICES, *MODELS))


# What leaves the worker asleep comes last.


def test_sound_comes_while_a_text_is_rendered_and_a_cut_is_told(
    farm: Farm, speech: openai.OpenAI
) -> None:
    with speech.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=ENDLESS, stream_format="sse"
    ) as answer:
        told = events(answer)
        assert next(told)["type"] == "speech.audio.delta"
        job = farm.job(job_of(answer))
        assert (job["status"], job["audio"]) == ("running", None)
        farm.call("POST", f"/v1/jobs/{job['id']}/cancel")
        *_, last = told
    assert last["error"]["type"] == "server_error"
    farm.kill("worker0")
    farm.add_worker("worker1")


def test_waiting_in_vain_and_a_cancel(farm: Farm, predictor: replicate.Client) -> None:
    made = predictor.predictions.create(version="fake", input={"text": ENDLESS}, wait=1)
    assert (made.status, made.output) == ("starting", None)  # or their `run` would take it as done
    made.cancel()
    assert made.status == "canceled"
    farm.kill("worker1")
