"""A parsed request into the farm, and waiting for what comes of it."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

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
            wait_limit_s=farm.settings.queue_wait_limit_s or None,
            room=farm.room.free(),
        )
    )
    g.job_id = submitted.job.id
    note_quotas(submitted.quotas)
    farm.metrics.count_submit(asked.request.voice, created=submitted.created)
    if submitted.created:
        farm.bells.ring(asked.request.voice)
    return submitted


class Ending(Protocol):
    """What comes to an end, seen at one moment."""

    @property
    def tenant(self) -> str: ...

    @property
    def finished(self) -> bool: ...

    @property
    def version(self) -> int: ...

    @property
    def status(self) -> str: ...


Seen = TypeVar("Seen", bound=Ending)


def follow(farm: Farm, seen: Seen, wait_s: float, name: str, read: Callable[[], Seen]) -> Seen:
    """What `read` answers as soon as it is finished, or after `wait_s`.

    `name` is what the watcher knows it by. When too many callers wait already, or the process is
    about to end, it is as it is now.
    """
    deadline = time.monotonic() + wait_s
    if seen.finished or wait_s <= 0:
        return seen
    with farm.slots.try_hold(seen.tenant) as may_wait:
        while may_wait and not seen.finished and not farm.stopping():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            farm.watcher.wait(name, seen.version, left_s)
            seen = read()
    return seen


def wait_finished(farm: Farm, job: Job, wait_s: float) -> Job:
    """The job as soon as it is in a terminal state, or as it is after `wait_s`; see `follow`."""
    return follow(farm, job, wait_s, job.id, lambda: farm.jobs.job(job.tenant, job.id))


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
