"""The OpenAPI document of a running farm, tried by schemathesis: short and always equal."""

import pytest

from tests.e2e.conftest import MakeFarm
from tests.weapons.farm_fuzz import SHORT, run_schemathesis, start_farm

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def test_every_answer_is_one_the_document_names(make_farm: MakeFarm) -> None:
    done = run_schemathesis(start_farm(make_farm), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Fuzzing" in done.stdout
