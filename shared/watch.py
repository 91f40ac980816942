"""Watcher: wakes callers that wait for a job to change.

One pub/sub connection a process serves every waiting thread. Messages may be lost, so a waiter
also wakes by itself every second and looks.
"""

import threading
from collections import OrderedDict
from time import monotonic
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from shared.connection import PREFIX

LOOK_AGAIN_S = 1.0
REMEMBERED = 10_000


class Watcher:
    """Listens from its first waiter on; `close` ends it."""

    def __init__(self, client: Redis, prefix: str = PREFIX) -> None:
        self._client: Any = client
        self._channel = prefix + "events"
        self._changed = threading.Condition()
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def start(self) -> None:
        """Listen from now on; a first waiter also starts it, but misses what happens meanwhile."""
        with self._changed:
            self._start()

    def wait(self, job_id: str, version: int, timeout_s: float) -> None:
        """Return when the job may be newer than `version`, at the latest after `timeout_s`.

        Returns after a second in any case, since a message can be lost: callers look and loop.
        """
        limit = monotonic() + min(timeout_s, LOOK_AGAIN_S)
        with self._changed:
            self._start()
            while self._versions.get(job_id, 0) <= version and (left := limit - monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        if self._thread:
            self._thread.join(timeout=3)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="watcher", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except RedisError:
                self._closed.wait(LOOK_AGAIN_S)

    def _follow(self) -> None:
        with self._client.pubsub() as events:
            events.subscribe(self._channel)
            while not self._closed.is_set():
                message = events.get_message(timeout=0.5)
                if message and message["type"] == "subscribe":
                    self._forget()
                elif message:
                    self._note(message["data"])

    def _forget(self) -> None:
        """Another connection: a Redis that failed over or was killed may be behind what it told."""
        with self._changed:
            self._versions.clear()

    def _note(self, data: str) -> None:
        job_id, _, version = data.rpartition("|")
        with self._changed:
            self._versions[job_id] = int(version)
            self._versions.move_to_end(job_id)
            if len(self._versions) > REMEMBERED:
                self._versions.popitem(last=False)
            self._changed.notify_all()
