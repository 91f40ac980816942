"""What `ttsfarm up` prints: each line behind its process's name, in that process's colour.

On a terminal a JSON log line is shown as a sentence; elsewhere lines stay as they came.
"""

import json
from collections.abc import Mapping
from typing import TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
ALERT = 31
# Shown on a terminal beside a log line's message; the rest of the line is for machines.
SHOWN = ("job", "unit", "voice", "status")


class Console:
    """Writes to `out`, coloured where that is a terminal and NO_COLOR is not set."""

    def __init__(self, out: TextIO, environment: Mapping[str, str]) -> None:
        self._out = out
        self._person = out.isatty()
        self._coloured = self._person and not environment.get("NO_COLOR")
        self._names: dict[str, int] = {}

    def line(self, name: str, text: str) -> None:
        """One line of the process `name`."""
        colour = self._names.setdefault(name, COLOURS[len(self._names) % len(COLOURS)])
        shown = _sentence(text) if self._person else text
        self._print(f"{self._paint(colour, f'{name:<9}|')} {shown}")

    def alert(self, text: str) -> None:
        """Something a person should look at."""
        self._print(self._paint(ALERT, text))

    def say(self, text: str) -> None:
        """A word of the farm itself."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def _paint(self, colour: int, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


def _sentence(text: str) -> str:
    """`INFO message (job=...)` of a JSON log line; any other line unchanged."""
    if not text.startswith("{"):
        return text
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    if not isinstance(fields, dict) or "message" not in fields:
        return text
    extra = ", ".join(f"{name}={fields[name]}" for name in SHOWN if fields.get(name) is not None)
    level = fields.get("level", "INFO")
    parts = ["" if level == "INFO" else f"{level}: ", str(fields["message"])]
    if extra:
        parts.append(f" ({extra})")
    if "exc_info" in fields:
        parts.append(f"\n{fields['exc_info']}")
    return "".join(parts)
