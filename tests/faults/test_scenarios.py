"""Every scenario once, with a seed that stays: small loads, farms shared where that is honest."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.calm import CalmRun
from tests.faults.field import Ground, Shape
from tests.faults.runs import SCENARIOS, ground_of, run

pytestmark = pytest.mark.e2e

SEED = 1
# One farm after the other, each with all the scenarios of its shape.
BY_SHAPE = sorted(SCENARIOS.values(), key=lambda one: (one.shape.name, int(one.number)))
LAST = {one.shape.name: one.number for one in BY_SHAPE}


class Grounds:
    """The farm of one shape at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._ground: Ground | None = None
        self.calm = CalmRun()

    def of(self, shape: Shape) -> Ground:
        if self._ground is None or self._ground.shape != shape:
            self.close()
            self._ground = self._open.enter_context(ground_of(shape, self._folder / shape.name))
        return self._ground

    def close(self) -> None:
        self._ground = None
        self._open.close()


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    grounds = Grounds(tmp_path_factory.mktemp("faults"))
    yield grounds
    grounds.close()


@pytest.mark.parametrize("number", [one.number for one in BY_SHAPE])
def test_every_promise_is_kept(grounds: Grounds, number: str) -> None:
    scenario = SCENARIOS[number]
    ground = grounds.of(scenario.shape)
    last = LAST[scenario.shape.name] == number
    result = run(scenario, SEED, ground, grounds.calm, last=last, short=True)
    assert not result.breaches, result.report()
