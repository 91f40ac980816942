"""`AsyncClient`: a farm for asyncio, as HTTP/1.1 over its streams, a connection a call."""

import asyncio
import http.client
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from email.message import Message
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

MAX_HEADERS = 200


class AsyncClient(Calls):
    """A farm. The calls are those of `Client`, to be awaited; downloads are iterated over."""

    async def speak(
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
        job = await self.submit(text, key=key, ssml=ssml, **options)
        job = await self.wait(job, on_progress=on_progress, timeout_s=timeout_s)
        return checked(job, b"".join([chunk async for chunk in self.audio(job)]))

    async def submit(
        self,
        text: str | None = None,
        *,
        key: str | None = None,
        ssml: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """The accepted job; the same `key` and content again answer the same job."""
        return await self._run(self._submit(body_of(text, ssml, options), key))

    async def job(self, job_id: str, wait_s: int = 0) -> Job:
        """A job; with `wait_s`, when it has ended and at the latest after that time."""
        return await self._run(self._job(job_id, wait_s))

    async def wait(
        self,
        job: Job | str,
        *,
        on_progress: Callable[[Job], object] | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """The job once it has audio. Raises `JobFailed`, and `TimeoutError` after `timeout_s`."""
        return await self._run(self._wait(job, on_progress, timeout_s))

    def stream(self, job: Job | str) -> AsyncIterator[bytes]:
        """A job's audio while it is made, in chunks, taken up again where a connection breaks.

        Raises `FarmProblem` when the job ends without audio, or the farm can not stream.
        """
        return self._download(stream_of(job))

    def audio(self, job: Job | str) -> AsyncIterator[bytes]:
        """A finished job's audio in chunks, taken up again where a connection breaks."""
        return self._download(audio_of(job))

    async def cancel(self, job: Job | str) -> Job:
        """The job, canceled; one that is canceled already is no error."""
        return await self._run(self._change(job, "cancel"))

    async def retry(self, job: Job | str) -> Job:
        """The failed, canceled or expired job, running again; only what is missing is rendered.

        One that runs or has succeeded already is no error.
        """
        return await self._run(self._retry(job))

    async def batch(
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
        sent = await self.submit_batch(inputs, key=key, **head)
        return await self._run(self._follow(self._batch, sent, on_progress, timeout_s))

    async def submit_batch(
        self, inputs: Iterable[str | Mapping[str, Any]], *, key: str | None = None, **head: Any
    ) -> Batch:
        """The accepted batch; the same `key` and content again answer the same batch."""
        return await self._run(self._submit_batch(lines_of(inputs, head), key))

    async def show_batch(self, batch_id: str, wait_s: int = 0) -> Batch:
        """A batch; with `wait_s`, when it has ended and at the latest after that time."""
        return await self._run(self._batch(batch_id, wait_s))

    def results(self, batch: Batch | str, *, partial: bool = False) -> AsyncIterator[bytes]:
        """An ended batch's archive in chunks; with `partial`, what there is of a running one's."""
        return self._download(results_of(batch, partial=partial))

    async def voices(self) -> list[Voice]:
        """Every voice the farm knows."""
        return await self._run(self._voices())

    async def _run(self, flow: Flow[ReplyT]) -> ReplyT:
        try:
            step = next(flow)
            while True:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    step = next(flow)
                    continue
                try:
                    answer = await self._send(step)
                except BROKEN as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as ended:
            reply: ReplyT = ended.value
            return reply

    async def _download(self, download: Download) -> AsyncIterator[bytes]:
        while (answer := await self._run(self._open(download))) is not None:
            try:
                async for chunk in answer.chunks:
                    download.n_bytes += len(chunk)
                    yield chunk
                return
            except BROKEN as error:
                download.broke(error)
            finally:
                await answer.chunks.aclose()

    async def _send(self, call: Call) -> Answer:
        head = self._head(call)
        try:
            async with asyncio.timeout(self._timeout_s):
                streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise NotConnected(str(error)) from error
        connection = _Connection(*streams, self._timeout_s + call.longer_s)
        try:
            status, headers = await connection.ask(head)
            chunks = connection.chunks(headers)
            if call.streamed and status < 400:
                return Answer(status=status, headers=headers, chunks=chunks)
            body = b"".join([chunk async for chunk in chunks])
        except BaseException:
            await connection.close()
            raise
        return Answer(status=status, headers=headers, body=body)

    def _head(self, call: Call) -> bytes:
        """The request as bytes."""
        body = call.body or b""
        data = body if isinstance(body, bytes) else body.read()
        headers = {**self._headers, **call.headers, "Content-Length": str(len(data))}
        lines = [f"{call.method} {self._prefix}{call.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any(not line.isprintable() for line in lines):
            raise ValueError("A key or an address holds a line break or the like.")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + data


class _Connection:
    """One request and its answer; no read or write may take longer than `patience_s`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float
    ) -> None:
        self._reader, self._writer, self._patience_s = reader, writer, patience_s

    async def ask(self, request: bytes) -> tuple[int, Message]:
        """The status and headers of the answer."""
        async with asyncio.timeout(self._patience_s):
            self._writer.write(request)
            await self._writer.drain()
            while (status := _status(await self._line())) < 200:  # 100 Continue and the like
                await self._headers()
            return status, await self._headers()

    async def chunks(self, headers: Message) -> AsyncIterator[bytes]:
        """The body as it comes; raises `IncompleteReadError` when the connection ends before it."""
        try:
            if headers.get("Transfer-Encoding", "").lower() == "chunked":
                while left := _chunk_size(await self._line()):
                    async for part in self._parts(left):
                        yield part
                    await self._line()
            elif (length := headers.get("Content-Length", "")).isdecimal():
                async for part in self._parts(int(length)):
                    yield part
            else:
                raise http.client.HTTPException("The answer does not tell its length.")
        finally:
            await self.close()

    async def close(self) -> None:
        self._writer.transport.abort()  # TLS's farewell would wait 30 s for an answer to it
        with suppress(OSError):  # what breaks now has been read already, or told
            await self._writer.wait_closed()

    async def _parts(self, left: int) -> AsyncIterator[bytes]:
        while left:
            part = await self._read(min(left, CHUNK_BYTES))
            if not part:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(part)
            yield part

    async def _read(self, n_bytes: int) -> bytes:
        async with asyncio.timeout(self._patience_s):
            return await self._reader.read(n_bytes)

    async def _line(self) -> bytes:
        async with asyncio.timeout(self._patience_s):
            try:
                return await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                raise http.client.LineTooLong("answer") from error

    async def _headers(self) -> Message:
        lines = []
        while (line := await self._line()).strip():
            lines.append(line)
            if len(lines) > MAX_HEADERS:
                raise http.client.HTTPException("The answer's head has no end.")
        return http.client.parse_headers(io.BytesIO(b"".join([*lines, b"\r\n"])))


def _status(line: bytes) -> int:
    parts = line.split(maxsplit=2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise http.client.BadStatusLine(repr(line[:80]))
    return int(parts[1])


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise http.client.HTTPException("The answer's chunks are not as they should be.") from error
