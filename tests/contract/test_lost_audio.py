"""The object store loses a job's audio, on a real Redis: made again, or the job's failure."""

import pytest

from shared.states import JobStatus, UnitKind
from tests.walk import AUDIO, Farm, result

pytestmark = pytest.mark.redis


def test_audio_that_keeps_vanishing_fails_the_job(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    for _ in range(20):
        for claim in farm.claim(limit=2):
            if claim.kind is UnitKind.ASSEMBLE:
                farm.work.remake(claim, [(1, "jobs/a/000001")])
            else:
                farm.work.finish_segment(claim, result(claim))
        if farm.status("a") is not JobStatus.RUNNING:
            break
    job = farm.jobs.job("default", "a")
    assert job.error is not None
    assert (job.status, job.error.code) == (JobStatus.FAILED, "object_missing")


def test_retry_after_a_remake_waits_for_the_segment(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    for claim in farm.claim(limit=2):
        farm.work.finish_segment(claim, result(claim))
    (assembly,) = farm.claim()
    farm.work.remake(assembly, [(1, "jobs/a/000001")])
    farm.jobs.cancel("default", "a")
    farm.jobs.retry("default", "a")
    assert [claim.unit for claim in farm.claim(limit=8)] == ["000001"]


def test_a_long_list_is_one_loss_however_many_reports_it_takes(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.work.REMADE_AT_ONCE", 2)
    farm.submit("a")
    farm.plan(20)
    lost, n_reports = [(i, f"jobs/a/{i:06d}") for i in range(20)], 0
    while claims := farm.claim():
        if claims[0].kind is UnitKind.SEGMENT:
            farm.work.finish_segment(claims[0], result(claims[0]))
        elif lost:
            farm.work.remake(claims[0], lost)
            lost, n_reports = lost[2:], n_reports + 1
        else:
            farm.work.finish_assembly(claims[0], AUDIO)
    assert (farm.status("a"), n_reports) == (JobStatus.SUCCEEDED, 10)


def test_a_retry_after_giving_up_assembles_last(farm: Farm) -> None:
    farm.submit("a")
    farm.plan(2)
    while claims := farm.claim():
        if claims[0].kind is UnitKind.SEGMENT:
            farm.work.finish_segment(claims[0], result(claims[0]))
        else:
            farm.work.remake(claims[0], [(1, "jobs/a/000001")])
    assert farm.status("a") is JobStatus.FAILED
    farm.jobs.retry("default", "a")
    (segment,) = farm.claim(limit=8)
    farm.work.finish_segment(segment, result(segment))
    (assembly,) = farm.claim(limit=8)
    assert (segment.unit, assembly.kind) == ("000001", UnitKind.ASSEMBLE)
