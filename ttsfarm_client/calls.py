"""What each call of a farm sends and makes of the answers, apart from how bytes are moved.

A call is a generator: it yields requests and pauses, and is sent the answers. `waiting.py` carries
it out for programs that wait, `aio.py` under asyncio; so both repeat, resume and fail alike.
"""

import hashlib
import http.client
import json
import math
import random
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

from ttsfarm_client.faults import FarmProblem, FarmUnreachable, JobFailed
from ttsfarm_client.views import Batch, Job, Options, Speech, Voice

CHUNK_BYTES = 64 * 1024
WAIT_S = 20  # one long poll
WATCHED_WAIT_S = 1  # and where somebody watches the progress
EARLY_S = 0.5  # before asking again, where a busy farm answered before the time was up
BATCH_PATIENCE_S = 120  # ten thousand inputs take a farm a while
STREAM_PATIENCE_S = 60  # a stream is silent until there is sound
RETRY_AFTER_LIMIT_S = 60  # who is told to wait for longer decides for himself
IDLE_TRIES = 6  # connections that break without a single byte
# Refusals of a stream that pass: no sound yet, too many listeners, Redis or the store away.
PATIENT = frozenset(
    {"unavailable", "too_many_streams", "state_store_unavailable", "object_store_unavailable"}
)
# Too much asked, a farm that is just being restarted, or one that lacks something for a while.
PASSING = (429, 502, 503)
BROKEN = (OSError, http.client.HTTPException, EOFError)
REASONS: dict[type[BaseException], str] = {
    ConnectionRefusedError: "connection refused",
    TimeoutError: "no answer in time",
    socket.gaierror: "unknown host",
    ConnectionError: "the connection broke",
    EOFError: "the connection broke",
    http.client.IncompleteRead: "the connection broke",
    http.client.RemoteDisconnected: "the connection broke",
    http.client.HTTPException: "the answer is no HTTP",
}


class NotConnected(OSError):
    """There was no connection to break."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; with `streamed`, the answer's body is left to be read."""

    method: str
    path: str
    body: bytes | BinaryIO | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    longer_s: float = 0
    streamed: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Message
    body: bytes = b""
    chunks: Any = None  # an Iterator[bytes], or an AsyncIterator where asyncio drives


@dataclass(kw_only=True)
class Download:
    """How far a download has come."""

    path: str
    longer_s: float = 0
    patient: bool = False
    can_resume: bool = True
    n_bytes: int = 0
    n_idle: int = 0
    n_bytes_before: int = 0

    def broke(self, error: BaseException) -> None:
        """Note that the connection broke; raises `FarmUnreachable` when that is once too often."""
        self.n_idle = 0 if self.n_bytes > self.n_bytes_before else self.n_idle + 1
        self.n_bytes_before = self.n_bytes
        if not self.can_resume or self.n_idle >= IDLE_TRIES:
            raise FarmUnreachable(
                f"The download broke off at byte {self.n_bytes} ({_reason(error)})."
            ) from error


ReplyT = TypeVar("ReplyT")
FollowedT = TypeVar("FollowedT", Job, Batch)
# What a call does, apart from how: yields requests and pauses in seconds, is sent the answers.
Flow = Generator["Call | float", Any, ReplyT]


class Calls:
    """What each call sends and makes of the answers; `Client` and `AsyncClient` carry it out.

    Every call raises `FarmUnreachable` when nothing answers within `timeout_s`, `tries` times, and
    `FarmProblem` when the farm refuses.
    """

    ADVICE = "Is it running, and is the address right?"

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        timeout_s: float = 10.0,
        tries: int = 9,  # over ten seconds: a farm takes some to be restarted
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a farm; one is http://127.0.0.1:8080")
        self._host, self._prefix = parts.hostname, parts.path
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._headers = {"Host": parts.netloc.rpartition("@")[2], "Connection": "close"}
        self._headers |= {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s, self._tries, self._met = timeout_s, tries, False

    def _request(self, call: Call) -> Flow[Answer]:
        """The answer, of an error status too when it is not one that passes."""
        for attempt in range(1, self._tries + 1):
            last = attempt == self._tries
            pause_s = min(0.3 * 2 ** (attempt - 1), 5) * random.uniform(0.5, 1)  # noqa: S311 no secret
            try:
                answer: Answer = yield call
            except BROKEN as error:
                # A farm never met is more likely absent than restarting: say so at once.
                if last or (isinstance(error, NotConnected) and not self._met):
                    raise FarmUnreachable(
                        f"No farm answers at {self.url} ({_reason(error)}). {self.ADVICE}"
                    ) from error
                yield pause_s
                continue
            self._met = True
            pause_s = max(pause_s, _retry_after_s(answer))
            if last or answer.status not in PASSING or pause_s > RETRY_AFTER_LIMIT_S:
                break
            yield pause_s
        if answer.status >= 400:
            raise _problem(answer)
        return answer

    def _json(self, method: str, path: str, **options: Any) -> Flow[dict[str, Any]]:
        answer = yield from self._request(Call(method=method, path=path, **options))
        try:
            return cast(dict[str, Any], json.loads(answer.body))
        except ValueError as error:
            raise FarmUnreachable(f"What answers at {self.url} is not a farm.") from error

    def _submit(self, body: Mapping[str, Any], key: str | None) -> Flow[Job]:
        data = json.dumps(body, ensure_ascii=False).encode()
        headers = _sent_as("application/json", key)
        view = yield from self._json("POST", "/v1/jobs", body=data, headers=headers)
        return Job.read(view)

    def _job(self, job_id: str, wait_s: int = 0) -> Flow[Job]:
        path = job_path(job_id) + (f"?wait={wait_s}" if wait_s else "")
        return Job.read((yield from self._json("GET", path, longer_s=wait_s)))

    def _change(self, job: Job | str, change: str) -> Flow[Job]:
        return Job.read((yield from self._json("POST", f"{job_path(job)}/{change}")))

    def _retry(self, job: Job | str) -> Flow[Job]:
        """A retry that was done, but whose answer was lost, is refused when it is repeated."""
        try:
            return (yield from self._change(job, "retry"))
        except FarmProblem as problem:
            if problem.code != "wrong_state":
                raise
            seen = yield from self._job(job if isinstance(job, str) else job.id)
            if seen.finished and seen.audio is None:
                raise
            return seen

    def _submit_batch(self, lines: bytes | BinaryIO, key: str | None) -> Flow[Batch]:
        view = yield from self._json(
            "POST",
            "/v1/batches",
            body=lines,
            headers=_sent_as("application/jsonl", key),
            longer_s=BATCH_PATIENCE_S,
        )
        return Batch.read(view)

    def _batch(self, batch_id: str, wait_s: int = 0) -> Flow[Batch]:
        path = batch_path(batch_id) + (f"?wait={wait_s}" if wait_s else "")
        return Batch.read((yield from self._json("GET", path, longer_s=wait_s)))

    def _follow(
        self,
        show: Callable[[str, int], Flow[FollowedT]],
        seen: FollowedT,
        told: Callable[[FollowedT], object] | None,
        timeout_s: float | None,
    ) -> Flow[FollowedT]:
        """The job or batch once it has ended; `told` is called with each state on the way."""
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not seen.finished:
            if told:
                told(seen)
            asked_s = time.monotonic()
            if asked_s >= until_s:
                raise _late(seen)
            patience_s = WATCHED_WAIT_S if told else WAIT_S
            wait_s = math.ceil(min(patience_s, until_s - asked_s))
            seen = yield from _within(until_s, show(seen.id, wait_s), seen)
            if not seen.finished and time.monotonic() - asked_s < wait_s / 2:
                yield EARLY_S
        if told:
            told(seen)
        return seen

    def _wait(
        self, job: Job | str, told: Callable[[Job], object] | None, timeout_s: float | None
    ) -> Flow[Job]:
        seen = job if isinstance(job, Job) else (yield from self._job(job))
        ended = yield from self._follow(self._job, seen, told, timeout_s)
        if ended.audio is None:
            raise JobFailed(ended)
        return ended

    def _voices(self) -> Flow[list[Voice]]:
        return [Voice.read(view) for view in (yield from self._json("GET", "/v1/voices"))["voices"]]

    def _open(self, download: Download) -> Flow[Answer | None]:
        """The rest of a download, or None when nothing is missing."""
        start = download.n_bytes
        headers = {"Range": f"bytes={start}-"} if start else {}
        call = Call(
            method="GET",
            path=download.path,
            headers=headers,
            longer_s=download.longer_s,
            streamed=True,
        )
        answer = None
        while answer is None:
            try:
                answer = yield from self._request(call)
            except FarmProblem as problem:
                if start and problem.code == "range_not_satisfiable":
                    return None
                if not download.patient or problem.code not in PATIENT:
                    raise
                yield EARLY_S
        if start and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            raise FarmProblem(answer.status, "", "The farm did not take the download up again.")
        return answer


def _late(seen: Job | Batch) -> TimeoutError:
    return TimeoutError(f"{seen.id} was still {seen.status} when the time was up.")


def _within(until_s: float, flow: Flow[FollowedT], seen: FollowedT) -> Flow[FollowedT]:
    """The flow's outcome; raises `TimeoutError` where it would try again after `until_s`."""
    step = next(flow)
    try:
        while True:
            if isinstance(step, float):
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise _late(seen)
                yield min(step, left_s)
                step = next(flow)
                continue
            try:
                answer = yield step
            except BROKEN as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as ended:
        outcome: FollowedT = ended.value
        return outcome


def body_of(text: str | None, ssml: str | None, options: Options) -> dict[str, Any]:
    """A job's request. Raises `ValueError` unless it has a text or SSML, and not both."""
    if (text is None) == (ssml is None):
        raise ValueError("Give either a text or ssml.")
    return {"text": text, **options} if ssml is None else {"ssml": ssml, **options}


def lines_of(inputs: Iterable[str | Mapping[str, Any]], head: Mapping[str, Any]) -> bytes:
    """A batch's request as JSON lines, `head` first."""
    lines: list[Any] = [{"batch": head}, *inputs]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()


def checked(job: Job, audio: bytes) -> Speech:
    """The speech, when `audio` is what the farm made."""
    made = job.audio
    if made is None or hashlib.sha256(audio).hexdigest() != made.sha256:
        raise FarmUnreachable(f"The audio of job {job.id} is not what the farm made; fetch again.")
    return Speech(job=job, audio=audio)


def job_path(job: Job | str) -> str:
    """Where a job lies."""
    return f"/v1/jobs/{quote(job if isinstance(job, str) else job.id, safe='')}"


def batch_path(batch: Batch | str) -> str:
    """Where a batch lies."""
    return f"/v1/batches/{quote(batch if isinstance(batch, str) else batch.id, safe='')}"


def audio_of(job: Job | str) -> Download:
    """The download of a finished job's audio."""
    return Download(path=f"{job_path(job)}/audio")


def stream_of(job: Job | str) -> Download:
    """The download of a job's audio while it is made."""
    return Download(
        path=f"{job_path(job)}/audio?stream=1", longer_s=STREAM_PATIENCE_S, patient=True
    )


def results_of(batch: Batch | str, *, partial: bool = False) -> Download:
    """The download of a batch's archive, which is made while it is sent."""
    query = "?partial=1" if partial else ""
    return Download(path=f"{batch_path(batch)}/results.zip{query}", can_resume=False)


def _sent_as(content_type: str, key: str | None) -> dict[str, str]:
    return {"Content-Type": content_type, "Idempotency-Key": key or uuid.uuid4().hex}


def _retry_after_s(answer: Answer) -> float:
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    for kind, words in REASONS.items():
        if isinstance(cause, kind):
            return words
    return f"{type(cause).__name__}: {cause}"


def _problem(answer: Answer) -> FarmProblem:
    """The farm's problem details; of a body that has none, the HTTP status."""
    status = answer.status
    try:
        fields = json.loads(answer.body)
        given = fields.get("errors") or []
        faults = [fault["message"] for fault in given]
        message = fields.get("detail") or fields.get("title") or f"HTTP {status}"
        lines = faults if len(faults) == 1 else [message, *faults]
        return FarmProblem(status, fields.get("code", ""), "\n  ".join(lines), given)
    except (ValueError, AttributeError, KeyError, TypeError):
        return FarmProblem(status, "", f"The farm answered with HTTP {status}.")
