"""The server's worker: callers wait at the door until their request is whole, and never a thread.

gunicorn's own gives a thread to whoever connects: as many slow callers as threads hold up all
others. Here one loop takes requests in and waits for slow readers; a thread works only while there
is something to compute or to send. When the door is full, who has waited longest gives way.
"""

import logging
import selectors
import socket
import time
import traceback
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, ClassVar

from gunicorn.http import wsgi  # type: ignore[import-untyped]  # has no types
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # has no types

from api.arrival import READ_BYTES, Arrival
from api.errors import refusal
from api.ids import new_id
from api.replies import Outlet, Reply
from shared.errors import FarmError, InternalError, MalformedBody, SlowCaller, Unavailable
from shared.settings import Settings

logger = logging.getLogger(__name__)

SLOWEST_BYTES_S = 16_000  # what a body must come at, on average, after its first seconds
LINGER_S = 10.0  # for a caller to read its answer while it still sends
LAST_S = 2.0  # the same, and for a next request, once the process is about to end
MOST_HELD = 4  # bodies of the largest size, together
SPARE_S = 1.0  # who was answered and asks for nothing for so long gives way first
Act = Callable[["Connection", socket.socket], None]
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wait(Enum):
    """What a connection waits for, where no thread has it."""

    REQUEST = auto()
    ROOM = auto()  # to send more
    END = auto()  # for the caller to hang up


class Connection:
    """A caller's connection, with the request that comes and the answer that goes."""

    def __init__(self, sock: socket.socket, address: Any, server: Any, arrival: Arrival) -> None:
        self.sock, self.address, self.server = sock, address, server
        self.arrival = arrival
        self.reply: Reply | None = None
        self.rest = b""
        self.fresh = True
        self.wait: Wait | None = None
        self.since_s = self.until_s = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing has come of the next request."""
        return self.wait is Wait.REQUEST and not self.arrival.size_bytes


class Door(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Takes requests in and waits for slow readers in one loop; answers in threads."""

    settings: ClassVar[Settings]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.settings
        self._receive_s, self._idle_s = chosen.api_receive_s, chosen.stream_idle_s
        self._limit_bytes = max(chosen.max_body_bytes, chosen.max_batch_bytes)
        self._waiting: set[Connection] = set()

    # --- What gunicorn's loop calls, all in one thread.

    def accept(self, listener: Any) -> None:
        """Let a caller in; one who waits gives way when there are too many."""
        try:
            sock, address = listener.accept()
        except OSError:  # gone again, or no file is left for it
            self._make_room()
            return
        sock.setblocking(False)
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections - 1:  # at the full number nobody is let in
            self._make_room()
        self._expect(
            Connection(sock, address, listener.getsockname(), self._arrival(address))
        )  # fmt: skip

    def murder_pending(self) -> None:
        """Part with those whose time is over; called about once a second."""
        now_s = time.monotonic()
        for connection in [one for one in self._waiting if one.until_s <= now_s]:
            if connection.wait is Wait.REQUEST and not connection.idle:
                self._refuse(connection, SlowCaller())
                continue
            if connection.wait is Wait.ROOM:
                logger.info("a caller takes nothing: cut off", extra={"action": "http.door"})
            self._drop(connection)
        if self.nr_conns >= self.worker_connections:  # gunicorn lets nobody in then
            self._make_room()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close every connection that is left, at the very end."""
        for connection in list(self._waiting) if force else ():
            self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """Shorten, at the end, the time of those who ask for nothing."""
        for connection in self._waiting:
            if connection.idle or connection.wait is Wait.END:
                connection.until_s = min(connection.until_s, deadline)

    def finish_request(self, connection: Connection, future: Any) -> None:
        """Go on with a connection that a thread has left."""
        if future.cancelled() or future.exception() is not None:
            self._part(connection)
            return
        {
            After.ROOM: self._await_room,
            After.NEXT: self._expect,
            After.END: self._linger,
        }[future.result()](connection)

    # --- Requests coming in.

    def _arrival(self, address: Any) -> Arrival:
        return Arrival(self.cfg, address, self._limit_bytes)

    def _expect(self, connection: Connection) -> None:
        """Wait for the next request, which may have come already."""
        connection.arrival = self._arrival(connection.address)
        wait_s = self._receive_s if connection.fresh else self.cfg.keepalive
        if not self.alive and not connection.fresh:
            wait_s = min(wait_s, LAST_S)
        self._wait(connection, Wait.REQUEST, wait_s)
        if connection.rest:
            data, connection.rest = connection.rest, b""
            self._take(connection, data)

    def _on_readable(self, connection: Connection, sock: socket.socket) -> None:
        try:
            data = sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if connection.wait is Wait.END:
            if not data:
                self._drop(connection)
        elif data:
            self._take(connection, data)
        elif connection.idle:
            self._drop(connection)
        else:
            self._refuse(connection, MalformedBody("The request breaks off before its end."))

    def _take(self, connection: Connection, data: bytes) -> None:
        arrival = connection.arrival
        if connection.idle:
            connection.since_s = time.monotonic()
        connection.fresh = False
        try:
            arrival.feed(data)
        except FarmError as error:
            self._refuse(connection, error)
            return
        except OSError as error:
            logger.error("no room for what arrives: %s", error, extra={"action": "http.door"})
            self._refuse(connection, Unavailable("There is no room for the body now."))
            return
        spent_s = self._receive_s + arrival.size_bytes / SLOWEST_BYTES_S
        connection.until_s = connection.since_s + spent_s
        if arrival.complete:
            self._leave(connection)
            self.enqueue_req(connection)
        elif arrival.take_leave():
            _say(connection.sock, GO_ON)
        else:
            self._bound_held()

    # --- Answers going out, in a thread.

    def handle(self, connection: Connection) -> "After":
        """Answer, or go on answering; what is to be waited for next."""
        try:
            reply = connection.reply = connection.reply or self._begin(connection)
            if not reply.advance():
                return After.ROOM
            connection.rest = connection.arrival.rest
            self._give_back(connection)
            return After.END if reply.response.should_close() else After.NEXT
        except OSError:  # the caller is gone, or was cut off
            self._give_back(connection)
            return After.END
        except Exception as error:  # noqa: BLE001  # outermost loop of an answer
            return self._fail(connection, error)

    def _begin(self, connection: Connection) -> Reply:
        arrival = connection.arrival
        body, n_bytes = arrival.body()
        outlet = Outlet(connection.sock)
        response, environ = wsgi.create(
            arrival.request, outlet, connection.address, connection.server, self.cfg
        )
        environ.update({
            "wsgi.multithread": True, "wsgi.input": body, "gunicorn.socket": connection.sock
        })  # fmt: skip
        if arrival.chunked:  # to the app it is one of known length
            environ["CONTENT_LENGTH"] = str(n_bytes)
            del environ["HTTP_TRANSFER_ENCODING"]
        if not self.alive or not arrival.whole or arrival.chunked:
            response.force_close()
        return Reply(self.wsgi, environ, response, outlet)

    def _fail(self, connection: Connection, error: Exception) -> "After":
        """Say what went wrong while that can still be said; else break the answer off."""
        begun = connection.reply is not None and connection.reply.begun
        known = isinstance(error, FarmError)
        if not known or begun:
            _log_fault(error)
        self._give_back(connection)
        if not begun:
            said = error if isinstance(error, FarmError) else InternalError()
            _say(connection.sock, refusal(said, new_id()))
        return After.END

    def _give_back(self, connection: Connection) -> None:
        if connection.reply is not None:
            connection.reply.close()
        connection.reply = None
        connection.arrival.close()

    # --- Waiting.

    def _await_room(self, connection: Connection) -> None:
        self._wait(connection, Wait.ROOM, self._idle_s)

    def _on_writable(self, connection: Connection, _sock: socket.socket) -> None:
        reply = connection.reply
        try:
            clear = reply is None or reply.outlet.flush()
        except OSError:
            self._drop(connection)
            return
        connection.until_s = time.monotonic() + self._idle_s
        if clear:
            self._leave(connection)
            self.enqueue_req(connection)

    def _linger(self, connection: Connection) -> None:
        """Half-close, and drop what the caller still sends: a reset would take its answer away."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._part(connection)
            return
        self._wait(connection, Wait.END, LINGER_S if self.alive else LAST_S)

    def _wait(self, connection: Connection, wait: Wait, wait_s: float) -> None:
        writes = wait is Wait.ROOM
        event = selectors.EVENT_WRITE if writes else selectors.EVENT_READ
        heed = partial(self._heed, self._on_writable if writes else self._on_readable, connection)
        connection.since_s = time.monotonic()
        connection.until_s = connection.since_s + wait_s
        connection.wait = wait
        self._waiting.add(connection)
        self.poller.register(connection.sock, event, heed)

    def _heed(self, act: Act, connection: Connection, sock: socket.socket) -> None:
        if connection not in self._waiting:  # dropped since the loop saw it ready
            return
        try:
            act(connection, sock)
        except Exception as error:  # noqa: BLE001  # outermost loop: one caller may not end it
            _log_fault(error)
            self._drop(connection)

    def _leave(self, connection: Connection) -> None:
        """Wait no longer: a thread takes over, or nobody."""
        if connection in self._waiting:
            self._waiting.discard(connection)
            self.poller.unregister(connection.sock)
        connection.wait = None

    def _refuse(self, connection: Connection, error: FarmError) -> None:
        logger.info(
            "a request is refused: %s", error.code,
            extra={"action": "http.door", "code": error.code},
        )  # fmt: skip
        self._leave(connection)
        self._give_back(connection)
        _say(connection.sock, refusal(error, new_id()))
        self._linger(connection)

    def _drop(self, connection: Connection) -> None:
        self._leave(connection)
        self._part(connection)

    def _part(self, connection: Connection) -> None:
        self._give_back(connection)
        self.nr_conns -= 1
        connection.sock.close()

    # --- Bounds.

    def _make_room(self) -> None:
        """Part with who was answered and asks for nothing more, else with who waits longest.

        A caller whose first request is on its way goes no sooner than one who sends it slowly.
        """
        by_s = time.monotonic() - SPARE_S
        known = [one for one in self._waiting if one.idle and not one.fresh]
        waiting = [one for one in known if one.since_s <= by_s] or self._waiting
        if waiting:
            self._drop(min(waiting, key=lambda one: one.since_s))

    def _bound_held(self) -> None:
        """Refuse the body that has been coming for longest when they take too much room."""
        coming = [one for one in self._waiting if one.wait is Wait.REQUEST]
        held = sum(one.arrival.size_bytes for one in coming)
        if held > MOST_HELD * self._limit_bytes:
            self._refuse(min(coming, key=lambda one: one.since_s), SlowCaller())


class After(Enum):
    """What comes after a thread has worked on a connection."""

    ROOM = auto()
    NEXT = auto()
    END = auto()


def _log_fault(error: Exception) -> None:
    """Say where it happened; an error's own words may hold a caller's."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    extra = {"action": "http.error", "trace": trace}
    logger.error("an answer breaks off: %s", type(error).__name__, extra=extra)


def _say(sock: socket.socket, data: bytes) -> None:
    """Send a short answer to who listens."""
    try:
        sock.send(data)
    except OSError:
        return


def door_of(chosen: Settings) -> type[Door]:
    """The worker's class for gunicorn, which makes the worker itself."""
    return type("Door", (Door,), {"settings": chosen})
