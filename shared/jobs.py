"""JobStore: what callers do with jobs. One method a transition, each one Lua script."""

import json
import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.connection import Scripts, state_store
from shared.errors import (
    FULL_RETRY_S,
    FarmCrowded,
    IdempotencyConflict,
    NotFound,
    StateStoreFull,
    WrongState,
)
from shared.limits import Quota, Subject, dump_subjects, read_quotas, refuse
from shared.records import Outlook, newest, pairs, read_each, read_job
from shared.schemas import Dialect, Job, JobRequest
from shared.states import JobStatus

PRIORITY_RANKS = {"high": 0, "normal": 1, "low": 2}
SCAN_LIMIT = 2000  # records one page looks through; a rare match is then on a later page


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A parsed request to speak `text`.

    `fingerprint` is a digest of the whole request: the same key with another digest is refused.
    A chosen id is not free again at once when its job is removed. `subjects` are those the job is
    counted for, with their limits; without any it is counted for its tenant. A job that would wait
    for longer than `wait_limit_s` is refused; None lets every job in. Without `room` none but a job
    that is there already is answered.
    """

    id: str
    tenant: str
    request: JobRequest
    text: str
    fingerprint: str
    idempotency_key: str | None = None
    interactive: bool = True
    id_chosen: bool = False
    subjects: tuple[Subject, ...] = ()
    wait_limit_s: float | None = None
    room: bool = True


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """`created` is False when the job was already there under this key or id."""

    job: Job
    created: bool
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; empty fields let all through."""

    statuses: frozenset[JobStatus] = frozenset()
    voice: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    batch: str | None = None
    dialect: Dialect | None = None

    def matches(self, job: Job) -> bool:
        if self.dialect and self.dialect != job.request.dialect:
            return False
        if self.statuses and job.status not in self.statuses:
            return False
        if self.voice and self.voice not in (job.request.voice, job.request.alias):
            return False
        return all(job.request.metadata.get(k) == v for k, v in self.metadata.items())


@dataclass(frozen=True, kw_only=True)
class Page:
    """Jobs, newest first; `next_cursor` is None on the last page. A page may hold few or none."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


def _read(answer: Sequence[Any]) -> Job:
    """A job from what `job_record` in lib/line.lua answers."""
    position, starts_in_ms, done_in_ms, *record = answer
    return read_job(pairs(record), Outlook.read(position, starts_in_ms, done_in_ms))


def crowded(wait_s: float, limit_s: float) -> FarmCrowded:
    """Says what the wait would be, what the limit is and when it may be worth asking again."""
    return FarmCrowded(
        f"The job would wait about {wait_s:.0f} s before it starts, over the limit of "
        f"{limit_s:g} s; send it again later",
        expected_wait_s=round(wait_s, 1),
        limit_s=limit_s,
        retry_after_s=max(1, math.ceil(wait_s - limit_s)),
    )


class JobStore:
    """Jobs as a tenant sees them; another tenant's job is not found."""

    def __init__(self, scripts: Scripts, *, wait_replicas: int = 0) -> None:
        self._scripts = scripts
        self._wait_replicas = wait_replicas

    def submit(self, submission: Submission) -> Submitted:
        """Accept a job, or answer the one this key or id made before.

        Raises `IdempotencyConflict` when that one had another body, or the id belonged to a job
        that was removed lately; `TooManyRequests` or `TextTooLong` when a limit leaves no room;
        `FarmCrowded` when the job would wait for too long; `StateStoreFull` when it is new and
        there is no room; `NotReplicated` when too few replicas have it, though it may run.
        """
        request = submission.request
        bulk = request.priority == "low" or not submission.interactive
        deadline_ms = request.deadline_s * 1000 if request.deadline_s else ""
        limit_s = submission.wait_limit_s
        outcome, job_id, used, *record = self._write(
            "submit",
            submission.id,
            submission.tenant,
            submission.idempotency_key or "",
            submission.fingerprint,
            json.dumps(request.dump(), ensure_ascii=False),
            submission.text,
            request.voice,
            "bulk" if bulk and request.priority != "high" else "interactive",
            PRIORITY_RANKS[request.priority],
            len(submission.text),
            request.retention_s * 1000,
            deadline_ms,
            request.webhook_url or "",
            ",".join(request.webhook_events),
            int(submission.id_chosen),
            dump_subjects(submission.subjects, submission.tenant),
            "" if limit_s is None else limit_s * 1000,
            int(submission.room),
        )
        quotas = read_quotas(used)
        if outcome == "no_room":
            raise StateStoreFull(retry_after_s=FULL_RETRY_S)
        if outcome == "full":
            refuse(quotas[0], len(submission.text))
        if outcome == "crowded":
            raise crowded(record[0] / 1000, limit_s or 0.0)
        if outcome == "conflict":
            raise IdempotencyConflict(
                "This idempotency key or id was used before with another body; "
                "send the same body again, or choose a new key"
            )
        if outcome == "resting":
            raise IdempotencyConflict(
                f"The id {job_id!r} belonged to a job that was removed; choose another"
            )
        return Submitted(job=_read(record), created=outcome == "created", quotas=quotas)

    def job(self, tenant: str, job_id: str) -> Job:
        """A job by id; raises `NotFound`."""
        answer = self._scripts("show", job_id, tenant)
        if not answer:
            raise NotFound(f"There is no job {job_id!r}; it may have expired or been deleted")
        return _read(answer)

    def page(
        self, tenant: str, *, cursor: str | None = None, limit: int = 20, only: JobFilter
    ) -> Page:
        """Jobs newest first, starting after `cursor`."""
        found: list[Job] = []
        after = None
        for n_seen, (job, place) in enumerate(self._newest(tenant, cursor, only.batch)):
            if after and (len(found) == limit or n_seen == SCAN_LIMIT):
                return Page(jobs=tuple(found), next_cursor=after)
            if only.matches(job):
                found.append(job)
            after = f"{place}.{job.id}"
        return Page(jobs=tuple(found), next_cursor=None)

    def _newest(
        self, tenant: str, cursor: str | None, batch: str | None
    ) -> Iterator[tuple[Job, int]]:
        key = self._scripts.key
        index = key("batch", "jobs", batch, tenant) if batch else key("jobs", tenant)
        if batch and not self._accepted(tenant, batch):
            return
        for rows in newest(self._scripts, index, cursor):
            records = read_each(self._scripts, [key("job", job_id) for job_id, _ in rows])
            for (_, place), record in zip(rows, records, strict=True):
                if record:
                    yield read_job(record), place

    def _accepted(self, tenant: str, batch: str) -> bool:
        record = self._scripts.key("batch", "record", batch, tenant)
        with state_store():
            return self._scripts.client.hget(record, "phase") in ("releasing", "open")

    def cancel(self, tenant: str, job_id: str) -> Job:
        """Cancel an active job; a canceled one stays as it is, another ended one is refused."""
        self._change("cancel", tenant, job_id)
        return self.job(tenant, job_id)

    def retry(self, tenant: str, job_id: str, subjects: tuple[Subject, ...] = ()) -> Job:
        """Run what is not done of a failed, canceled or expired job again.

        It counts for `subjects` as a new job does, but not again for the day; raises what
        `submit` raises when they have no room.
        """
        job = self.job(tenant, job_id)
        deadline_ms = job.request.deadline_s * 1000 if job.request.deadline_s else ""
        counted = dump_subjects(subjects, tenant)
        nonce = uuid.uuid4().hex  # the client may send the call twice
        outcome, *full = self._scripts("retry", job_id, tenant, deadline_ms, counted, nonce)
        if outcome == "full":
            refuse(read_quotas(full)[0], job.n_chars)
        self._check(outcome, "retry", tenant, job_id)
        return self.job(tenant, job_id)

    def delete(self, tenant: str, job_id: str) -> None:
        """Remove a job's record now and its objects within moments; cancels it first."""
        self._change("delete", tenant, job_id)

    def _write(self, script: str, *args: str | float) -> Any:
        if self._wait_replicas:
            return self._scripts.replicated(self._wait_replicas, script, *args)
        return self._scripts(script, *args)

    def _change(self, script: str, tenant: str, job_id: str) -> None:
        self._check(self._scripts(script, job_id, tenant), script, tenant, job_id)

    def _check(self, outcome: str, script: str, tenant: str, job_id: str) -> None:
        if outcome == "gone":
            raise NotFound(f"There is no job {job_id!r}; it may have expired or been deleted")
        if outcome == "worn":
            raise WrongState("The job was retried as often as a job may be; submit its text anew")
        if outcome in ("ended", "active"):
            status = self.job(tenant, job_id).status
            raise WrongState(f"The job is {status}; {script} does not apply to it")
