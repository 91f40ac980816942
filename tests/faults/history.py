"""What happened in a run, in order: what callers did and were told, what was broken and mended."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """`about` is a job, a caller's key or a process; `at_s` counts from the run's start."""

    at_s: float
    what: str
    about: str
    more: dict[str, Any]

    def line(self) -> str:
        more = "".join(f" {name}={value}" for name, value in self.more.items())
        return f"{self.at_s:8.3f}  {self.what} {self.about}{more}"


class History:
    """Grows from several threads; `scenario`, `seed` and `short` say how the run is repeated."""

    def __init__(self, scenario: str, seed: int, *, short: bool = False) -> None:
        self.scenario = scenario
        self.seed = seed
        self.short = short
        self._start_s = monotonic()
        self._events: list[Event] = []
        self._lock = threading.Lock()

    @property
    def run(self) -> str:
        """The run's name, which its jobs carry."""
        return f"{self.scenario}-{self.seed}"

    @property
    def command(self) -> str:
        """What repeats this run."""
        how = " ARGS=--short" if self.short else ""
        return f"make faults SCENARIO={self.scenario} SEED={self.seed}{how}"

    def note(self, what: str, about: str = "", **more: Any) -> None:
        with self._lock:
            at_s = monotonic() - self._start_s
            self._events.append(Event(at_s=at_s, what=what, about=about, more=more))

    def events(self, *whats: str) -> list[Event]:
        """All of them, or those of these kinds, oldest first."""
        with self._lock:
            return [event for event in self._events if not whats or event.what in whats]

    def statuses(self, job: str) -> list[str]:
        """The states a job was seen in, one after the other."""
        return [e.more["status"] for e in self.events("saw") if e.about == job]

    def __str__(self) -> str:
        head = f"scenario {self.scenario}, seed {self.seed}: {self.command}"
        return "\n".join([head, *(event.line() for event in self.events())])

    def write(self, folder: Path) -> Path:
        """One JSON line an event, in a file named after the run."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.run}.jsonl"
        rows = (vars(event) for event in self.events())
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
        )
        return path
