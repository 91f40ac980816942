"""BatchStore: many inputs accepted as one, their jobs ordinary jobs. One Lua script a transition.

A batch is stored in pieces and accepted by one script; no job of it is due before that. What was
stored stays when the sender breaks off and sends again; what nobody goes on with is removed.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.connection import Scripts, state_store
from shared.errors import (
    FULL_RETRY_S,
    IdempotencyConflict,
    NotFound,
    StateStoreFull,
    WrongState,
)
from shared.jobs import PRIORITY_RANKS, crowded
from shared.limits import Subject, dump_subjects, read_quotas, refuse
from shared.records import newest, read_each, read_job
from shared.schemas import Job, JobRequest
from shared.states import BatchStatus, JobStatus

STEP_JOBS = 100  # jobs one script releases, cancels or removes
CHUNK_JOBS = 100  # jobs one script stores
CHUNK_CHARS = 500_000
SILENT_S = 900  # a batch not accepted yet is given up when its sender is silent for so long
REMOVED = "The batch was removed while it was being sent; send it again"
RETRIABLE = frozenset({JobStatus.FAILED, JobStatus.EXPIRED})


@dataclass(frozen=True, kw_only=True)
class BatchHead:
    """What is asked of a batch as a whole. `fingerprint` covers its inputs too.

    `definition` is what Azure's object of it repeats, empty for a batch of the farm's own calls.
    """

    id: str
    tenant: str
    fingerprint: str
    idempotency_key: str | None = None
    webhook_url: str | None = None
    retention_s: int = 86_400
    metadata: dict[str, str] = field(default_factory=dict)
    definition: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BatchInput:
    """One input: `number` counts the inputs as they were given, from 1; `name` is unique."""

    number: int
    name: str
    text: str
    request: JobRequest
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as the store knows it. Times are milliseconds since the epoch, by Redis's clock.

    `counts` has how many jobs are in each status; `n_deleted` were removed one by one.
    """

    id: str
    tenant: str
    accepted: bool
    counts: dict[JobStatus, int]
    n_total: int
    n_deleted: int
    n_rejected: int
    n_chars: int
    audio_ms: int
    audio_bytes: int
    metadata: dict[str, str]
    definition: dict[str, Any]
    created_ms: int
    started_ms: int | None
    canceled_ms: int | None
    finished_ms: int | None
    expires_ms: int | None
    version: int

    @property
    def finished(self) -> bool:
        return self.finished_ms is not None

    @property
    def status(self) -> BatchStatus:
        if not self.accepted:
            return BatchStatus.STORING
        if self.finished:
            canceled = self.canceled_ms is not None and self.counts[JobStatus.CANCELED] > 0
            return BatchStatus.CANCELED if canceled else BatchStatus.COMPLETED
        return BatchStatus.QUEUED if self.started_ms is None else BatchStatus.RUNNING

    @property
    def watched_as(self) -> str:
        """The name under which the watcher hears of its changes."""
        return f"batch:{self.id}:{self.tenant}"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A batch that may be stored. `pending` is False when it was accepted before.

    `stem` tells it from another that has the same id after it.
    """

    id: str
    stem: str
    pending: bool


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Inputs that were left out of a batch, and what was wrong with the first of them."""

    n_inputs: int = 0
    faults: Sequence[dict[str, Any]] = ()


NOTHING_REJECTED = Rejected()


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """Batches, newest first; `next_cursor` is None on the last page."""

    batches: tuple[Batch, ...]
    next_cursor: str | None


class BatchStore:
    """Batches as a tenant sees them; every method may raise `StateStoreUnavailable`."""

    def __init__(self, scripts: Scripts, *, wait_replicas: int = 0) -> None:
        self._scripts = scripts
        self._wait_replicas = wait_replicas

    # Accepting

    def open(
        self,
        head: BatchHead,
        stem: str,
        *,
        subjects: Sequence[Subject] = (),
        n_jobs: int = 0,
        n_chars: int = 0,
        room: bool = True,
    ) -> Opened:
        """Begin a batch, or find the one its key or id began before.

        `stem` is what a new one's jobs are named after, and its id where the caller chose none.
        Raises `IdempotencyConflict` when the one found has other content, or another id than the
        chosen one; `TooManyRequests` when a limit of `subjects` leaves no room for so
        many jobs and characters, before any of them is stored, `BodyTooLarge` or `TextTooLong`
        when it never will;
        `StateStoreFull` when it would be new and there is no `room` for that.
        """
        while True:
            phase, found, its_stem = self._scripts(
                "batch_open",
                head.id,
                head.tenant,
                stem,
                head.idempotency_key or "",
                head.fingerprint,
                head.webhook_url or "",
                head.retention_s * 1000,
                json.dumps(head.metadata, ensure_ascii=False),
                SILENT_S * 1000,
                json.dumps(head.definition, ensure_ascii=False) if head.definition else "",
                dump_subjects(subjects, head.tenant),
                n_jobs,
                n_chars,
                int(room),
            )
            if phase == "no_room" or (phase == "storing" and not room):
                raise StateStoreFull(retry_after_s=FULL_RETRY_S)
            if phase == "full":
                refuse(read_quotas([found])[0], n_chars, n_jobs)
            if phase == "conflict":
                raise IdempotencyConflict(
                    "This idempotency key or id was used before for another batch; "
                    "send the same inputs again, or choose a new key"
                )
            if phase != "leaving":
                pending = phase in ("created", "storing")
                return Opened(id=found, stem=its_stem, pending=pending)
            self.settle(head.tenant, found)  # one of this name is being removed: help, then begin

    def add(self, tenant: str, batch_id: str, inputs: Iterable[BatchInput], stem: str = "") -> None:
        """Store the inputs' jobs, in pieces; those that are stored already stay as they are.

        Raises `WrongState` when the batch was given up or deleted meanwhile, and with its `stem`
        also when another has its id by now.
        """
        for chunk in _chunks(inputs):
            flat: list[str | int] = []
            for one in chunk:
                rank = PRIORITY_RANKS[one.request.priority]
                flat += [one.number, rank, one.text, _record(tenant, batch_id, one)]
            phase = self._scripts("batch_add", batch_id, tenant, stem, SILENT_S * 1000, *flat)
            if phase in ("gone", "leaving"):
                raise WrongState(REMOVED)

    def commit(
        self,
        tenant: str,
        batch_id: str,
        rejected: Rejected = NOTHING_REJECTED,
        subjects: Sequence[Subject] = (),
        wait_limit_s: float | None = None,
        stem: str = "",
    ) -> Batch:
        """Accept a batch whose jobs are stored: from now on they become due. `stem`: see `add`.

        Its jobs count for `subjects`; raises what `open` raises when a limit of theirs leaves no
        room for all of them, `FarmCrowded` when it would wait for too long.
        """
        faults = json.dumps(list(rejected.faults), ensure_ascii=False) if rejected.faults else ""
        counted = dump_subjects(subjects, tenant)
        limit_ms = "" if wait_limit_s is None else wait_limit_s * 1000
        phase, *row = self._scripts(
            "batch_commit", batch_id, tenant, stem, rejected.n_inputs, faults, counted, limit_ms
        )
        if phase in ("crowded", "full"):
            size = self._size(tenant, batch_id)
            # What is refused may not fill Redis; another call of its sender may have got it in.
            self._scripts("batch_delete", batch_id, tenant, "storing", stem)
            self.settle(tenant, batch_id)
            if phase == "crowded":
                raise crowded(row[0] / 1000, wait_limit_s or 0.0)
            refuse(read_quotas(row)[0], *size)
        if phase in ("gone", "leaving"):
            raise WrongState(REMOVED)
        self.settle(tenant, batch_id)
        return self.kept(tenant, batch_id)

    def kept(self, tenant: str, batch_id: str) -> Batch:
        """An accepted batch, once enough replicas have it; else raises `NotReplicated`.

        Raises `WrongState` when it was deleted meanwhile.
        """
        if self._wait_replicas:
            step = (batch_id, tenant, STEP_JOBS)
            self._scripts.replicated(self._wait_replicas, "batch_step", *step)
        try:
            return self.batch(tenant, batch_id)
        except NotFound as error:
            raise WrongState(REMOVED) from error

    def settle(self, tenant: str, batch_id: str) -> None:
        """Do what the batch still has to do; the keeper goes on where this breaks off."""
        more = True
        while more:
            answer = self._scripts("batch_step", batch_id, tenant, STEP_JOBS)
            more = bool(answer and answer[2])

    def work_off(self, n_steps: int) -> None:
        """Go on with batches that wait for it, `n_steps` pieces at most. For the keeper."""
        for _ in range(n_steps):
            if self._scripts("batch_step", "", "", STEP_JOBS) is None:
                return

    # Reading

    def batch(self, tenant: str, batch_id: str) -> Batch:
        """A batch by id; raises `NotFound`."""
        (record,) = read_each(self._scripts, [self._key("record", tenant, batch_id)])
        if not record or record["phase"] == "leaving":
            raise NotFound(f"There is no batch {batch_id!r}; it may have expired or been deleted")
        return _batch(record)

    def rejected(self, batch: Batch) -> list[dict[str, Any]]:
        """The faults of the inputs that were left out, as far as they are kept."""
        if not batch.n_rejected:
            return []
        with state_store():
            text = self._scripts.client.get(self._key("rejected", batch.tenant, batch.id))
        return list(json.loads(text)) if text else []

    def page(self, tenant: str, *, cursor: str | None = None, limit: int = 20) -> BatchPage:
        """Accepted batches, newest first, starting after `cursor`."""
        found: list[tuple[Batch, int]] = []
        for rows in newest(self._scripts, self._scripts.key("batches", tenant), cursor):
            keys = [self._key("record", tenant, batch_id) for batch_id, _ in rows]
            records = read_each(self._scripts, keys)
            for (_, place), record in zip(rows, records, strict=True):
                if record:
                    found.append((_batch(record), place))
            if len(found) > limit:
                last, place = found[limit - 1]
                shown = tuple(batch for batch, _ in found[:limit])
                return BatchPage(batches=shown, next_cursor=f"{place}.{last.id}")
        return BatchPage(batches=tuple(batch for batch, _ in found), next_cursor=None)

    def jobs(self, batch: Batch) -> Iterator[Job]:
        """The batch's jobs in the order of its inputs, read in bounded pieces."""
        for ids in self._job_ids(batch):
            keys = [self._scripts.key("job", job_id) for job_id in ids]
            for record in read_each(self._scripts, keys):
                if record:
                    yield read_job(record)

    def texts(self, batch: Batch) -> Iterator[tuple[Job, str]]:
        """The batch's jobs with what each speaks, one text at a time."""
        for job in self.jobs(batch):
            with state_store():
                text = self._scripts.client.get(self._scripts.key("job", job.id, "text"))
            yield job, text or ""

    def keyed(self, tenant: str, key: str) -> Batch:
        """The batch that was begun with this idempotency key; raises `NotFound`."""
        with state_store():
            found = self._scripts.client.get(self._scripts.key("batch", "key", tenant, key))
        if found is None:
            raise NotFound("There is no batch of this key; it may have expired or been deleted")
        return self.batch(tenant, found)

    # Changing

    def cancel(self, tenant: str, batch_id: str) -> Batch:
        """Cancel what has not ended; a canceled batch stays as it is, another ended is refused."""
        outcome = self._scripts("batch_cancel", batch_id, tenant)
        batch = self.batch(tenant, batch_id)
        if outcome in ("ended", "storing"):
            raise WrongState(f"The batch is {batch.status}; cancel does not apply to it")
        self.settle(tenant, batch_id)
        return self.batch(tenant, batch_id)

    def retry(
        self,
        tenant: str,
        batch_id: str,
        statuses: frozenset[JobStatus] = RETRIABLE,
        subjects: Sequence[Subject] = (),
    ) -> tuple[Batch, frozenset[str]]:
        """Run the jobs in `statuses` again; the batch, and the voices that now have work.

        Raises `TooManyRequests` where a limit of `subjects` has room for some of them only.
        """
        counted, nonce = dump_subjects(subjects, tenant), uuid.uuid4().hex
        batch = self.batch(tenant, batch_id)
        if not batch.accepted:
            raise WrongState(f"The batch is {batch.status}; retry does not apply to it")
        voices: set[str] = set()
        jobs: list[Job] = []
        for job in self.jobs(batch):
            if job.status in statuses:
                jobs.append(job)
                voices.add(job.request.voice)
            if len(jobs) == CHUNK_JOBS:
                self._retry(jobs, counted, nonce)
                jobs.clear()
        self._retry(jobs, counted, nonce)
        return self.batch(tenant, batch_id), frozenset(voices)

    def _retry(self, jobs: Sequence[Job], counted: str, nonce: str) -> None:
        rows = [
            (job.id, job.tenant, (job.request.deadline_s or 0) * 1000 or "", counted, nonce)
            for job in jobs
        ]
        for job, (outcome, *row) in zip(jobs, self._scripts.each("retry", rows), strict=True):
            if outcome == "full":
                refuse(read_quotas(row)[0], job.n_chars)

    def _size(self, tenant: str, batch_id: str) -> tuple[int, int]:
        """How many characters and jobs a batch has that is not accepted yet."""
        (record,) = read_each(self._scripts, [self._key("record", tenant, batch_id)])
        return (int(record["n_chars"]), int(record["n_queued"])) if record else (0, 0)

    def delete(self, tenant: str, batch_id: str) -> None:
        """Remove a batch with its jobs and their audio; cancels it first."""
        if self._scripts("batch_delete", batch_id, tenant, "") == "gone":
            raise NotFound(f"There is no batch {batch_id!r}; it may have expired or been deleted")
        self.settle(tenant, batch_id)

    def _key(self, part: str, tenant: str, batch_id: str) -> str:
        return self._scripts.key("batch", part, batch_id, tenant)

    def _job_ids(self, batch: Batch) -> Iterator[list[str]]:
        key, after = self._key("jobs", batch.tenant, batch.id), 0
        while True:
            with state_store():
                rows = self._scripts.client.zrangebyscore(
                    key, f"({after}", "+inf", start=0, num=CHUNK_JOBS, withscores=True
                )
            if not rows:
                return
            yield [job_id for job_id, _ in rows]
            after = int(rows[-1][1])


def _chunks(inputs: Iterable[BatchInput]) -> Iterator[list[BatchInput]]:
    chunk: list[BatchInput] = []
    n_chars = 0
    for one in inputs:
        if chunk and (len(chunk) == CHUNK_JOBS or n_chars + len(one.text) > CHUNK_CHARS):
            yield chunk
            chunk, n_chars = [], 0
        chunk.append(one)
        n_chars += len(one.text)
    if chunk:
        yield chunk


def _record(tenant: str, batch_id: str, one: BatchInput) -> str:
    """The fields of a job's record as `name, value, ...`. Only `high` goes before bulk work."""
    request = one.request
    fields = {
        "tenant": tenant,
        "fingerprint": one.fingerprint,
        "request": json.dumps(request.dump(), ensure_ascii=False),
        "voice": request.voice,
        "class": "interactive" if request.priority == "high" else "bulk",
        "n_chars": str(len(one.text)),
        "retention_ms": str(request.retention_s * 1000),
        "webhook_url": request.webhook_url or "",
        "webhook_events": ",".join(request.webhook_events),
        "idempotency_key": "",
        "id_chosen": "0",
        "deadline_ms": str(request.deadline_s * 1000) if request.deadline_s else "",
        "batch": batch_id,
        "name": one.name,
    }
    return json.dumps([part for pair in fields.items() for part in pair], ensure_ascii=False)


def _batch(record: dict[str, str]) -> Batch:
    def moment(name: str) -> int | None:
        return int(record[name]) if name in record else None

    return Batch(
        id=record["id"],
        tenant=record["tenant"],
        accepted=record["phase"] != "storing",
        counts={status: int(record[f"n_{status}"]) for status in JobStatus},
        n_total=int(record["n_total"]),
        n_deleted=int(record["n_deleted"]),
        n_rejected=int(record["n_rejected"]),
        n_chars=int(record["n_chars"]),
        audio_ms=int(record["audio_ms"]),
        audio_bytes=int(record.get("audio_bytes", 0)),
        metadata=json.loads(record["metadata"]),
        definition=json.loads(record.get("definition") or "{}"),
        created_ms=int(record["created_ms"]),
        started_ms=moment("started_ms"),
        canceled_ms=moment("canceled_ms"),
        finished_ms=moment("finished_ms"),
        expires_ms=moment("expires_ms"),
        version=int(record["version"]),
    )
