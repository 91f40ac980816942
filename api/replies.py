"""An answer on its way: sends what the caller takes at once and keeps the rest for later.

No thread waits for a slow reader: who has taken nothing yet is left alone until there is room.
"""

import socket
from collections.abc import Iterable
from contextvars import Context
from functools import partial
from typing import Any

TURN_BYTES = 1_000_000  # then the next caller's turn comes
END = object()


class Outlet:
    """What gunicorn's `Response` needs of a socket; takes everything, sends what fits."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        self.sent_bytes = 0

    def sendall(self, data: bytes) -> None:
        """Take the data; raises `OSError` when the connection is gone."""
        self._rest = self._rest + data if self._rest else data
        self.flush()

    def flush(self) -> bool:
        """Whether nothing is left to be sent."""
        view = memoryview(self._rest)
        while view:
            try:
                n_bytes = self._sock.send(view, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            view = view[n_bytes:]
            self.sent_bytes += n_bytes
        self._rest = bytes(view)
        return not self._rest


class Reply:
    """The app's answer to one request. Its parts are made in one context, whoever asks for them."""

    def __init__(self, app: Any, environ: dict[str, Any], response: Any, outlet: Outlet) -> None:
        self.response, self.outlet = response, outlet
        self._context = Context()
        self._body: Iterable[bytes] = self._context.run(app, environ, response.start_response)
        self._parts = iter(self._body)
        self._ended = False

    def advance(self) -> bool:
        """Send until all is sent, True, or the caller takes no more or has had its turn, False."""
        until = self.outlet.sent_bytes + TURN_BYTES
        while self.outlet.flush():
            if self._ended:
                return True
            if self.outlet.sent_bytes >= until:
                return False
            part = self._context.run(partial(next, self._parts, END))
            if part is END:
                self._ended = True
                self.response.close()
            else:
                self.response.write(part)
        return False

    @property
    def begun(self) -> bool:
        """Whether some of it is on its way already."""
        return bool(self.response.headers_sent)

    def close(self) -> None:
        """Give back what the answer holds."""
        if callable(close := getattr(self._body, "close", None)):
            self._context.run(close)
