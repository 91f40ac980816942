"""Limits: how many requests, jobs and characters a tenant and each of its keys may have.

The counters live in Redis and change in the scripts that submit, retry and end jobs, so they are
exact however many ask at once, and outlive a restart.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from shared.connection import Scripts
from shared.errors import BodyTooLarge, RequestError, TextTooLong, TooManyRequests
from shared.schemas import Plain

MINUTE_S = 60
DAY_S = 86_400
BUSY_RETRY_S = 5  # room that opens when some job ends; nobody knows when that is
WINDOWS_S = {"requests": MINUTE_S, "daily_chars": DAY_S}
NAMES = {
    "requests": "requests a minute",
    "jobs": "jobs that have not ended",
    "chars": "characters of jobs that have not ended",
    "daily_chars": "characters a day (UTC)",
}


@dataclass(frozen=True, kw_only=True)
class Limits(Plain):
    """What a key may have of its own; None leaves it to the settings, 0 is no limit."""

    requests_per_minute: int | None = None
    jobs: int | None = None
    daily_chars: int | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose jobs are counted together, `tenant:<name>` or `key:<id>`; a limit of 0 is none."""

    name: str
    jobs: int = 0
    chars: int = 0
    daily_chars: int = 0


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How far one limit is used. `reset_s` is None where nobody knows when there is room again."""

    subject: str
    limit: str
    allowed: int
    used: int
    reset_s: int | None

    @property
    def remaining(self) -> int:
        return max(0, self.allowed - self.used)

    @property
    def whose(self) -> str:
        return self.subject.partition(":")[0]

    @property
    def policy(self) -> str:
        """Its name in the `RateLimit` fields, such as `tenant-daily-chars`."""
        return f"{self.whose}-{self.limit}".replace("_", "-")

    @property
    def window_s(self) -> int | None:
        return WINDOWS_S.get(self.limit)


def dump_subjects(subjects: Sequence[Subject], tenant: str) -> str:
    """The subjects as the scripts read them; a job is always counted for its tenant."""
    counted = subjects or (Subject(name=f"tenant:{tenant}"),)
    return json.dumps([asdict(subject) for subject in counted])


def read_quotas(rows: Sequence[Sequence[Any]]) -> tuple[Quota, ...]:
    """Quotas from the rows the scripts answer."""
    return tuple(
        Quota(
            subject=subject,
            limit=limit,
            allowed=int(allowed),
            used=int(used),
            reset_s=_seconds(reset_ms) if reset_ms >= 0 else None,
        )
        for subject, limit, allowed, used, reset_ms in rows
    )


def refuse(quota: Quota, n_chars: int = 0, n_jobs: int = 1) -> NoReturn:
    """Raise the error that says which limit leaves no room, and when there may be some.

    What is larger than the whole limit is refused for good. More than one job is a batch.
    """
    of_chars = "chars" in quota.limit
    needed = n_chars if of_chars else n_jobs
    if needed > quota.allowed:
        raise _never(quota, needed, of_chars=of_chars, of_batch=n_jobs > 1)
    after_s = BUSY_RETRY_S if quota.reset_s is None else quota.reset_s
    what = "batch" if n_jobs > 1 else "job"
    told = f", and this {what} has {needed}" if of_chars or n_jobs > 1 else ""
    raise TooManyRequests(
        f"This {quota.whose} may have {quota.allowed} {NAMES[quota.limit]} and has {quota.used}"
        f"{told}. Try again in {after_s} s.",
        retry_after_s=after_s,
        limit=quota.limit,
        whose=quota.whose,
        allowed=quota.allowed,
        used=quota.used,
        quotas=(quota,),
    )


def _never(quota: Quota, needed: int, *, of_chars: bool, of_batch: bool) -> RequestError:
    """What says that waiting would not help."""
    what, advice = ("batch", "Send several") if of_batch else ("text", "Split the text")
    message = (
        f"The {what} has {needed} {'characters' if of_chars else 'inputs'}; this {quota.whose} "
        f"may have {quota.allowed} {NAMES[quota.limit]}. {advice}."
    )
    if of_chars:
        return TextTooLong(message, characters=needed, limit=quota.allowed)
    return BodyTooLarge(message, limit=quota.allowed)


def _seconds(milliseconds: int) -> int:
    """Whole seconds, rounded up: who waits that long finds room."""
    return max(1, -(-milliseconds // 1000))


class LimitStore:
    """Counts requests, in Redis."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def take_request(self, subject: str, allowed: int) -> Quota:
        """Count one request of `subject` this minute; raises `TooManyRequests` when it is over."""
        used, reset_ms, taken = self._scripts("limit_request", subject, allowed)
        (quota,) = read_quotas([(subject, "requests", allowed, used, reset_ms)])
        if not taken:
            refuse(quota)
        return quota
