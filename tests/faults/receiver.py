"""A webhook receiver with moods: each message meets the next of them, then all are welcome."""

import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import free_port

MOODS = ("500", "302", "429", "hang", "late", "rude")
HANGS_S = 4.0  # longer than a farm of this suite waits


@dataclass(frozen=True, kw_only=True)
class Message:
    """As it came, whatever it was answered."""

    headers: dict[str, str]
    body: bytes
    mood: str


class Receiver:
    """`moods`: a status to answer, `hang` without an answer, `late` 204, or `rude`: no HTTP."""

    def __init__(self) -> None:
        self.moods: deque[str] = deque()
        self.messages: list[Message] = []
        self._closing = threading.Event()
        self._serve(free_port())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    def go_away(self) -> None:
        """Nobody listens any more: connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def come_back(self) -> None:
        self._serve(self._port)

    def close(self) -> None:
        self._closing.set()
        self.go_away()

    def of(self, job: str) -> list[Message]:
        """The messages whose `webhook-id` names the job."""
        return [m for m in list(self.messages) if f"_{job}_" in m.headers.get("webhook-id", "")]

    def _serve(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                mood = receiver.moods.popleft() if receiver.moods else "204"
                receiver.messages.append(Message(headers=headers, body=body, mood=mood))
                try:
                    receiver._answer(self, mood)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def _answer(self, caller: BaseHTTPRequestHandler, mood: str) -> None:
        if mood in ("hang", "late"):
            self._closing.wait(HANGS_S)
        if mood == "hang":
            caller.close_connection = True
            return
        if mood == "rude":
            caller.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            caller.close_connection = True
            return
        caller.send_response(204 if mood == "late" else int(mood))
        if mood == "302":
            caller.send_header("Location", self.url)
        if mood == "429":
            caller.send_header("Retry-After", "1")
        caller.end_headers()
