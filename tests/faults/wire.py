"""A wire between two processes that can be cut half-open, slowed, made deaf or taken down."""

import socket
import threading
import time
from contextlib import suppress
from enum import Enum

from tests.conftest import free_port

PIECE_BYTES = 65_536


class Wire:
    """Carries connections to `host:port`; other processes speak to `address` instead.

    Cut, nothing passes and nothing is closed: what was sent arrives when it is mended, as with TCP
    on a network that swallowed packets. Deaf, what is asked arrives and the connection ends
    before the answer. Down, connections are refused.
    """

    class State(Enum):
        WHOLE = "whole"
        CUT = "cut"
        DEAF = "deaf"
        DOWN = "down"

    def __init__(self, host: str, port: int) -> None:
        self._far = (host, port)
        self._state = Wire.State.WHOLE
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._closed = False
        self.delay_s = 0.0  # before each piece of an answer
        self._listener = socket.create_server(("127.0.0.1", free_port()), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._accepting = self._listen()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        self._set(Wire.State.CUT)

    def deafen(self) -> None:
        self._set(Wire.State.DEAF)

    def mend(self) -> None:
        was, self.delay_s = self._state, 0.0
        if was is Wire.State.DOWN:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self._accepting = self._listen()
        self._set(Wire.State.WHOLE)

    def take_down(self) -> None:
        if self._state is not Wire.State.DOWN:
            self._set(Wire.State.DOWN)
            self._stop_listening()
            self._hang_up()

    def close(self) -> None:
        self.take_down()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _set(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _listen(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        return thread

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _hang_up(self) -> None:
        with self._changed:
            for line in self._open:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # taken down
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            if not self._passes():
                return
            with socket.create_connection(self._far, timeout=10) as far:
                far.settimeout(None)
                for line in (near, far):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self._open |= {near, far}
                asking = threading.Thread(target=self._pump, args=(near, far, False), daemon=True)
                asking.start()
                self._pump(far, near, True)
                asking.join()
                with self._changed:
                    self._open -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(PIECE_BYTES):
                if answers and self.delay_s:
                    time.sleep(self.delay_s)
                if not self._passes() or (answers and self._state is Wire.State.DEAF):
                    break
                sink.sendall(data)
        except OSError:
            pass
        for line in (source, sink):  # either end tells the other
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _passes(self) -> bool:
        """Waits while the wire is cut; whether it carries anything then."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._state is not Wire.State.CUT)
            return not self._closed and self._state is not Wire.State.DOWN
