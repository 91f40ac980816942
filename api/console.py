"""What `ttsfarm up` prints: each line behind its process's name, in that process's colour.

On a terminal a JSON log line is shown as a sentence with the time; elsewhere lines stay as they
came. A reader that stops reading, as a terminal does after Ctrl-S, holds nobody up.
"""

import errno
import io
import json
import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
ALERT = 31
GONE = (errno.EPIPE, errno.EIO)  # a pipe's reader, a terminal
# What is kept for a reader that does not read.
WAITING_BYTES = 1_000_000
FAINT = 2
LEVEL_COLOURS = {"WARNING": 33, "ERROR": 31, "CRITICAL": 31}
# Shown on a terminal beside a log line's message; the rest of the line is for machines.
SHOWN = ("job",)
SHOWN_IN_TROUBLE = ("job", "unit", "code", "request_id")
# Redis's own lines: process and time stand before our own, and its start says nothing new.
SERVER_START = re.compile(
    r"\d+:(?:[A-Z] \d\d \w{3} \d{4} [\d:.]+ [.*#-]|signal-handler \(\d+\)) ", re.ASCII
)
# What would move the cursor or paint: a message may hold what a stranger wrote.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
SERVER_NEWS = re.compile(
    r"is starting oO0|version=\S+, bits=|Configuration loaded|Server initialized|"
    r"scheduling shutdown|User requested shutdown|ready to exit, bye"
)


def local_time() -> str:
    """The time of day as a person's clock shows it."""
    return time.strftime("%H:%M:%S")


class Console:
    """Writes to `out`, coloured where that is a terminal and NO_COLOR is not set."""

    def __init__(
        self,
        out: TextIO,
        environment: Mapping[str, str],
        clock: Callable[[], str] = local_time,
    ) -> None:
        self._out = out
        self._clock = clock
        self._person = out.isatty()
        self._coloured = self._person and not environment.get("NO_COLOR")
        self._names: dict[str, int] = {}
        self._descriptor = _descriptor(out)
        self._waiting = bytearray()
        self._n_missing = 0

    def line(self, name: str, text: str) -> None:
        """One line of the process `name`."""
        colour = self._names.setdefault(name, COLOURS[len(self._names) % len(COLOURS)])
        if not self._person:
            self._print(f"{name:<9}| {text}")
            return
        if SERVER_START.match(text) and SERVER_NEWS.search(text):
            return
        start = f"{self._paint(FAINT, self._clock())} {self._paint(colour, f'{name:<8}')}"
        for line in self._sentence(text).split("\n"):
            self._print(f"{start} {line}")

    def alert(self, text: str) -> None:
        """Something a person should look at."""
        self._print(self._paint(ALERT, text))

    def say(self, text: str) -> None:
        """A word of the farm itself."""
        self._print(text)

    def flush(self, patience_s: float = 0.0) -> None:
        """Hand on what the reader takes, for `patience_s` at most."""
        limit = time.monotonic() + patience_s
        while self._waiting and self._descriptor is not None:
            if not _takes(self._descriptor, max(0.0, limit - time.monotonic())):
                return
            try:
                # A pipe that tells of room has room for so much.
                part = self._waiting[: select.PIPE_BUF]
                del self._waiting[: os.write(self._descriptor, part)]
            except BlockingIOError:
                return
            except OSError as error:
                self._waiting.clear()
                # The reader is gone, as after Ctrl-C to `up | tee`: the farm has yet to stop.
                if error.errno in GONE:
                    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # no path of ours
                        os.dup2(nowhere.fileno(), self._descriptor)

    def _print(self, text: str) -> None:
        if self._descriptor is None:
            self._out.write(text + "\n")
            return
        self.flush()
        if self._n_missing:
            text = f"({self._n_missing} lines are missing here: nobody read them)\n{text}"
        line = (text + "\n").encode(self._out.encoding, self._out.errors or "strict")
        if len(self._waiting) + len(line) > WAITING_BYTES:
            self._n_missing += 1
            return
        self._n_missing = 0
        self._waiting += line
        self.flush()

    def _paint(self, colour: int, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text

    def _sentence(self, text: str) -> str:
        """`message  job=..., 12 ms` of a JSON log line; any other line unchanged."""
        fields = _fields(text)
        if fields is None:
            return SERVER_START.sub("", text)
        level = fields.get("level", "INFO")
        start = f"{level.lower()}: " if level in LEVEL_COLOURS else ""
        sentence = self._paint(LEVEL_COLOURS[level], start) if start else ""
        sentence += UNSEEN.sub(lambda found: repr(found[0])[1:-1], str(fields["message"]))
        if details := _details(fields, SHOWN_IN_TROUBLE if start else SHOWN):
            sentence += "  " + self._paint(FAINT, ", ".join(details))
        trace = fields.get("exc_info") or fields.get("trace")
        return f"{sentence}\n{str(trace).rstrip()}" if trace else sentence


def _descriptor(out: TextIO) -> int | None:
    """What to write to for `out`, None where that is in memory."""
    try:
        out.flush()
        given = out.fileno()
    except io.UnsupportedOperation:
        return None
    if out.isatty():
        # A terminal may tell of less room than is written, so it is opened once more, never to be
        # waited for: what is set on the one that is given holds for the shell too.
        with suppress(OSError):
            return os.open(os.ttyname(given), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    return given


def _takes(descriptor: int, timeout_s: float) -> bool:
    """Whether a little may be written within that time without waiting for a reader."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1000))


def _fields(text: str) -> dict[str, Any] | None:
    """The fields of a JSON log line; None for any other line."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "message" in fields else None


def _details(fields: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    named = [f"{name} {fields[name]}" for name in shown if fields.get(name) is not None]
    duration_ms = fields.get("duration_ms")
    if isinstance(duration_ms, int | float):
        named.append(
            f"{duration_ms:.0f} ms" if duration_ms < 1000 else f"{duration_ms / 1000:.1f} s"
        )
    return named
