"""A farm as the command line sees it: calls over HTTP, answers as values, faults in plain words.

Every call may be repeated safely, so a farm that restarts meanwhile goes unnoticed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, Self, cast
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from shared.states import BATCH_TERMINAL, JOB_TERMINAL, BatchStatus, JobStatus

CHUNK_BYTES = 64 * 1024
BATCH_PATIENCE_S = 120  # ten thousand inputs take a farm a while
# A farm that is just being restarted answers one of these, or nothing.
PASSING = (502, 503)
# Refusals of a stream that pass: no sound yet, too many listeners, Redis or the store away.
PATIENT = frozenset(
    {"unavailable", "too_many_streams", "state_store_unavailable", "object_store_unavailable"}
)
STREAM_WAIT_S = 60
IDLE_TRIES = 6


class FarmUnreachable(Exception):
    """Nothing answers at the farm's address, or it is no farm."""


class FarmProblem(Exception):
    """The farm refused a call. `message` says why, `code` is stable, `faults` are the inputs'."""

    def __init__(
        self, status: int, code: str, message: str, faults: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.faults = faults
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class RemoteAudio:
    """The finished audio of a job."""

    duration_s: float
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A job as the farm shows it; `segments_total` is None until the text is split.

    `position` is its place in the line; it starts in `starts_in_s` and is done in `done_in_s`.
    """

    id: str
    status: JobStatus
    voice: str
    characters: int
    created_at: str
    segments_done: int
    segments_total: int | None
    audio_s: float
    total_ms: int | None
    audio: RemoteAudio | None
    error: str | None
    position: int | None = None
    starts_in_s: float | None = None
    done_in_s: float | None = None

    @property
    def finished(self) -> bool:
        return self.status in JOB_TERMINAL

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Self:
        """A job from the farm's job object."""
        audio, error, progress = view["audio"], view["error"], view["progress"]
        queue = view.get("queue") or {}
        return cls(
            id=view["id"],
            status=JobStatus(view["status"]),
            voice=view["request"]["voice"],
            characters=view["characters"],
            created_at=view["created_at"],
            segments_done=progress["segments_done"],
            segments_total=progress["segments_total"],
            audio_s=progress["audio_s"],
            total_ms=view["timing"]["total_ms"],
            audio=RemoteAudio(
                duration_s=audio["duration_s"],
                size_bytes=audio["size_bytes"],
                sha256=audio["sha256"],
            )
            if audio
            else None,
            error=f"{error['message']} ({error['code']})" if error else None,
            position=queue.get("position"),
            starts_in_s=queue.get("eta_s"),
            done_in_s=progress.get("eta_s"),
        )


@dataclass(frozen=True, kw_only=True)
class RemoteBatch:
    """A batch as the farm shows it; `faults` are those of the inputs that were left out."""

    id: str
    status: BatchStatus
    counts: Mapping[str, int]
    audio_s: float
    n_rejected: int
    faults: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        return self.status in BATCH_TERMINAL

    @property
    def n_ended(self) -> int:
        """How many of its jobs have ended, however they did."""
        return self.counts["total"] - self.counts["queued"] - self.counts["running"]

    @classmethod
    def read(cls, view: Mapping[str, Any]) -> Self:
        """A batch from the farm's batch object."""
        return cls(
            id=view["id"],
            status=BatchStatus(view["status"]),
            counts=view["counts"],
            audio_s=view["audio_s"],
            n_rejected=view["rejected"]["count"],
            faults=view["rejected"]["errors"],
        )


@dataclass(frozen=True, kw_only=True)
class RemoteVoice:
    """A voice the farm knows, and how many workers are ready to speak it."""

    name: str
    engine: str
    language: str
    emotions: tuple[str, ...]
    ready_workers: int


class FarmClient:
    """Speaks to the farm at `url`.

    Every call raises `FarmUnreachable` when nothing answers within `timeout_s`, `tries` times,
    and `FarmProblem` when the farm refuses.
    """

    def __init__(
        self, url: str, *, key: str | None = None, timeout_s: float = 10.0, tries: int = 6
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._met = False
        self._retry = urllib3.Retry(
            total=tries - 1,
            backoff_factor=0.3,
            backoff_max=5.0,
            status_forcelist=PASSING,
            allowed_methods=None,
            raise_on_status=False,
        )
        self._pool = urllib3.PoolManager()
        self._key = {"Authorization": f"Bearer {key}"} if key else {}

    def submit(self, body: Mapping[str, Any], key: str) -> RemoteJob:
        """Submit a job; the same `key` and body again answer the same job."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        data = json.dumps(body, ensure_ascii=False).encode()
        return RemoteJob.read(self._json("POST", "/v1/jobs", body=data, headers=headers))

    def job(self, job_id: str, wait_s: int = 0) -> RemoteJob:
        """A job; with `wait_s`, as soon as it has changed and at the latest after that time."""
        query = f"?{urlencode({'wait': wait_s})}" if wait_s else ""
        path = f"{_job_path(job_id)}{query}"
        return RemoteJob.read(self._json("GET", path, longer_s=wait_s))

    def jobs(self, *, status: str | None, limit: int) -> list[RemoteJob]:
        """The newest jobs, newest first."""
        query = {"limit": str(limit), **({"status": status} if status else {})}
        answer = self._json("GET", f"/v1/jobs?{urlencode(query)}")
        return [RemoteJob.read(view) for view in answer["jobs"]]

    def cancel(self, job_id: str) -> RemoteJob:
        """Cancel a job; one that is canceled already is no error."""
        return RemoteJob.read(self._json("POST", f"{_job_path(job_id)}/cancel"))

    def retry(self, job_id: str) -> RemoteJob:
        """Run what is missing of a failed, canceled or expired job."""
        return RemoteJob.read(self._json("POST", f"{_job_path(job_id)}/retry"))

    def submit_batch(self, lines: BinaryIO, key: str) -> RemoteBatch:
        """Submit a file of JSON lines; the same `key` and content answer the same batch."""
        headers = {"Content-Type": "application/jsonl", "Idempotency-Key": key}
        answer = self._json(
            "POST", "/v1/batches", body=lines, headers=headers, longer_s=BATCH_PATIENCE_S
        )
        return RemoteBatch.read(answer)

    def batch(self, batch_id: str, wait_s: int = 0) -> RemoteBatch:
        """A batch; with `wait_s`, as soon as it has ended and at the latest after that time."""
        query = f"?{urlencode({'wait': wait_s})}" if wait_s else ""
        return RemoteBatch.read(
            self._json("GET", f"{_batch_path(batch_id)}{query}", longer_s=wait_s)
        )

    def retry_batch(self, batch_id: str) -> RemoteBatch:
        """Run a batch's failed, expired and canceled jobs again."""
        query = urlencode({"status": "failed,expired,canceled"})
        path = f"{_batch_path(batch_id)}/retry?{query}"
        return RemoteBatch.read(self._json("POST", path, longer_s=BATCH_PATIENCE_S))

    def results(self, batch_id: str, *, partial: bool = False) -> Iterator[bytes]:
        """A batch's archive in chunks."""
        query = "?partial=1" if partial else ""
        return self._chunks(f"{_batch_path(batch_id)}/results.zip{query}")

    def voices(self) -> list[RemoteVoice]:
        """Every voice the farm knows."""
        return [
            RemoteVoice(
                name=view["name"],
                engine=view["engine"],
                language=view["language"],
                emotions=tuple(view["emotions"]),
                ready_workers=view["ready_workers"],
            )
            for view in self._json("GET", "/v1/voices")["voices"]
        ]

    def ready(self) -> None:
        """Return when the farm can speak; else `FarmProblem` says what is missing."""
        self._json("GET", "/readyz")

    def ready_voices(self) -> list[str]:
        """The voices that can be spoken now, by name."""
        return [name for name, workers in self._json("GET", "/health")["voices"].items() if workers]

    def audio(self, job_id: str) -> Iterator[bytes]:
        """A finished job's audio in chunks."""
        return self._chunks(f"{_job_path(job_id)}/audio")

    def _chunks(self, path: str) -> Iterator[bytes]:
        response = self._call("GET", path, preload_content=False)
        try:
            yield from response.stream(CHUNK_BYTES)
        except HTTPError as error:
            raise FarmUnreachable(f"The download broke off ({type(error).__name__}).") from error
        finally:
            response.release_conn()

    def stream(self, job_id: str) -> Iterator[bytes]:
        """A job's audio while it is rendered, in chunks, to its end.

        A connection that breaks is taken up at the byte it broke at. Raises `FarmProblem` when the
        job ends without audio, or the farm can not stream.
        """
        n_bytes, n_idle = 0, 0
        while n_idle < IDLE_TRIES:
            before = n_bytes
            try:
                for chunk in self._stream_from(job_id, n_bytes):
                    n_bytes += len(chunk)
                    yield chunk
                return
            except (HTTPError, FarmUnreachable):
                if not self._met:
                    raise
                n_idle = 0 if n_bytes > before else n_idle + 1
            except FarmProblem as problem:
                if problem.code not in PATIENT:
                    raise
        raise FarmUnreachable(f"The stream broke off {IDLE_TRIES} times at byte {n_bytes}.")

    def _stream_from(self, job_id: str, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            response = self._call(
                "GET",
                f"{_job_path(job_id)}/audio?stream=1",
                longer_s=STREAM_WAIT_S,
                headers=headers,
                preload_content=False,
            )
        except FarmProblem as problem:
            if start and problem.code == "range_not_satisfiable":
                return  # there is no more than we have
            raise
        try:
            if start and response.status != HTTPStatus.PARTIAL_CONTENT:
                raise FarmProblem(
                    response.status, "", "The farm did not take the stream up where it broke off."
                )
            yield from response.stream(CHUNK_BYTES)
        finally:
            response.close()

    def beginning(self, job_id: str, n_bytes: int) -> bytes:
        """The first bytes of a finished job's audio."""
        headers = {"Range": f"bytes=0-{n_bytes - 1}"}
        return self._call("GET", f"{_job_path(job_id)}/audio", headers=headers).data

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._call(method, path, **options)
        try:
            return cast(dict[str, Any], response.json())
        except ValueError as error:
            raise FarmUnreachable(f"What answers at {self.url} is not a farm.") from error

    def _call(
        self, method: str, path: str, *, longer_s: float = 0, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        # A farm never met is more likely absent than restarting: say so at once.
        retries = self._retry if self._met else self._retry.new(connect=0)
        timeout = urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s + longer_s)
        headers = {**self._key, **options.pop("headers", {})}
        try:
            response = self._pool.request(
                method,
                self.url + path,
                headers=headers,
                timeout=timeout,
                retries=retries,
                **options,
            )
        except (HTTPError, LocationValueError) as error:
            raise FarmUnreachable(
                f"No farm answers at {self.url} ({_reason(error)}). Start one with 'ttsfarm up', "
                "or name another with --url or TTSFARM_URL."
            ) from error
        self._met = True
        if response.status >= 400:
            raise _problem(response)
        return response


def idempotency_key(body: Mapping[str, Any]) -> str:
    """The same for the same text and options, so that an interrupted call finds its job again."""
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return f"say-{hashlib.sha256(canonical.encode()).hexdigest()[:40]}"


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _batch_path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"


def _reason(error: HTTPError | LocationValueError) -> str:
    cause = getattr(error, "reason", None) or error
    return {
        "NewConnectionError": "connection refused",
        "ConnectTimeoutError": "no answer in time",
        "ReadTimeoutError": "no answer in time",
        "NameResolutionError": "unknown host",
    }.get(type(cause).__name__, type(cause).__name__)


def _problem(response: urllib3.BaseHTTPResponse) -> FarmProblem:
    """The farm's problem details; of a body that has none, the HTTP status."""
    status = response.status
    try:
        fields = json.loads(response.data)
        given = fields.get("errors") or []
        faults = [fault["message"] for fault in given]
        message = fields.get("detail") or fields.get("title") or f"HTTP {status}"
        lines = faults if len(faults) == 1 else [message, *faults]
        return FarmProblem(status, fields.get("code", ""), "\n  ".join(lines), given)
    except (ValueError, AttributeError, KeyError, TypeError):
        return FarmProblem(status, "", f"The farm answered with HTTP {status}.")
