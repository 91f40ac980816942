"""One request as it arrives, piece by piece, until it is whole; nothing here waits or has a socket.

The head is read by gunicorn's own parser, which also takes the body apart later. What breaks off
is never handed on.
"""

import re
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any

from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped]  # has no types
from gunicorn.http.errors import (  # type: ignore[import-untyped]  # has no types
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.message import Request  # type: ignore[import-untyped]  # has no types
from gunicorn.http.unreader import Unreader  # type: ignore[import-untyped]  # has no types

from shared.errors import FarmError, HeadTooLarge, MalformedBody

HEAD_END = b"\r\n\r\n"
MOST_HEAD_BYTES = 64 * 1024
MOST_LINE_BYTES = 4 * 1024  # of a chunk's size, or of a trailer
MOST_TRAILER_BYTES = 16 * 1024
IN_MEMORY_BYTES = 64 * 1024  # a longer body waits in the temporary directory
READ_BYTES = 64 * 1024
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;|\Z)")


class ChunkScanner:
    """Finds where a body in chunks ends, without taking it apart."""

    def __init__(self) -> None:
        self.ended = False
        self._skip = 0  # of the chunk that stands here, its line's end included
        self._line = bytearray()
        self._in_trailers = False
        self._trailer_bytes = 0

    def scan(self, data: bytes) -> int:
        """How many of the bytes belong to the body; raises `MalformedBody`."""
        at = 0
        while at < len(data) and not self.ended:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            else:
                end = data.find(b"\n", at)
                step = len(data) - at if end < 0 else end + 1 - at
                self._line += data[at : at + step]
                self._check_length()
                if end >= 0:
                    self._take_line()
            at += step
        return at

    def _check_length(self) -> None:
        if len(self._line) > MOST_LINE_BYTES:
            raise MalformedBody("A chunk of the body begins with a line out of all measure.")

    def _take_line(self) -> None:
        line = bytes(self._line).removesuffix(b"\r\n")
        ended_well = self._line.endswith(b"\r\n")
        self._line.clear()
        if self._in_trailers:
            self._trailer_bytes += len(line)
            self.ended = not line
        else:
            found = CHUNK_SIZE.match(line)
            size = int(found[1], 16) if found else 0
            self._in_trailers = size == 0
            self._skip = size + 2 if size else 0
            ended_well = ended_well and found is not None
        if not ended_well or self._trailer_bytes > MOST_TRAILER_BYTES:
            raise MalformedBody("The body's chunks do not follow RFC 9112.")


class _Held(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """Gives gunicorn's parser what has arrived, and an end after that."""

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self._head = head
        self.body = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  # the arrival closes it

    def chunk(self, size_hint: int | None = None) -> bytes:
        head, self._head = self._head, b""
        # What is read ahead the parser copies once for each piece it hands on.
        return head or self.body.read(min(size_hint or READ_BYTES, READ_BYTES))


class Arrival:
    """Collects a request of up to `limit_bytes`; a longer one goes on without its body.

    `request` is there as soon as the head is; `complete` says that it can be answered; `rest` is
    what came after it; `whole` says that `rest` begins with the next request.
    """

    def __init__(self, cfg: Any, address: Any, limit_bytes: int) -> None:
        self.request: Any = None
        self.complete = False
        self.whole = True
        self.rest = b""
        self.size_bytes = 0
        self.chunked = False
        self._cfg, self._address, self._limit_bytes = cfg, address, limit_bytes
        self._head = bytearray()
        self._held: _Held | None = None
        self._files: list[SpooledTemporaryFile[bytes]] = []
        self._left_bytes = self._body_bytes = 0
        self._scanner = ChunkScanner()
        self._waits_for_leave = False

    def feed(self, data: bytes) -> None:
        """Take what came next; raises `HeadTooLarge`, `MalformedBody`, and the disk's `OSError`."""
        try:
            self._feed(data)
        except (FarmError, OSError):
            self.close()
            raise

    def _feed(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.request is None:
            data = self._take_head(data)
        if self.request is None or self._held is None:
            return
        if self.chunked:
            n_bytes = self._scanner.scan(data)
            self.complete = self._scanner.ended
        else:
            n_bytes = min(self._left_bytes, len(data))
            self._left_bytes -= n_bytes
            self.complete = self._left_bytes == 0
        self._held.body.write(data[:n_bytes])
        self._body_bytes += n_bytes
        self.rest += data[n_bytes:]
        # In chunks a body may be twice as long as what is in them.
        limit_bytes = self._limit_bytes * (2 if self.chunked else 1)
        if self.complete:
            self._held.body.seek(0)
        elif self._body_bytes + self._left_bytes > limit_bytes:
            # The app says so, in the form its path speaks.
            self._held.body.seek(0)
            self.complete, self.whole = True, False

    def take_leave(self) -> bool:
        """Whether the caller waits to be told to go on with its body; once."""
        waits, self._waits_for_leave = self._waits_for_leave, False
        return waits and not self.complete

    def body(self) -> tuple[Any, int]:
        """The complete request's body, taken apart, and its length; raises `MalformedBody`.

        Of one that is not whole it is what has come, with a length over the limit: who looks at the
        length first never takes a part for the whole.
        """
        held: Any = self._held.body if self._held else BytesIO()
        if not self.whole or not self.chunked:
            return held, self._body_bytes + self._left_bytes
        plain, n_bytes = SpooledTemporaryFile(IN_MEMORY_BYTES), 0  # noqa: SIM115  # see close
        self._files.append(plain)
        try:
            while data := self.request.body.read(READ_BYTES):
                n_bytes += plain.write(data)
        except (ParseException, NoMoreData) as error:
            raise MalformedBody("The body's chunks do not follow RFC 9112.") from error
        plain.seek(0)
        return plain, n_bytes

    def close(self) -> None:
        """Give back the room the body took."""
        for file in self._files:
            file.close()

    def _take_head(self, data: bytes) -> bytes:
        """What came after the head, once that is there."""
        searched = max(0, len(self._head) - len(HEAD_END))
        self._head += data
        if self._head[:2] == b"\r\n":  # RFC 9112, 2.2: one empty line may come before
            del self._head[:2]
        end = self._head.find(HEAD_END, searched)
        if end < 0 and len(self._head) <= MOST_HEAD_BYTES:
            return b""
        head, rest = bytes(self._head[: end + 4]), bytes(self._head[end + 4 :])
        if end < 0 or len(head) > MOST_HEAD_BYTES:
            raise HeadTooLarge(f"The request's head is longer than {MOST_HEAD_BYTES} bytes.")
        self._head.clear()
        self._held = _Held(head)
        self._files.append(self._held.body)
        self.request = self._parse(self._held)
        self.chunked = isinstance(self.request.body.reader, ChunkedReader)
        self._left_bytes = 0 if self.chunked else self.request.body.reader.length
        self._waits_for_leave = self.request._expected_100_continue
        self.request._expected_100_continue = False  # gunicorn would say it only when it answers
        return rest

    def _parse(self, held: _Held) -> Any:
        try:
            return Request(self._cfg, held, self._address)
        except (LimitRequestLine, LimitRequestHeaders) as error:
            raise HeadTooLarge(
                "The address or a header is too long, or there are too many headers."
            ) from error
        except (ParseException, NoMoreData, StopIteration, ValueError) as error:
            raise MalformedBody(
                f"The request's head does not follow HTTP: {type(error).__name__}."
            ) from error
