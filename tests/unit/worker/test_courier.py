"""One webhook attempt against real receivers on loopback, and what the guard keeps it from."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from shared.addresses import AddressGuard, check_url
from shared.errors import ForbiddenAddress
from shared.numbers import LARGEST
from worker.addresses import resolve
from worker.courier import MAX_ANSWER_BYTES, MOST_BYTES, Outcome, attempt

LOOPBACK = AddressGuard.parse("127.0.0.0/8, ::1")
BODY = '{"type":"job.completed","data":"你好"}'.encode()
HEADERS = {"Content-Type": "application/json", "webhook-id": "msg_1"}

Talk = Callable[[socket.socket], None]


class Receiver:
    """A TCP server that reads one request a connection, then talks as the test wishes."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.released = threading.Event()
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=1"

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue  # the courier hung up, as some of the tests want

    def _answer(self, plain: socket.socket) -> None:
        plain.settimeout(60)
        if self._tls is None:
            self.requests.append(read_request(plain))
            self._talk(plain)
            return
        with self._tls.wrap_socket(plain, server_side=True) as connection:
            self.requests.append(read_request(connection))
            self._talk(connection)


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionAbortedError
    return data


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += receive(connection)
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    (length,) = (int(value) for name, _, value in lines if name == b"content-length")
    while len(body) < length:
        body += receive(connection)
    return head + b"\r\n\r\n" + body


def saying(text: str) -> Talk:
    return lambda connection: connection.sendall(text.replace("\n", "\r\n").encode("latin-1"))


def answering(status: str, *headers: str, body: str = "") -> Talk:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return saying("\n".join(lines))


def send(url: str, guard: AddressGuard = LOOPBACK, timeout_s: float = 60) -> Outcome:
    return attempt(url, BODY, HEADERS, guard, timeout_s)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_accepted(status: int) -> None:
    with Receiver(answering(f"{status} Fine", body="" if status == 204 else "ok")) as receiver:
        outcome = send(receiver.url)
    assert (outcome.status, outcome.error, outcome.accepted) == (status, None, True)
    assert 0 <= outcome.duration_ms < 60_000


def test_the_message_arrives_as_it_was_signed() -> None:
    with Receiver(answering("200 OK")) as receiver:
        send(receiver.url)
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{receiver.port}" in lines
    assert "webhook-id: msg_1" in lines
    assert "Content-Type: application/json" in lines
    assert sum(line.startswith("Host:") for line in lines) == 1
    assert body == BODY


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 503])
def test_a_refusal_is_a_failure_with_its_status(status: int) -> None:
    with Receiver(answering(f"{status} No")) as receiver:
        outcome = send(receiver.url)
    assert (outcome.status, outcome.accepted, outcome.gone) == (status, False, False)


def test_gone_is_told_apart() -> None:
    with Receiver(answering("410 Gone")) as receiver:
        assert send(receiver.url).gone


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(status: int) -> None:
    with Receiver(answering("200 OK")) as elsewhere:
        talk = answering(f"{status} Elsewhere", f"Location: {elsewhere.url}")
        with Receiver(talk) as receiver:
            outcome = send(receiver.url)
    assert (outcome.status, outcome.accepted) == (status, False)
    assert outcome.error == "redirects are not followed"
    assert elsewhere.requests == []


def test_retry_after_in_seconds_is_read() -> None:
    with Receiver(answering("503 Busy", "Retry-After: 120")) as receiver:
        assert send(receiver.url).retry_after_s == 120


def test_retry_after_as_a_date_is_read() -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    with Receiver(answering("429 Busy", f"Retry-After: {date}")) as receiver:
        retry_after_s = send(receiver.url).retry_after_s
    assert retry_after_s == pytest.approx(60, abs=30)


@pytest.mark.parametrize(
    "value",
    [
        *("soon", "-5", "1.5", "", "٣", "1_0", "Fri, 99 Foo 2026 99:99:99 GMT"),
        "Fri, 01 Jan 99999999999999999999 00:00:00 GMT",
        f"Fri, 01 Jan {'9' * 5000} 00:00:00 GMT",
        "Fri, 01 Jan 2027 00:00:00 +99999999999999999999",
    ],
)
def test_a_retry_after_not_understood_is_left_out(value: str) -> None:
    text = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {value}\r\n\r\n".encode()
    with Receiver(lambda connection: connection.sendall(text)) as receiver:
        outcome = send(receiver.url)
    assert (outcome.status, outcome.retry_after_s) == (503, None)


@pytest.mark.parametrize("value", ["9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_far_away_is_a_number(value: str) -> None:
    with Receiver(answering("503 Busy", f"Retry-After: {value}")) as receiver:
        outcome = send(receiver.url)
    assert outcome.status == 503
    assert 86_400 < (outcome.retry_after_s or 0) <= LARGEST


def test_a_date_in_the_past_asks_for_no_wait() -> None:
    talk = answering("503 Busy", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")
    with Receiver(talk) as receiver:
        assert send(receiver.url).retry_after_s == 0


def hang(connection: socket.socket) -> None:
    connection.recv(1)  # returns when the courier hangs up


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"x")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


@pytest.mark.parametrize("talk", [hang, drip])
def test_a_receiver_that_never_answers_costs_the_time_given(talk: Talk) -> None:
    with Receiver(talk) as receiver:
        start_s = time.monotonic()
        outcome = send(receiver.url, timeout_s=0.5)
        spent_s = time.monotonic() - start_s
    assert (outcome.status, outcome.error) == (None, "no answer within 0.5 s")
    assert 0.4 < spent_s < 30  # both talk on for as long as they are let


def test_a_receiver_that_takes_no_data_costs_the_time_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = attempt(url, b"x" * 30_000_000, HEADERS, LOOPBACK, 0.5)
    assert outcome.error == "no answer within 0.5 s"


def test_an_answer_without_end_is_cut_and_its_status_counts() -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    with Receiver(flood) as receiver:
        outcome = send(receiver.url)
    assert outcome.accepted
    assert sum(sent) < MAX_ANSWER_BYTES * 400  # what socket buffers take; else it goes on for ever


def test_a_body_that_never_comes_does_not_undo_the_status() -> None:
    def stall(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        hang(connection)

    with Receiver(stall) as receiver:
        outcome = send(receiver.url, timeout_s=10)  # the status is to come in time
    assert outcome.accepted


@pytest.mark.parametrize(
    "text",
    ["", "garbage\n\n", "HTTP/1.1 abc\n\n", "SSH-2.0-x\n", "HTTP/1.1 200 OK\n" + "a" * 70000],
)
def test_an_answer_that_is_not_http_is_a_failure(text: str) -> None:
    with Receiver(saying(text)) as receiver:
        outcome = send(receiver.url)
    assert not outcome.accepted
    assert outcome.status is None
    assert outcome.error


@pytest.mark.parametrize(
    "size", ["-1", "-5", "x", "F" * 40, "9" * 6000, "٣", "1 2", "", "0x10", "1_0"]
)
def test_a_chunk_of_a_strange_size_does_not_undo_the_status(size: str) -> None:
    text = f"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nabc\r\n".encode()
    with Receiver(lambda connection: connection.sendall(text)) as receiver:
        outcome = send(receiver.url)
    assert (outcome.status, outcome.accepted) == (503, False)


@pytest.mark.parametrize("length", ["-1", "9" * 6000, "x", "٣", "1, 2"])
def test_a_strange_length_does_not_undo_the_status(length: str) -> None:
    text = f"HTTP/1.1 204 Fine\r\nContent-Length: {length}\r\n\r\n".encode()
    with Receiver(lambda connection: connection.sendall(text)) as receiver:
        assert send(receiver.url).accepted


def flooding(start: bytes, again: bytes, sent: list[int]) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            sent.append(connection.send(again))

    return talk


@pytest.mark.parametrize(
    ("start", "again", "status"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, None),
        (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n" * 1000, None),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 65536, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 1000, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000, 200),
    ],
)
def test_a_flood_is_read_up_to_a_bound(start: bytes, again: bytes, status: int | None) -> None:
    """Without one, each would be read until the time is over."""
    sent: list[int] = []
    with Receiver(flooding(start, again, sent)) as receiver:
        outcome = send(receiver.url, timeout_s=600)
    assert outcome.status == status
    assert outcome.error is None or "answer" in outcome.error
    assert sum(sent) < MOST_BYTES * 50  # the rest is what socket buffers take


def test_nobody_there_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = send(f"http://127.0.0.1:{port}/")
    assert (outcome.status, outcome.error) == (None, "the connection failed: Connection refused")


def test_a_name_that_does_not_resolve_is_a_failure() -> None:
    outcome = send("http://nothing.invalid/")
    assert outcome.status is None
    assert outcome.error


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "127.1"]
)
def test_an_address_inside_is_never_connected_to(host: str) -> None:
    with Receiver(answering("200 OK")) as receiver:
        outcome = send(f"http://{host}:{receiver.port}/", guard=AddressGuard())
    assert outcome.status is None
    assert outcome.error
    assert receiver.requests == []


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    loopback_only = AddressGuard.parse("127.0.0.0/8")
    target = check_url("http://localhost/", loopback_only)
    assert {str(found.address) for found in resolve(target, loopback_only, 5)} == {"127.0.0.1"}
    with pytest.raises(ForbiddenAddress, match="loopback"):
        resolve(target, AddressGuard(), 5)


def test_a_name_is_looked_up_once_and_what_it_was_then_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked again, a name may have become one inside."""
    asked = []

    def look_up(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Receiver(answering("200 OK")) as receiver:
        outcome = send(f"http://hooks.invalid:{receiver.port}/")
    assert outcome.accepted
    assert asked == ["hooks.invalid"]
    assert b"Host: hooks.invalid:" in receiver.requests[0]


def test_a_name_inside_is_told_as_one_that_does_not_resolve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look_up(host: str, port: int, **_: object) -> list[object]:
        if host != "redis.internal":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        stream = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET, *stream, ("10.1.2.3", port)),
            (socket.AF_INET6, *stream, ("fd00::7", port, 0, 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    inside, nowhere = (
        send(f"http://{host}/", guard=AddressGuard()) for host in ("redis.internal", "no.internal")
    )
    assert inside.error
    assert (inside.status, inside.error) == (nowhere.status, nowhere.error)
    assert not any(word in inside.error for word in ("10.1.2.3", "fd00::7", "private"))
    assert "10.1.2.3 is private" in caplog.text
    assert "no.internal: [Errno" in caplog.text


def test_an_open_host_is_called_at_whatever_address_it_has() -> None:
    with Receiver(answering("200 OK")) as receiver:
        guard = AddressGuard.parse("localhost")
        assert send(f"http://localhost:{receiver.port}/", guard=guard).accepted


def test_of_several_addresses_the_one_that_answers_is_used() -> None:
    # localhost may be ::1 first, where the receiver does not listen.
    with Receiver(answering("200 OK")) as receiver:
        assert send(f"http://localhost:{receiver.port}/").accepted


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for `localhost`, in one file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(path) + ".key", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@contextmanager
def tls_receiver(certificate: Path, seen: list[str | None]) -> Iterator[Receiver]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, str(certificate) + ".key")
    server.sni_callback = lambda _, name, __: seen.append(name)
    with Receiver(answering("200 OK"), server) as receiver:
        yield receiver


def test_tls_asks_for_the_name_and_checks_the_certificate_for_it(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    seen: list[str | None] = []
    with tls_receiver(certificate, seen) as receiver:
        url = f"https://localhost:{receiver.port}/"
        assert attempt(url, BODY, HEADERS, LOOPBACK, 60, trusting).accepted
        assert seen == ["localhost"]
        other = f"https://127.0.0.1:{receiver.port}/"
        wrong_name = attempt(other, BODY, HEADERS, LOOPBACK, 60, trusting)
    assert wrong_name.error == "TLS failed: CERTIFICATE_VERIFY_FAILED"
    assert len(receiver.requests) == 1


def test_a_certificate_nobody_vouches_for_is_a_failure(certificate: Path) -> None:
    with tls_receiver(certificate, []) as receiver:
        outcome = send(f"https://localhost:{receiver.port}/")
    assert outcome.error == "TLS failed: CERTIFICATE_VERIFY_FAILED"
    assert receiver.requests == []


def test_a_receiver_without_tls_is_a_failure() -> None:
    with Receiver(answering("200 OK")) as receiver:
        outcome = send(f"https://127.0.0.1:{receiver.port}/", timeout_s=1)
    assert outcome.status is None
    assert outcome.error
