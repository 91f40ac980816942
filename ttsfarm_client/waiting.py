"""`Client`: a farm for programs that wait, on `http.client`."""

import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack

from ttsfarm_client.calls import (
    BROKEN,
    CHUNK_BYTES,
    Answer,
    Call,
    Calls,
    Download,
    Flow,
    NotConnected,
    ReplyT,
    audio_of,
    body_of,
    checked,
    lines_of,
    results_of,
    stream_of,
)
from ttsfarm_client.views import Batch, Job, Options, Speech, Voice


class Client(Calls):
    """A farm. Each call waits for its end; any number of threads may use one client."""

    def speak(
        self,
        text: str | None = None,
        *,
        on_progress: Callable[[Job], object] | None = None,
        timeout_s: float | None = None,
        key: str | None = None,
        ssml: str | None = None,
        **options: Unpack[Options],
    ) -> Speech:
        """The audio of `text`. Raises `JobFailed`, and `TimeoutError` after `timeout_s`."""
        job = self.submit(text, key=key, ssml=ssml, **options)
        job = self.wait(job, on_progress=on_progress, timeout_s=timeout_s)
        return checked(job, b"".join(self.audio(job)))

    def submit(
        self,
        text: str | None = None,
        *,
        key: str | None = None,
        ssml: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """The accepted job; the same `key` and content again answer the same job."""
        return self._run(self._submit(body_of(text, ssml, options), key))

    def job(self, job_id: str, wait_s: int = 0) -> Job:
        """A job; with `wait_s`, when it has ended and at the latest after that time."""
        return self._run(self._job(job_id, wait_s))

    def wait(
        self,
        job: Job | str,
        *,
        on_progress: Callable[[Job], object] | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """The job once it has audio. Raises `JobFailed`, and `TimeoutError` after `timeout_s`."""
        return self._run(self._wait(job, on_progress, timeout_s))

    def stream(self, job: Job | str) -> Iterator[bytes]:
        """A job's audio while it is made, in chunks, taken up again where a connection breaks.

        Raises `FarmProblem` when the job ends without audio, or the farm can not stream.
        """
        return self._download(stream_of(job))

    def audio(self, job: Job | str) -> Iterator[bytes]:
        """A finished job's audio in chunks, taken up again where a connection breaks."""
        return self._download(audio_of(job))

    def cancel(self, job: Job | str) -> Job:
        """The job, canceled; one that is canceled already is no error."""
        return self._run(self._change(job, "cancel"))

    def retry(self, job: Job | str) -> Job:
        """The failed, canceled or expired job, running again; only what is missing is rendered.

        One that runs or has succeeded already is no error.
        """
        return self._run(self._retry(job))

    def batch(
        self,
        inputs: Iterable[str | Mapping[str, Any]],
        *,
        key: str | None = None,
        on_progress: Callable[[Batch], object] | None = None,
        timeout_s: float | None = None,
        **head: Any,
    ) -> Batch:
        """The batch once all its jobs have ended; `counts` says how. `results` has the audio.

        `head` is what stands beside the inputs: `defaults`, `accept`, `webhook_url`, `metadata`.
        """
        sent = self.submit_batch(inputs, key=key, **head)
        return self._run(self._follow(self._batch, sent, on_progress, timeout_s))

    def submit_batch(
        self, inputs: Iterable[str | Mapping[str, Any]], *, key: str | None = None, **head: Any
    ) -> Batch:
        """The accepted batch; the same `key` and content again answer the same batch."""
        return self._run(self._submit_batch(lines_of(inputs, head), key))

    def show_batch(self, batch_id: str, wait_s: int = 0) -> Batch:
        """A batch; with `wait_s`, when it has ended and at the latest after that time."""
        return self._run(self._batch(batch_id, wait_s))

    def results(self, batch: Batch | str, *, partial: bool = False) -> Iterator[bytes]:
        """An ended batch's archive in chunks; with `partial`, what there is of a running one's."""
        return self._download(results_of(batch, partial=partial))

    def voices(self) -> list[Voice]:
        """Every voice the farm knows."""
        return self._run(self._voices())

    def _run(self, flow: Flow[ReplyT]) -> ReplyT:
        try:
            step = next(flow)
            while True:
                if isinstance(step, float):
                    time.sleep(step)
                    step = next(flow)
                    continue
                try:
                    answer = self._send(step)
                except BROKEN as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as ended:
            reply: ReplyT = ended.value
            return reply

    def _download(self, download: Download) -> Iterator[bytes]:
        while (answer := self._run(self._open(download))) is not None:
            try:
                for chunk in answer.chunks:
                    download.n_bytes += len(chunk)
                    yield chunk
                return
            except BROKEN as error:
                download.broke(error)
            finally:
                answer.chunks.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._tls:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._tls
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise NotConnected(str(error)) from error
        made.sock.settimeout(timeout_s)
        return made

    def _send(self, call: Call) -> Answer:
        connection = self._connect(self._timeout_s + call.longer_s)
        answered = None
        try:
            headers = self._headers | dict(call.headers) | _length(call)
            connection.request(call.method, self._prefix + call.path, call.body, headers)
            answered = connection.getresponse()
            chunks = _chunks(connection, answered)
            if call.streamed and answered.status < 400:
                return Answer(status=answered.status, headers=answered.headers, chunks=chunks)
            body = b"".join(chunks)
        except BaseException:
            connection.close()
            raise
        return Answer(status=answered.status, headers=answered.headers, body=body)


def _length(call: Call) -> dict[str, str]:
    """The length of a body that is a file, which is sent from its beginning."""
    if call.body is None or isinstance(call.body, bytes):
        return {}
    size_bytes = call.body.seek(0, 2)
    call.body.seek(0)
    return {"Content-Length": str(size_bytes)}


def _chunks(
    connection: http.client.HTTPConnection, answered: http.client.HTTPResponse
) -> Iterator[bytes]:
    """The body as it comes; raises `IncompleteRead` when the connection ends before it."""
    try:
        if answered.length is None and not answered.chunked:  # or its head was cut short
            raise http.client.HTTPException("The answer does not tell its length.")
        while chunk := answered.read1(CHUNK_BYTES):
            yield chunk
        if answered.length:
            raise http.client.IncompleteRead(b"", answered.length)
    finally:
        answered.close()
        connection.close()
