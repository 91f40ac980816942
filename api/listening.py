"""A stream as one listener gets it: from the recording, then from the finished audio.

Every stream of a job is the same bytes, so a listener that was cut off goes on at the byte it has.
One that can not go on is cut off, never ended: an end means that the audio is whole.
"""

import errno
import logging
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from api.recordings import LOOK_AGAIN_S, Recording
from shared.schemas import AudioResult
from shared.storage import ObjectStore

logger = logging.getLogger(__name__)

CHUNK_BYTES = 32 * 1024
SEAM_BYTES = 64 * 1024


class CutOff(ConnectionResetError):
    """The connection is closed in the middle, which gunicorn takes for the caller's doing."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ECONNRESET, reason)


class Line:
    """A caller's connection, where the server shows it; nothing is known of another."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    def gone(self) -> bool:
        """Whether the caller has hung up."""
        if self._connection is None or not self._ready(select.POLLIN, 0):
            return False
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def takes(self, timeout_s: float) -> bool:
        """Whether the caller takes more within that time."""
        return self._connection is None or self._ready(select.POLLOUT, timeout_s)

    def _ready(self, event: int, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._connection or -1, event)
        return bool(poll.poll(timeout_s * 1000))


@dataclass(frozen=True, kw_only=True)
class FinishedStream:
    """A job's finished audio as its stream has it: the header does not know the length."""

    store: ObjectStore
    audio: AudioResult

    @property
    def header(self) -> bytes:
        # Imported here: an API nobody listens to never loads what it takes.
        from shared.audio.encode import stream_header

        return stream_header(self.audio.sample_rate_hz, self.audio.format)

    @property
    def size_bytes(self) -> int:
        return self.audio.size_bytes - self._grown_bytes

    @property
    def _grown_bytes(self) -> int:
        """How much longer the file's header is than the stream's."""
        from shared.audio.pcm import header_growth

        return header_growth(self.audio.size_bytes) if self.audio.format == "wav" else 0

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The stream's bytes as `ObjectStore.read` gives an object's."""
        end = self.size_bytes if length is None else start + length
        head = self.header[start:end]
        start += len(head)
        grown = self._grown_bytes
        rest = self.store.read(key, start + grown, end - start) if start < end else iter(())
        return _chain(head, rest)


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One caller that listens to a recording. `finished` gives the job's audio once it is there.

    A caller that takes nothing, or gets nothing, for `idle_s` is cut off.
    """

    recording: Recording
    line: Line
    idle_s: float
    stopping: Callable[[], bool]
    finished: Callable[[], FinishedStream]

    def begun(self) -> bool:
        """Whether there is sound, after waiting for it; what hinders it is the recording's."""
        tape, limit = self.recording.tape, monotonic() + self.idle_s
        while not tape.size_bytes and not tape.ended and monotonic() < limit:
            if self.line.gone() or self.stopping():
                break
            tape.wait(0, min(LOOK_AGAIN_S, self.idle_s))
        return tape.size_bytes > 0

    def hear(self, start: int, end: int | None) -> Iterator[bytes]:
        """The stream from byte `start`, up to `end` where one is given; raises `CutOff`."""
        recording, tape = self.recording, self.recording.tape
        at, heard_s = start, monotonic()
        while end is None or at < end:
            chunk = tape.read_at(at, CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at))
            if chunk:
                yield self._taken(chunk)
                at, heard_s = at + len(chunk), monotonic()
            elif recording.superseded:
                yield from self._finish(at, end)
                return
            elif recording.error:
                raise self._cut(f"the recording broke off: {recording.error.code}")
            elif tape.ended and at == tape.size_bytes:
                return
            elif tape.ended and at > tape.size_bytes:
                raise self._cut("asked for what lies past the end")
            else:
                if monotonic() - heard_s > self.idle_s:
                    raise self._cut("no sound came in time")
                self._check()
                tape.wait(at, min(LOOK_AGAIN_S, self.idle_s))

    def _finish(self, at: int, end: int | None) -> Iterator[bytes]:
        """The rest from the finished audio, after a look at the seam."""
        stream = self.finished()
        end = stream.size_bytes if end is None else min(end, stream.size_bytes)
        if at > end:
            raise self._cut("asked for what lies past the end")
        heard = self.recording.tape.read_at(max(0, at - SEAM_BYTES), min(at, SEAM_BYTES))
        key = stream.audio.key
        if heard and b"".join(stream.read(key, at - len(heard), len(heard))) != heard:
            raise self._cut("the finished audio is not what was heard")
        for chunk in stream.read(key, at, end - at):
            yield self._taken(chunk)

    def _taken(self, chunk: bytes) -> bytes:
        """The chunk itself when the caller has room for it."""
        if not self.line.takes(self.idle_s):
            raise self._cut("the caller takes nothing")
        if self.stopping():
            raise self._cut("this process is about to end")
        return chunk

    def _check(self) -> None:
        if self.line.gone():
            raise self._cut("the caller has hung up")
        if self.stopping():
            raise self._cut("this process is about to end")

    def _cut(self, reason: str) -> CutOff:
        job = self.recording.job.id
        logger.info("a listener is cut off: %s", reason, extra={"action": "stream", "job": job})
        return CutOff(reason)
