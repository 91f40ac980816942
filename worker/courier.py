"""One attempt at a webhook: resolve, check, connect to the address checked, post, read the answer.

Everything together takes no longer than the time given; redirects are not followed.
"""

import io
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from shared.addresses import AddressGuard, Target, check_url
from shared.errors import ForbiddenAddress
from shared.numbers import read_count
from worker.addresses import Endpoint, resolve

MAX_ANSWER_BYTES = 64 * 1024  # of the body
MOST_BYTES = 512 * 1024  # of everything
_GONE = 410
_UNRESOLVED = "the host name was not resolved to an address the farm calls"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an attempt: the receiver's status, or the error that kept it from coming."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    duration_ms: int

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver asks never to be called again."""
        return self.status == _GONE


@cache
def tls_context() -> ssl.SSLContext:
    """The system's certificates, names checked; read once."""
    return ssl.create_default_context()


def attempt(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    guard: AddressGuard,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Post `body` to `url` once, within `timeout_s` for all of it. Raises nothing."""
    clock = Deadline(timeout_s)
    status, error, retry_after_s = None, None, None
    try:
        target = check_url(url, guard)
        endpoints = _resolve(target, guard, clock)
        status, retry_after_s = _post(target, endpoints, body, headers, clock, tls)
    except ForbiddenAddress as refused:
        error = refused.message
    except TimeoutError:
        error = f"no answer within {timeout_s:g} s"
    except ssl.SSLError as failed:
        error = f"TLS failed: {failed.reason or failed}"
    except socket.gaierror:
        error = _UNRESOLVED
    except OSError as failed:
        error = f"the connection failed: {failed.strerror or type(failed).__name__}"
    except _AnswerTooLong:
        error = "the answer has no end"
    except (HTTPException, ValueError) as failed:
        error = f"the answer is not HTTP: {type(failed).__name__}"
    if status is not None and 300 <= status < 400:
        error = "redirects are not followed"
    return Outcome(
        status=status, error=error, retry_after_s=retry_after_s, duration_ms=clock.spent_ms()
    )


class Deadline:
    """The time an attempt has left."""

    def __init__(self, timeout_s: float) -> None:
        self._start_s = time.monotonic()
        self._end_s = self._start_s + timeout_s

    def left_s(self) -> float:
        """Raises `TimeoutError` when nothing is left."""
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def spent_ms(self) -> int:
        return round((time.monotonic() - self._start_s) * 1000)


class _AnswerTooLong(HTTPException):
    """More came than any answer needs."""


class _TimedReader(io.RawIOBase):
    """Reads a socket, each read with only the time that is left: a dripping answer ends too.

    So does a flood: of headers, of interim answers, or of a chunk that names no true size.
    """

    def __init__(self, sock: socket.socket, clock: Deadline) -> None:
        self._sock = sock
        self._clock = clock
        self._left_bytes = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left_bytes <= 0:
            raise _AnswerTooLong
        self._sock.settimeout(self._clock.left_s())
        n_bytes = self._sock.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= n_bytes
        return n_bytes


class _TimedSocket:
    """What `http.client` needs of a socket, under the attempt's clock."""

    def __init__(self, sock: socket.socket, clock: Deadline) -> None:
        self._sock = sock
        self._clock = clock

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._clock.left_s())  # for all of the data
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._clock))

    def close(self) -> None:
        """Nothing: `http.client` closes before the answer's body is read; the caller closes."""


def _resolve(target: Target, guard: AddressGuard, clock: Deadline) -> list[Endpoint]:
    """The target's open addresses; a name without any is one that was not resolved.

    What DNS said is logged alone: told, it would show callers the names of the farm's network.
    """
    try:
        return resolve(target, guard, clock.left_s())
    except (ForbiddenAddress, socket.gaierror) as failed:
        log.warning("%s: %s", target.host, failed, extra={"action": "webhook"})
        raise socket.gaierror from None


def _post(
    target: Target,
    endpoints: list[Endpoint],
    body: bytes,
    headers: Mapping[str, str],
    clock: Deadline,
    tls: ssl.SSLContext | None,
) -> tuple[int, float | None]:
    with _connect(endpoints, clock) as plain, _secure(plain, target, clock, tls) as sock:
        connection = HTTPConnection(target.host, target.port)
        connection.sock = _TimedSocket(sock, clock)
        fixed = {"Host": target.authority, "Connection": "close"}
        connection.request("POST", target.path, body=body, headers={**headers, **fixed})
        return read_answer(sock, clock)


def read_answer(sock: socket.socket, clock: Deadline) -> tuple[int, float | None]:
    """The status a receiver answers with, and for how many seconds it asks to be left alone.

    Raises `OSError`, `HTTPException` or `ValueError` when no answer can be read.
    """
    response = HTTPResponse(_TimedSocket(sock, clock), method="POST")  # type: ignore[arg-type]  # all it needs
    try:
        response.begin()
        _discard(response)
        return response.status, read_retry_after(response.getheader("Retry-After"))
    finally:
        response.close()


def _connect(endpoints: list[Endpoint], clock: Deadline) -> socket.socket:
    """A connection to the first address that takes it; each gets its share of the time."""
    failure: OSError = TimeoutError()
    for place, endpoint in enumerate(endpoints):
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(clock.left_s() / (len(endpoints) - place))
            sock.connect((str(endpoint.address), endpoint.port))
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _secure(
    plain: socket.socket, target: Target, clock: Deadline, tls: ssl.SSLContext | None
) -> socket.socket:
    """The connection itself, or TLS over it with the certificate checked for the host's name."""
    if target.scheme == "http":
        return plain
    plain.settimeout(clock.left_s())
    return (tls or tls_context()).wrap_socket(plain, server_hostname=target.host)


def _discard(response: HTTPResponse) -> None:
    # The status is the answer; a receiver that never ends its body has still given it.
    try:
        response.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException, ValueError):
        return


def read_retry_after(value: str | None) -> float | None:
    """Seconds from now, from either form of the header; None when absent or not understood."""
    if value is None:
        return None
    seconds = read_count(value.strip())
    if seconds is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # a year or a zone that no clock knows
        return None
