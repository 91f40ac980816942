"""The wire does to a connection what a network does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.faults.wire import Wire


class Echo:
    """Answers each piece with itself, and remembers what came."""

    def __init__(self) -> None:
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line:
            while data := line.recv(100):
                self.heard += data
                line.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.listener.close()


@pytest.fixture
def wire(echo: Echo) -> Iterator[Wire]:
    wire = Wire("127.0.0.1", echo.port)
    yield wire
    wire.close()


def dial(wire: Wire, timeout_s: float = 30) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", wire.port), timeout=timeout_s))


def test_a_whole_wire_carries_both_ways(wire: Wire) -> None:
    with dial(wire) as line:
        line.sendall(b"one")
        assert line.recv(100) == b"one"


def test_what_is_sent_over_a_cut_wire_arrives_when_it_is_mended(wire: Wire, echo: Echo) -> None:
    with dial(wire) as line:
        line.sendall(b"one")
        assert line.recv(100) == b"one"
        wire.cut()
        line.sendall(b"two")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):  # open, and silent
            line.recv(100)
        assert echo.heard == b"one"
        wire.mend()
        line.settimeout(30)
        assert line.recv(100) == b"two"


def test_a_deaf_wire_delivers_and_ends_before_the_answer(wire: Wire, echo: Echo) -> None:
    wire.deafen()
    with dial(wire) as line:
        line.sendall(b"one")
        assert line.recv(100) == b""
    assert echo.heard == b"one"


def test_a_wire_that_is_down_hangs_up_and_refuses_until_it_is_mended(wire: Wire) -> None:
    with dial(wire) as line:
        line.sendall(b"one")
        assert line.recv(100) == b"one"
        wire.take_down()
        assert line.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        dial(wire)
    wire.mend()
    with dial(wire) as line:
        line.sendall(b"two")
        assert line.recv(100) == b"two"
