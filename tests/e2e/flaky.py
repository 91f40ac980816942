"""A way to a farm on which the next calls go wrong as a test says."""

import socket
import threading
from collections import deque
from contextlib import suppress

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
CHUNK_BYTES = 4096


class Flaky:
    """Hands each connection, of one request, to the farm on `port`; `faults` are its next ones.

    `refuse` answers 503 and the farm hears nothing; a number lets so many bytes of the farm's
    answer through and cuts the connection.
    """

    def __init__(self, port: int) -> None:
        self.faults: deque[str | int] = deque()
        self._farm = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the test has ended
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(ConnectionError):
            request = _read_request(caller)
            fault = self.faults.popleft() if self.faults else None
            if fault == "refuse":
                caller.sendall(REFUSAL)
                return
            with socket.create_connection(self._farm) as farm:
                farm.sendall(request)
                left = fault if isinstance(fault, int) else None
                while data := farm.recv(CHUNK_BYTES):
                    caller.sendall(data if left is None else data[:left])
                    left = None if left is None else left - len(data)
                    if left is not None and left <= 0:
                        return


def _read_request(caller: socket.socket) -> bytes:
    held = b""
    while b"\r\n\r\n" not in held:
        held += _more(caller)
    head, _, body = held.partition(b"\r\n\r\n")
    names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(names.get(b"content-length", 0)):
        body += _more(caller)
    return head + b"\r\n\r\n" + body


def _more(caller: socket.socket) -> bytes:
    data = caller.recv(CHUNK_BYTES)
    if not data:
        raise ConnectionResetError
    return data
