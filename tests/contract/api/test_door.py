"""Slow callers and broken requests at the real server: nobody else waits for them."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from api.door import SPARE_S
from tests.conftest import RedisServer, wait_until
from tests.contract.api.test_server import Served

pytestmark = pytest.mark.redis

N_THREADS = 8  # of the server under test
N_SLOW = 3 * N_THREADS
BIG_BYTES = 30_000_000  # more than sockets buffer

Start = Callable[..., Served]


@pytest.fixture
def start(api: Any, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the server with settings of a test's own."""
    with ExitStack() as ends:
        yield lambda **settings: ends.enter_context(serving(redis_url, tmp_path, **settings))


@pytest.fixture(scope="module")
def patient_server(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One server for the tests that change nothing of it; it has all the time there is."""
    place = tmp_path_factory.mktemp("door")
    with serving(redis_server.url, place, TTSFARM_API_RECEIVE_S="3600") as served:
        yield served


@pytest.fixture
def small(start: Start) -> Served:
    """One that takes 20 kB, and 40 kB of a batch."""
    return start(TTSFARM_MAX_BODY_BYTES="20000", TTSFARM_MAX_BATCH_BYTES="40000")


@pytest.fixture
def patient(api: Any, patient_server: Served) -> Served:
    """That server, with no jobs and a voice."""
    return patient_server


@contextmanager
def serving(redis_url: str, place: Path, **settings: str) -> Iterator[Served]:
    made = Served(redis_url, place, TTSFARM_API_THREADS=str(N_THREADS), **settings)
    yield made
    made.process.terminate()
    made.process.wait(timeout=60)


def connect(served: Served, ends: ExitStack, data: bytes = b"") -> socket.socket:
    made = ends.enter_context(socket.create_connection(("127.0.0.1", served.port), 60))
    made.sendall(data)
    return made


def post(
    body: bytes, *headers: str, path: str = "/v1/jobs", kind: str = "application/json"
) -> bytes:
    fields = ["Host: 127.0.0.1", f"Content-Type: {kind}", *headers]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def answer(sock: socket.socket) -> tuple[int, dict[str, Any]]:
    """The one answer to come before the server hangs up, or the first of several."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += received(sock)
    return int(head.split()[1]), json.loads(body)


def received(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    assert data, "the server hung up"
    return data


def read_rest(sock: socket.socket) -> int:
    n_bytes = 0
    try:
        while data := sock.recv(1_000_000):
            n_bytes += len(data)
    except ConnectionResetError:
        pass
    return n_bytes


TEXT = '{"text": "你好。"}'.encode()
SIZED = f"Content-Length: {len(TEXT)}"
CHUNKED = "Transfer-Encoding: chunked"


def works(served: Served) -> None:
    """Others are served: a probe, a job, a list."""
    assert served.call("/livez", timeout_s=60)[0] == 200
    assert served.call("/v1/jobs", TEXT, timeout_s=60)[0] == 202
    assert served.call("/v1/jobs", timeout_s=60)[0] == 200


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /livez HTTP/1.1\r\nX-Slow: ", post(TEXT[:5], SIZED), post(b"5\r\nab", CHUNKED)],
    ids=["nothing", "head", "body", "chunk"],
)
def test_more_slow_senders_than_threads_hold_nobody_up(patient: Served, begun: bytes) -> None:
    served = patient
    with ExitStack() as ends:
        slow = [connect(served, ends, begun) for _ in range(N_SLOW)]
        works(served)
        if begun == post(TEXT[:5], SIZED):
            slow[0].sendall(TEXT[5:])  # who was slow and not broken is served too
            assert answer(slow[0])[0] == 202


def test_more_slow_readers_than_threads_hold_nobody_up(start: Start, api: Any) -> None:
    job = api.submit(format="wav")
    api.finish(b"x" * BIG_BYTES)
    served = start(TTSFARM_STREAM_IDLE_S="3600")
    with ExitStack() as ends:
        slow = [
            connect(served, ends, get(f"/v1/jobs/{job}/audio")) for _ in range(N_SLOW)
        ]  # fmt: skip
        for one in slow:
            assert received(one).startswith(b"HTTP/1.1 200")
        works(served)
        slow[0].shutdown(socket.SHUT_WR)  # it reads on, and gets the whole
        assert read_rest(slow[0]) > BIG_BYTES - 100_000


def test_who_takes_nothing_is_cut_off_and_who_sends_nothing_gets_a_408(
    start: Start, api: Any
) -> None:
    job = api.submit(format="wav")
    api.finish(b"x" * BIG_BYTES)
    served = start(TTSFARM_STREAM_IDLE_S="5", TTSFARM_API_RECEIVE_S="5")
    with ExitStack() as ends:
        reader = connect(served, ends, get(f"/v1/jobs/{job}/audio"))
        for begun in (b"GET /livez HTTP/1.1\r\nX: ", post(b"{", SIZED)):
            status, problem = answer(connect(served, ends, begun))
            assert (status, problem["code"], problem["retryable"]) == (408, "slow_caller", True)
        wait_until(lambda: "takes nothing: cut off" in served.log.read_text("utf-8"), 60)
        assert read_rest(reader) < BIG_BYTES


@pytest.mark.parametrize(
    "begun",
    [
        post(TEXT, f"Content-Length: {len(TEXT) + 1}"),
        post(TEXT[:-1], SIZED),
        post(b"%x\r\n%b\r\n" % (len(TEXT), TEXT), CHUNKED),
        post(b"%x\r\n%b\r\n0\r\n" % (len(TEXT), TEXT), CHUNKED),
        post(b"%x\r\n%b" % (len(TEXT) + 9, TEXT), CHUNKED),
        post(b"%x\r\n%bxx\r\n0\r\n\r\n" % (len(TEXT), TEXT), CHUNKED),
        post(TEXT, f"Content-Length: {len(TEXT) + 1}", path="/v1/batches"),
        post(TEXT[:-1], SIZED, path="/synthesize"),
        post(TEXT[:-1], SIZED, path="/v1/audio/speech"),
    ],
)
def test_a_body_that_breaks_off_is_a_400_and_nothing_is_accepted(
    patient: Served, begun: bytes
) -> None:
    served = patient
    with ExitStack() as ends:
        sender = connect(served, ends, begun)
        sender.shutdown(socket.SHUT_WR)
        status, problem = answer(sender)
    assert (status, problem["code"]) == (400, "malformed_body")
    assert served.call("/v1/jobs")[1]["jobs"] == []


def test_whole_requests_in_pieces_in_chunks_and_one_after_the_other_are_answered(
    patient: Served,
) -> None:
    served = patient
    chunks = post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(TEXT), TEXT), CHUNKED)
    with ExitStack() as ends:
        assert answer(connect(served, ends, chunks))[0] == 202
        both = connect(served, ends, post(TEXT, SIZED) + get("/v1/jobs/nosuch"))
        data = b""
        while b"404" not in data:
            data += received(both)
        assert data.startswith(b"HTTP/1.1 202")
        asking = connect(served, ends, post(b"", SIZED, "Expect: 100-continue"))
        assert received(asking) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.sendall(TEXT)
        assert answer(asking)[0] == 202


@pytest.mark.parametrize(
    ("path", "kind", "n_bytes"),
    [
        ("/v1/jobs", "application/json", 30_000),
        ("/v1/jobs", "application/json", 300_000),
        ("/v1/batches", "application/x-ndjson", 50_000),
        ("/v1/batches", "application/x-ndjson", 300_000),
        ("/synthesize", "application/x-www-form-urlencoded", 30_000),
    ],
)
def test_a_body_in_chunks_is_never_cut_to_the_limit(
    small: Served, path: str, kind: str, n_bytes: int
) -> None:
    line = b'{"text": "a"}\n'
    body = line * (n_bytes // len(line))
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 8000]), body[at : at + 8000])
        for at in range(0, len(body), 8000)
    )
    with ExitStack() as ends:
        head = post(b"", CHUNKED, path=path, kind=kind)
        assert answer(connect(small, ends, head + chunks + b"0\r\n\r\n"))[0] == 413
    assert small.call("/v1/jobs")[1]["jobs"] == []


def test_a_head_without_end_and_one_out_of_all_rules_are_problems(patient: Served) -> None:
    served = patient
    with ExitStack() as ends:
        long = connect(served, ends, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000)
        status, problem = answer(long)
        assert (status, problem["code"]) == (431, "head_too_large")
        odd = connect(served, ends, b"GET /v1/files/x?signature=s3cret nonsense\r\n\r\n")
        status, problem = answer(odd)
        assert (status, problem["code"]) == (400, "malformed_body")
    assert "s3cret" not in served.log.read_text("utf-8") + json.dumps(problem)


def test_in_a_full_house_who_waits_longest_gives_way(start: Start) -> None:
    served = start(TTSFARM_API_CONNECTIONS="12", TTSFARM_API_RECEIVE_S="3600")
    with ExitStack() as ends:
        slow = [connect(served, ends) for _ in range(40)]
        for one in slow:
            with suppress(OSError):  # some are hung up on already
                one.sendall(b"GET / HTTP/1.1\r\n")
        works(served)
        wait_until(lambda: sum(map(hung_up, slow)) >= 40 - 12, 60)


def test_in_a_full_house_nobody_goes_for_having_just_come(start: Start) -> None:
    served = start(TTSFARM_API_CONNECTIONS="12", TTSFARM_API_RECEIVE_S="3600")
    with ExitStack() as ends:
        slow = [connect(served, ends, b"G") for _ in range(20)]
        caller = connect(served, ends)
        slow += [connect(served, ends, b"G") for _ in range(5)]
        wait_until(lambda: sum(map(hung_up, slow)) >= 26 - 12, 60)
        caller.sendall(get("/livez"))
        assert answer(caller)[0] == 200
        time.sleep(2 * SPARE_S)  # now it asks for nothing
        connect(served, ends, b"G")
        wait_until(lambda: hung_up(caller), 60)


def hung_up(sock: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))
