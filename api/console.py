"""What `ttsfarm up` prints: each line behind its process's name, in that process's colour.

On a terminal a JSON log line is shown as a sentence with the time; elsewhere lines stay as they
came.
"""

import errno
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
ALERT = 31
GONE = (errno.EPIPE, errno.EIO)  # a pipe's reader, a terminal
FAINT = 2
LEVEL_COLOURS = {"WARNING": 33, "ERROR": 31, "CRITICAL": 31}
# Shown on a terminal beside a log line's message; the rest of the line is for machines.
SHOWN = ("job",)
SHOWN_IN_TROUBLE = ("job", "unit", "code")
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

    def _print(self, text: str) -> None:
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except OSError as error:
            # The reader is gone, as after Ctrl-C to `up | tee`: the farm has yet to stop in order.
            if error.errno in GONE:
                with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # no path of ours
                    os.dup2(nowhere.fileno(), self._out.fileno())

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
        return f"{sentence}\n{fields['exc_info']}" if "exc_info" in fields else sentence


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
