"""Runs scenarios: plays one on its ground, has the checker judge, and keeps the history."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.faults.calm import CalmRun
from tests.faults.checker import breaches, left_behind
from tests.faults.facts import clear, gather, leftovers
from tests.faults.field import BROKEN, Field, Ground, Shape
from tests.faults.history import History
from tests.faults.scenarios import callers, lines, mixed, workers
from tests.faults.scenarios.base import Scenario

SCENARIOS: dict[str, Scenario] = {
    one.number: one
    for one in sorted(
        (*workers.SCENARIOS, *lines.SCENARIOS, *callers.SCENARIOS, *mixed.SCENARIOS),
        key=lambda one: int(one.number),
    )
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run; `breaches` is empty when every promise was kept."""

    history: History
    breaches: tuple[str, ...]
    figures: dict[str, float]
    took_s: float

    def report(self) -> str:
        """What a failed run shows: what was broken, how to repeat it, all that happened."""
        found = "\n".join(f"  {line}" for line in self.breaches)
        return f"{self.history.command} failed:\n{found}\n{self.history}"


@contextmanager
def ground_of(shape: Shape, folder: Path) -> Iterator[Ground]:
    """A farm of a shape; all its processes end with the block."""
    ground = Ground(shape, folder)
    try:
        ground.start()
        yield ground
    finally:
        ground.close()


class Grounds:
    """One farm at a time, kept while the shape that is asked for stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._ground: Ground | None = None
        self._n_opened = 0

    def of(self, shape: Shape) -> Ground:
        """Raises `AssertionError` when the farm does not start."""
        if self._ground is None or self._ground.shape != shape:
            self.close()
            self._n_opened += 1
            folder = self._folder / f"{shape.name}-{self._n_opened}"
            self._ground = self._open.enter_context(ground_of(shape, folder))
        return self._ground

    def close(self) -> None:
        """End the farm there is: the next one asked for is a new one."""
        self._ground = None
        self._open.close()


def run(
    scenario: Scenario,
    seed: int,
    ground: Ground,
    calm: CalmRun,
    *,
    last: bool = True,
    short: bool = False,
) -> Result:
    """Play a scenario and judge it; after the `last` on its ground, what is left there as well.

    A `short` run has no fault that lasts longer than it must.
    """
    field = Field(ground, scenario.number, seed, short=short)
    start_s, found = monotonic(), list[str]()
    try:
        _play(field, scenario)
        found += breaches(gather(field, calm), spoken_once=scenario.spoken_once)
        if last and not found:
            clear(field)
            found += left_behind(leftovers(ground))
    except (AssertionError, *BROKEN) as error:  # the scenario saw it, or waited in vain
        found.append(f"{scenario.title}: {type(error).__name__}: {error}")
    finally:
        field.leave()
        field.history.write(ground.farm.directory.parent / "histories")
    return Result(
        history=field.history,
        breaches=tuple(found),
        figures=field.figures,
        took_s=monotonic() - start_s,
    )


def _play(field: Field, scenario: Scenario) -> None:
    """All of a scenario, until every job that was accepted has ended."""
    scenario.play(field)
    for wish in field.later:
        field.submit(wish)
    field.end(list(field.orders))
