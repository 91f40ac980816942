"""A new revision of a voice takes a tenth, half, then all of its jobs, and gives them back."""

import subprocess
from collections import Counter

import pytest

from tests.e2e.conftest import BIN, Farm, MakeFarm

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

N_JOBS = 20


def share(farm: Farm, *weights: str) -> None:
    """Set the alias as an operator does."""
    done = subprocess.run(
        [str(BIN / "ttsfarm"), "alias", "set", "fake", *weights],
        env={"TTSFARM_REDIS_URL": farm.redis.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def lanes_of_new_jobs(farm: Farm) -> Counter[str]:
    """Where `N_JOBS` jobs go that ask for `fake`, once every API has seen the alias."""
    jobs = [farm.submit(f"第{i}句。", voice="fake") for i in range(N_JOBS)]
    ended = [farm.ended(job) for job in jobs]
    assert {job["status"] for job in ended} == {"succeeded"}
    assert {job["request"]["voice"] for job in ended} == {"fake"}
    return Counter(job["request"]["lane"] for job in ended)


def test_a_revision_is_released_by_weight_and_rolled_back(make_farm: MakeFarm) -> None:
    farm = make_farm()
    farm.start(workers=1)
    assert lanes_of_new_jobs(farm) == {"fake": N_JOBS}
    farm.env["TTSFARM_VOICE_SUFFIX"] = "@2"
    farm.spawn("new", "ttsfarm-worker", "run")
    share(farm, "fake=90", "fake@2=10")
    farm.wait_for_voices("fake", "fake@2")

    tenth = lanes_of_new_jobs(farm)
    assert 1 <= tenth["fake@2"] <= 3
    share(farm, "fake=50", "fake@2=50")
    farm.wait_for_alias("fake", {"fake": 50, "fake@2": 50})
    assert 8 <= lanes_of_new_jobs(farm)["fake@2"] <= 12
    share(farm, "fake@2=1")
    farm.wait_for_alias("fake", {"fake@2": 1})
    assert lanes_of_new_jobs(farm) == {"fake@2": N_JOBS}

    # Back: what waits for the new revision is still spoken by it.
    waiting = farm.submit("好" * 400 + "。", voice="fake")
    share(farm, "fake=1")
    farm.wait_for_alias("fake", {"fake": 1})
    assert lanes_of_new_jobs(farm) == {"fake": N_JOBS}
    assert farm.ended(waiting)["status"] == "succeeded"
    assert farm.ended(waiting)["request"]["lane"] == "fake@2"
