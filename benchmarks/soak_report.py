"""What `make soak` found, as JSON and Markdown; nothing is measured here."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.scale_report import table
from benchmarks.slopes import Bound, Slope, Verdict, slope
from benchmarks.soak_watch import BOUNDS

SHOWN_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that was sampled: how it went, and what is said of it."""

    name: str
    slope: Slope
    bound: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One soak. `rate` and `capacity` are calls a second; `keys` counts Redis keys by kind."""

    minutes: float
    warm_up: float
    capacity: float
    rate: float
    done: dict[str, int]
    put_off: dict[str, int]
    wrong: list[str]
    restarts: list[str]
    keys: dict[str, int]
    figures: list[Figure]
    note: str = ""  # what one should know who reads it

    @property
    def growing(self) -> list[Figure]:
        return [one for one in self.figures if one.verdict is Verdict.GROWS]

    @property
    def sound(self) -> bool:
        """Nothing grows, no answer was wrong and no process ended by itself."""
        return bool(self.figures) and not (self.growing or self.wrong or self.restarts)


def judge(samples: Sequence[dict[str, float]], bounds: dict[str, Bound] = BOUNDS) -> list[Figure]:
    """A figure for all that stands in every sample; `s` is each sample's time in seconds.

    What lived for a part of the run has no slope that says anything, and is left out.
    """
    names = set.intersection(*(set(one) for one in samples)) - {"s"} if samples else set()
    figures = []
    for name in sorted(names):
        line = slope([(one["s"], one[name]) for one in samples])
        bound = bounds[name.rpartition(" / ")[2]]
        verdict = line.verdict(bound)
        limit = bound.of(line.mean)
        figures.append(Figure(name=name, slope=line, bound=limit, verdict=verdict))
    return figures


def markdown(found: Findings) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    total = sum(found.done.values())
    head = (
        f"# The soak\n\n{when}, Python {platform.python_version()}, {os.cpu_count()} shared cores. "
        f"`make soak MINUTES={found.minutes:g}`: the farm took {found.capacity:.2f} calls of the "
        f"mix a second as fast as it could, then got {found.rate:.2f} a second for "
        f"{found.warm_up:g} minutes of warm-up and {found.minutes:g} minutes that count. "
        f"{total} calls went to their end, {sum(found.put_off.values())} were put off with a 429 "
        f"or 503, {len(found.wrong)} went wrong, {len(found.restarts)} processes ended by "
        "themselves.\n"
        "\nThe slope is that of the line through the samples after the warm-up, an hour; with 95 % "
        "the true one lies within the error. `grows`: all of that is over the bound; `unsure`: a "
        "part of it.\n"
    )
    if found.note:
        head += f"\n{found.note}\n"
    rows = [
        (
            one.name,
            f"{one.slope.mean:.1f}",
            f"{one.slope.least:.1f} to {one.slope.most:.1f}",
            f"{one.slope.per_hour:+.2f} ± {one.slope.error:.2f}",
            f"{one.bound:.1f}",
            one.verdict,
        )
        for one in found.figures
    ]
    parts = [head, table(("what", "mean", "range", "slope an hour", "bound", "verdict"), rows)]
    parts.append("\nCalls:\n\n" + table(("call", "done"), sorted(found.done.items())))
    parts.append("\nKeys in Redis at the end:\n\n" + table(("kind", "keys"), [*found.keys.items()]))
    if found.wrong:
        parts.append("\nWrong:\n\n" + "".join(f"* {one}\n" for one in found.wrong[:SHOWN_FAULTS]))
    return "\n".join(parts)


def write_report(found: Findings, directory: Path) -> None:
    """Write soak.json and soak.md, and print what grows."""
    directory.mkdir(exist_ok=True)
    (directory / "soak.json").write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")
    text = markdown(found)
    (directory / "soak.md").write_text(text, "utf-8")
    sys.stdout.write(text)
    for one in found.growing:
        sys.stdout.write(f"{one.name} grows by {one.slope.per_hour:.2f} an hour\n")
