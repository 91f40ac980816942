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


def test_kill_9_of_the_api_in_the_middle_costs_no_listener_a_byte(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_FAKE_COST_S_PER_CHAR="0.02")
    farm.start()
    path = farm.directory / "book.mp3"
    command = [str(BIN / "ttsfarm"), "say", BOOK, "-o", str(path), "--stream"]
    url = ("--url", f"http://127.0.0.1:{farm.api_port}")
    with subprocess.Popen([*command, *url], stderr=subprocess.PIPE) as say:
        wait_until(lambda: path.exists() and path.stat().st_size > 1_000, 90)
        (job,) = farm.call("GET", "/v1/jobs").json["jobs"]
        with listening_to(farm, job["id"]) as answer:
            heard = answer.read(1_000)
            job = farm.job(job["id"])
            assert (job["status"], job["audio"]) == ("running", None)
            assert job["timing"]["first_audio_ms"] is not None
            farm.kill("api")
            heard += until_broken(answer)
        farm.spawn("api", "ttsfarm", "serve")
        wait_until(farm.ready(1), 90)
        with listening_to(farm, job["id"], start=len(heard)) as answer:
            heard += answer.read()
        _, told = say.communicate(timeout=120)
    assert say.returncode == 0, told
    job = farm.ended(job["id"])
    assert heard == streamed(farm, job)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == job["audio"]["sha256"]
    with listening_to(farm, job["id"], start=1_000) as answer:
        assert answer.read() == heard[1_000:]


def test_a_stream_never_ends_well_without_its_end(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_STREAM_IDLE_S="10", TTSFARM_MAX_STREAMS="2")
    farm.start()
    failing = farm.submit(BOOK + "[[sleep 5]]好的。[[sleep 5]]很好。[[refuse]]坏的。")
    with listening_to(farm, failing) as answer:
        assert until_broken(answer)[:4] == b"RIFF"
    assert farm.ended(failing)["status"] == "failed"
    # More than the sockets of both sides hold, so that the sender has to wait.
    job_id = farm.submit(BOOK * 6 + "[[sleep 60]]好的。", sample_rate=48_000)
    request = f"GET {STREAM.format(job_id)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with ExitStack() as lazy:
        for _ in range(2):
            line = lazy.enter_context(socket.create_connection(("127.0.0.1", farm.api_port)))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.sendall(request)
        wait_until(lambda: listening(farm) == 2, 60)
        refused = farm.call("GET", STREAM.format(job_id))
        assert (refused.status, refused.json["code"]) == (503, "too_many_streams")
        assert int(refused.headers["Retry-After"]) > 0
        wait_until(lambda: listening(farm) == 0, 90)  # cut off, though nobody hung up
    farm.kill("worker0")  # it would finish its sleep first
