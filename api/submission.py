"""A parsed request into the farm, and waiting for what comes of it."""

import time

from flask import g

from api.farm import Farm
from api.guards import current_caller
from api.quotas import note_quotas
from api.requests import Asked, Rules
from shared.errors import SynthesisError, TextRefused, WaitTimeout
from shared.jobs import Submission, Submitted
from shared.schemas import Job
from shared.states import JobStatus


def rules_of(farm: Farm) -> Rules:
    """What this farm allows at this moment."""
    return Rules(
        settings=farm.settings, find_voice=farm.voices.find, check_address=farm.check_address
    )


def submit(farm: Farm, asked: Asked, key: str | None = None) -> Submitted:
    """Store the job and ring its lane; the same key or id and body gives the job there is."""
    caller = current_caller()
    submitted = farm.jobs.submit(
        Submission(
            id=asked.id or farm.new_id(),
            tenant=caller.tenant,
            request=asked.request,
            text=asked.text,
            idempotency_key=key,
            fingerprint=asked.fingerprint,
            id_chosen=asked.id is not None,
            interactive=len(asked.text) <= farm.settings.interactive_chars,
            subjects=caller.subjects,
        )
    )
    g.job_id = submitted.job.id
    note_quotas(submitted.quotas)
    farm.metrics.count_submit(asked.request.voice, created=submitted.created)
    if submitted.created:
        farm.bells.ring(asked.request.voice)
    return submitted


def wait_finished(farm: Farm, job: Job, wait_s: float) -> Job:
    """The job as soon as it is in a terminal state, or as it is after `wait_s`.

    When too many callers wait already, or the process is about to end, it is the job as it is now.
    """
    deadline = time.monotonic() + wait_s
    if job.finished or wait_s <= 0:
        return job
    with farm.slots.try_hold() as may_wait:
        while may_wait and not job.finished and not farm.stopping():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            farm.watcher.wait(job.id, job.version, left_s)
            job = farm.jobs.job(job.tenant, job.id)
    return job


def finish_or_raise(farm: Farm, job: Job) -> Job:
    """The succeeded job, waited for; raises `WaitTimeout` or the reason it has no audio."""
    job = wait_finished(farm, job, farm.settings.synthesize_wait_s)
    if not job.finished:
        raise WaitTimeout(
            f"The audio was not ready in time; the job goes on under /v1/jobs/{job.id}.", job=job.id
        )
    if job.status is not JobStatus.SUCCEEDED:
        raise why_silent(job)
    return job


def why_silent(job: Job) -> SynthesisError:
    """Why a job that has ended has no audio."""
    if job.error is None:
        return SynthesisError(f"The job is {job.status}.")
    kind = SynthesisError if job.error.retryable else TextRefused
    return kind(job.error.message)
