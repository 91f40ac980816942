"""What can go wrong, as exceptions; `FarmFault` is every one a farm is part of."""

from collections.abc import Mapping, Sequence
from typing import Any

from ttsfarm_client.views import Job


class FarmFault(Exception):
    """What every fault of a farm is."""


class FarmUnreachable(FarmFault):
    """Nothing answers at the farm's address, it is no farm, or the connection broke too often."""


class FarmProblem(FarmFault):
    """The farm refused a call. `message` says why, `code` is stable, `faults` are the inputs'."""

    def __init__(
        self, status: int, code: str, message: str, faults: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.status, self.code, self.message, self.faults = status, code, message, faults
        super().__init__(message)


class JobFailed(FarmFault):
    """A job ended without audio; `job.error` says why."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"Job {job.id} {job.status}: {job.error or 'no reason given'}")


class InvalidSignature(ValueError):
    """A message is not one of this sender, was changed, or is too old or too new."""
