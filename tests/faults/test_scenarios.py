"""Every scenario once, with a seed that stays: small loads, farms shared where that is honest."""

from collections.abc import Iterator

import pytest

from tests.faults.calm import CalmRun
from tests.faults.runs import SCENARIOS, Grounds, run

pytestmark = pytest.mark.e2e

SEED = 1
# One farm after the other, each with all the scenarios of its shape.
BY_SHAPE = sorted(SCENARIOS.values(), key=lambda one: (one.shape.name, int(one.number)))
LAST = {one.shape.name: one.number for one in BY_SHAPE}


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    grounds = Grounds(tmp_path_factory.mktemp("faults"))
    yield grounds
    grounds.close()


@pytest.fixture(scope="module")
def calm() -> CalmRun:
    return CalmRun()


@pytest.mark.parametrize("number", [one.number for one in BY_SHAPE])
def test_every_promise_is_kept(grounds: Grounds, calm: CalmRun, number: str) -> None:
    scenario = SCENARIOS[number]
    ground = grounds.of(scenario.shape)
    last = LAST[scenario.shape.name] == number
    result = run(scenario, SEED, ground, calm, last=last, short=True)
    assert not result.breaches, result.report()
