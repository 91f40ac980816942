"""Listening to a job while it is rendered, against real processes."""

import hashlib
import http.client
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from shared.audio.encode import stream_header
from tests.conftest import wait_until
from tests.e2e.conftest import BIN, Farm, MakeFarm

pytestmark = pytest.mark.e2e

BOOK = "".join(f"这是第{i:02d}段，它有自己的内容，不和别的段落相同。" for i in range(30))
GAUGE = "ttsfarm_http_listening "
STREAM = "/v1/jobs/{}/audio?stream=1"


@contextmanager
def listening_to(farm: Farm, job: str, start: int = 0) -> Iterator[http.client.HTTPResponse]:
    """An open stream, hung up at the end of the block."""
    line = http.client.HTTPConnection("127.0.0.1", farm.api_port, timeout=90)
    with closing(line):
        headers = {"Range": f"bytes={start}-"} if start else {}
        line.request("GET", STREAM.format(job), headers=headers)
        with line.getresponse() as answer:
            assert answer.status == (206 if start else 200), answer.read()
            yield answer


def until_broken(answer: http.client.HTTPResponse) -> bytes:
    """What still comes before the connection breaks."""
    data = b""
    try:
        while piece := answer.read1(65_536):
            data += piece
    except (http.client.IncompleteRead, ConnectionError):
        return data
    raise AssertionError("the stream ended as if it were whole")


def streamed(farm: Farm, job: dict[str, Any]) -> bytes:
    """The whole stream of a job, made from its finished audio."""
    audio = farm.audio(job["id"])
    header = stream_header(job["audio"]["sample_rate"], job["audio"]["format"])
    return header + audio[len(header) :]


def listening(farm: Farm) -> float:
    lines = farm.call("GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(GAUGE))


def test_kill_9_of_the_api_in_the_middle_costs_a_listener_no_byte(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.006")
    farm.start(workers=2)
    for audio_format in ("wav", "mp3", "opus"):
        job_id = farm.submit(BOOK, format=audio_format, cache=False)
        with listening_to(farm, job_id) as answer:
            heard = answer.read(5_000)
            job = farm.job(job_id)
            assert (job["status"], job["audio"]) == ("running", None)
            assert job["timing"]["first_audio_ms"] is not None
            farm.kill("api")
            heard += until_broken(answer)
        farm.spawn("api", "ttsfarm", "serve")
        wait_until(farm.ready(1), 90)
        with listening_to(farm, job_id, start=len(heard)) as answer:
            heard += answer.read()
        assert heard == streamed(farm, farm.ended(job_id))
        with listening_to(farm, job_id, start=1_000) as answer:
            assert answer.read() == heard[1_000:]


def test_a_job_that_fails_breaks_the_connection_off(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.001")
    farm.start()
    job_id = farm.submit(BOOK + "[[sleep 2]]好的。" * 8 + "[[refuse]]坏的。")
    with listening_to(farm, job_id) as answer:
        assert until_broken(answer)[:4] == b"RIFF"
    assert farm.ended(job_id)["status"] == "failed"
    refused = farm.call("GET", STREAM.format(job_id))
    assert (refused.status, refused.json["code"]) == (409, "wrong_state")


def test_who_takes_nothing_is_cut_off_and_frees_the_place(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_STREAM_IDLE_S="10", TTSFARM_MAX_STREAMS="2")
    farm.start()
    # More than the sockets of both sides hold, so that the sender has to wait.
    job_id = farm.submit(BOOK * 6 + "[[sleep 60]]好的。", sample_rate=48_000)
    with ExitStack() as lines:
        for _ in range(2):
            line = socket.create_connection(("127.0.0.1", farm.api_port))
            lines.enter_context(line)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.sendall(f"GET {STREAM.format(job_id)} HTTP/1.1\r\nHost: farm\r\n\r\n".encode())
        wait_until(lambda: listening(farm) == 2, 30)
        refused = farm.call("GET", STREAM.format(job_id))
        assert (refused.status, refused.json["code"]) == (503, "too_many_streams")
        assert int(refused.headers["Retry-After"]) > 0
        wait_until(lambda: listening(farm) == 0, 60)


def test_who_hangs_up_frees_the_place(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_STREAM_IDLE_S="300", TTSFARM_MAX_STREAMS="1")
    farm.start()
    job_id = farm.submit(BOOK + "[[sleep 60]]好的。")
    with listening_to(farm, job_id) as answer:
        answer.read(1_000)
    wait_until(lambda: listening(farm) == 0, 60)
    farm.call("POST", f"/v1/jobs/{job_id}/cancel")


def test_say_writes_while_the_farm_speaks_and_survives_its_restart(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.02")
    farm.start()
    path = farm.directory / "book.mp3"
    command = [str(BIN / "ttsfarm"), "say", BOOK, "-o", str(path), "--stream", "--fresh"]
    with subprocess.Popen(
        [*command, "--url", f"http://127.0.0.1:{farm.api_port}"], stderr=subprocess.PIPE
    ) as say:
        wait_until(lambda: path.exists() and path.stat().st_size > 5_000, 60)
        farm.kill("api")
        farm.spawn("api", "ttsfarm", "serve")
        _, told = say.communicate(timeout=200)
    assert say.returncode == 0, told
    (job,) = farm.call("GET", "/v1/jobs").json["jobs"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == job["audio"]["sha256"]
