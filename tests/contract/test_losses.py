"""Which silences of workers count against a piece of text, on a real Redis."""

from collections.abc import Callable

import pytest

from shared.errors import SynthesisError
from shared.schemas import Claim
from shared.states import Finish, JobStatus
from tests.walk import Farm, expire_leases, result

pytestmark = pytest.mark.redis

N_LOSSES = 3  # that a unit may have
N_TAKEN_BACK = 20  # that a unit may have besides


def test_a_segment_that_loses_three_workers_fails_its_job(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    for _ in range(3):
        assert [c.unit for c in farm.claim()] == ["000000"]
        expire_leases(farm)
    job = farm.jobs.job("default", "a")
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "segment_lost"
    assert farm.claim() == []


def test_what_lost_a_worker_is_claimed_alone(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(3)
    assert [c.unit for c in farm.claim()] == ["000000"]
    expire_leases(farm)
    assert [c.unit for c in farm.claim(limit=8)] == ["000000"]
    assert [c.unit for c in farm.claim(limit=8)] == ["000001", "000002"]


def a_beat(farm: Farm, claim: Claim) -> None:
    assert farm.work.beat([claim]) == [claim]


def a_late_finish(farm: Farm, claim: Claim) -> None:
    assert farm.work.finish_segment(claim, result(claim)) is Finish.STALE


def a_late_failure(farm: Farm, claim: Claim) -> None:
    assert farm.work.fail(claim, SynthesisError("no")) is Finish.STALE


def a_late_release(farm: Farm, claim: Claim) -> None:
    assert farm.work.release(claim) is Finish.STALE


SIGNS_OF_LIFE = (a_beat, a_late_finish, a_late_failure, a_late_release)


def fall_silent(farm: Farm) -> Claim:
    """The claim of a worker that then says nothing for longer than its lease."""
    (claim,) = farm.claim()
    assert claim.unit == "000000"
    expire_leases(farm)
    return claim


@pytest.mark.parametrize("sign", SIGNS_OF_LIFE)
def test_a_worker_heard_of_again_was_no_loss(
    farm: Farm, sign: Callable[[Farm, Claim], None]
) -> None:
    farm.submit("a")
    farm.plan(2)
    for _ in range(N_LOSSES * 2):
        sign(farm, fall_silent(farm))
    assert farm.status("a") is JobStatus.RUNNING
    assert len(farm.claim(limit=8)) == 2, "it is not claimed alone"


def test_a_worker_heard_of_again_takes_back_its_own_loss_once(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    first, second = fall_silent(farm), fall_silent(farm)
    for _ in range(3):
        a_beat(farm, first)
    fall_silent(farm)
    assert farm.status("a") is JobStatus.RUNNING
    a_beat(farm, second)
    fall_silent(farm)
    assert farm.status("a") is JobStatus.RUNNING
    fall_silent(farm)
    assert farm.status("a") is JobStatus.FAILED


def test_what_no_worker_gets_done_in_time_ends_though_all_live(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    for _ in range(N_TAKEN_BACK + N_LOSSES):
        assert farm.status("a") is JobStatus.RUNNING
        (claim,) = farm.claim()
        expire_leases(farm)
        farm.work.beat([claim])
    assert farm.status("a") is JobStatus.FAILED


def test_a_retried_job_starts_with_no_loss(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(1)
    silent = [fall_silent(farm) for _ in range(N_LOSSES)]
    farm.jobs.retry("default", "a")
    for claim in silent:
        farm.work.beat([claim])
    for _ in range(N_LOSSES):
        assert farm.status("a") is JobStatus.RUNNING
        fall_silent(farm)
    assert farm.status("a") is JobStatus.FAILED
