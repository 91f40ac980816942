"""States of jobs, segments and deliveries, with the sets the code asks about."""

from enum import StrEnum


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


JOB_TERMINAL = frozenset(
    {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED}
)
JOB_ACTIVE = frozenset(JobStatus) - JOB_TERMINAL


class BatchStatus(StrEnum):
    """`completed` means that every job has ended, however it did."""

    STORING = "storing"  # not accepted yet
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELED = "canceled"


BATCH_TERMINAL = frozenset({BatchStatus.COMPLETED, BatchStatus.CANCELED})


class UnitKind(StrEnum):
    """A unit is one claimable piece of a job: its plan, a segment, or its assembly."""

    PLAN = "plan"
    SEGMENT = "segment"
    ASSEMBLE = "assemble"


class DeliveryStatus(StrEnum):
    DUE = "due"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Finish(StrEnum):
    """What the farm answers to a worker that reports an outcome."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same attempt has reported before
    STALE = "stale"  # a newer attempt holds the unit
    ENDED = "ended"  # the job has ended without it
    GONE = "gone"  # the job was deleted
