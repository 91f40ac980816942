"""The Python client, waiting and with asyncio, against a farm of real processes."""

import asyncio
import inspect
import io
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.routes.client import wheel_name
from tests.certificates import Certificates
from tests.conftest import free_port, wait_until
from tests.e2e.conftest import Farm, farm_maker
from tests.e2e.flaky import Flaky
from tests.e2e.receiver import Receiver
from ttsfarm_client import (
    AsyncClient,
    Client,
    FarmProblem,
    FarmUnreachable,
    InvalidSignature,
    Job,
    JobFailed,
    verify_webhook,
)

pytestmark = pytest.mark.e2e

TEXT = "第一句话。第二句话。第三句话。"


class Awaited:
    """An `AsyncClient` whose calls are awaited here, so that one test is for both clients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            made = getattr(self._client, name)(*args, **options)
            if inspect.isasyncgen(made):
                return iter(asyncio.run(_all_of(made)))
            return asyncio.run(made)

        return call


async def _all_of(chunks: Any) -> list[bytes]:
    return [chunk async for chunk in chunks]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver(refusals=0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_maker(tmp_path_factory.mktemp("client")) as make:
        made = make()
        made.start(courier=True)
        made.wait_for_voices("fake")
        yield made


@pytest.fixture
def flaky(farm: Farm) -> Iterator[Flaky]:
    made = Flaky(farm.api_port)
    yield made
    made.close()


@pytest.fixture(params=[Client, Awaited], ids=["waiting", "asyncio"])
def client(request: pytest.FixtureRequest, flaky: Flaky) -> Any:
    return request.param(flaky.url)


def jobs_of(farm: Farm, mark: str) -> list[dict[str, Any]]:
    return list(farm.call("GET", f"/v1/jobs?metadata.mark={mark}").json["jobs"])


def test_speak_gives_the_audio_and_tells_the_progress(farm: Farm, client: Any) -> None:
    seen: list[Job] = []
    speech = client.speak(
        TEXT + "慢[[sleep 1]]。",
        voice="fake",
        format="flac",
        on_progress=seen.append,
        timeout_s=120,
    )
    assert speech.audio[:4] == b"fLaC"
    assert speech.audio == farm.audio(speech.job.id)
    assert [job.id for job in seen] == [speech.job.id] * len(seen)
    assert not seen[0].finished
    assert seen[-1].finished
    assert speech.job.view["metadata"] == {}


@pytest.mark.parametrize("fault", ["refuse", 0, 40])
def test_a_submit_that_breaks_is_repeated_and_makes_one_job(
    farm: Farm, client: Any, flaky: Flaky, request: pytest.FixtureRequest, fault: str | int
) -> None:
    mark = str(abs(hash(request.node.name)))
    flaky.faults.extend([fault, fault])
    job = client.submit("一次。", voice="fake", metadata={"mark": mark})
    assert not flaky.faults
    assert [one["id"] for one in jobs_of(farm, mark)] == [job.id]
    assert client.wait(job, timeout_s=120).audio is not None


def test_the_same_key_is_the_same_job(client: Any, request: pytest.FixtureRequest) -> None:
    key = request.node.name
    first = client.submit("同一个。", key=key, voice="fake")
    assert client.submit("同一个。", key=key, voice="fake").id == first.id
    with pytest.raises(FarmProblem) as refused:
        client.submit("另一个。", key=key, voice="fake")
    assert (refused.value.status, refused.value.code) == (409, "idempotency_conflict")


def test_a_stream_that_breaks_twice_has_the_bytes_of_the_file(
    farm: Farm, client: Any, flaky: Flaky
) -> None:
    job = client.submit(TEXT * 3 + "慢[[sleep 1]]。", voice="fake", format="pcm", cache=False)
    flaky.faults.extend([6000, 20_000])
    heard = b"".join(client.stream(job))
    assert not flaky.faults
    client.wait(job.id, timeout_s=120)
    assert heard == farm.audio(job.id)


def test_a_download_that_breaks_is_taken_up_again(farm: Farm, client: Any, flaky: Flaky) -> None:
    job = client.wait(client.submit(TEXT, voice="fake"), timeout_s=120)
    flaky.faults.extend([5000, "refuse", 7000])
    assert b"".join(client.audio(job)) == farm.audio(job.id)
    assert not flaky.faults


def test_a_batch_is_one_archive(client: Any) -> None:
    inputs = ["第一课。", {"text": "第二课。", "name": "two"}]
    batch = client.batch(inputs, defaults={"voice": "fake", "format": "mp3"}, timeout_s=120)
    assert batch.counts["succeeded"] == batch.counts["total"] == batch.n_ended == 2
    with zipfile.ZipFile(io.BytesIO(b"".join(client.results(batch)))) as archive:
        assert {"00001.mp3", "two.mp3", "manifest.json"} <= set(archive.namelist())


def test_a_job_that_fails_says_why(client: Any) -> None:
    with pytest.raises(JobFailed) as failed:
        client.speak("这里。[[refuse]]", voice="fake", timeout_s=120)
    assert failed.value.job.view["error"]["code"] == "text_refused"


def test_what_takes_too_long_is_a_timeout_and_can_be_canceled(client: Any) -> None:
    job = client.submit("很久很久[[sleep 1]]。\n\n" * 60, voice="fake", cache=False)
    with pytest.raises(TimeoutError, match=job.id):
        client.wait(job, timeout_s=0)
    assert client.cancel(job).status == "canceled"


def test_a_refusal_names_every_fault(client: Any) -> None:
    with pytest.raises(FarmProblem) as refused:
        client.submit("", speed=9)
    assert (refused.value.status, refused.value.code) == (422, "invalid_request")
    assert {fault["field"] for fault in refused.value.faults} == {"text", "speed"}
    with pytest.raises(ValueError, match="either"):
        client.submit()


def test_voices(client: Any) -> None:
    assert "fake" in {voice.name for voice in client.voices() if voice.ready_workers}


async def seconds_to_give_up(call: Coroutine[Any, Any, object], met: threading.Event) -> float:
    """How long a call takes to end that is canceled as soon as the farm has been `met`."""
    task = asyncio.create_task(call)
    assert await asyncio.to_thread(met.wait, 60)
    asked_s = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    return time.monotonic() - asked_s


def test_a_call_that_is_given_up_ends_at_once_over_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    met, over = threading.Event(), threading.Event()

    def say_nothing(server: socket.socket) -> None:
        with context.wrap_socket(server.accept()[0], server_side=True) as held:
            held.recv(1)
            met.set()
            over.wait(120)

    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = threading.Thread(target=say_nothing, args=(server,))
        silent.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        client = AsyncClient(url, tls=ssl.create_default_context(cafile=certificates.ca))
        took_s = asyncio.run(seconds_to_give_up(client.voices(), met))
        over.set()
        silent.join()
    assert took_s < 15  # a farewell that is answered by nobody would take 30 s


@pytest.mark.parametrize("kind", [Client, Awaited])
def test_nobody_there_is_told_at_once(kind: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(FarmUnreachable, match="connection refused"):
        kind(url).voices()
    with pytest.raises(ValueError, match="no address"):
        kind("127.0.0.1:8080")


def test_a_webhook_of_the_farm_is_verified(farm: Farm, client: Any, receiver: Receiver) -> None:
    receiver.received.clear()
    job = client.submit("告诉我。", voice="fake", webhook_url=receiver.url)
    wait_until(lambda: bool(receiver.received), 60)
    ((headers, body),) = receiver.received
    secret = farm.call("GET", "/v1/webhooks/secret").json["secret"]
    message = verify_webhook(secret, headers, body)
    assert message["type"] == "job.completed"
    assert Job.read(message["data"]).id == job.id
    with pytest.raises(InvalidSignature):
        verify_webhook(secret, headers, body + b" ")


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import asyncio
from ttsfarm_client import AsyncClient, Client
audio = Client(sys.argv[2]).speak("你好。", voice="fake").audio
assert asyncio.run(AsyncClient(sys.argv[2]).speak("你好。", voice="fake")).audio == audio
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(len(audio), [file for file in files if "site-packages" in file])
"""


def test_the_farms_wheel_works_where_nothing_is_installed(farm: Farm, tmp_path: Path) -> None:
    answer = farm.call("GET", f"/client/{wheel_name()}")
    assert answer.status == 200
    wheel = tmp_path / wheel_name()
    wheel.write_bytes(answer.body)
    target = tmp_path / "bare"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, timeout=120)
    url = f"http://127.0.0.1:{farm.api_port}"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", SCRIPT, str(target), url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    n_bytes, _, foreign = ran.stdout.strip().partition(" ")
    assert int(n_bytes) > 44
    assert json.loads(foreign) == []
    assert farm.call("GET", "/client/other.whl").status == 404
