"""DeliveryStore: webhook messages with their tries, one Lua script a transition.

The script that ends or starts a job writes the record; couriers claim it, send and report.
"""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

from shared.connection import Scripts
from shared.errors import InvalidRequest, NotFound
from shared.numbers import read_count
from shared.settings import Settings, read_delays
from shared.states import DeliveryStatus, Finish

STEP_ASIDE = 500  # due deliveries one claim may pass over
SWEEP = 100
KEEP_S = 7 * 86_400
LONGEST_DELAY_S = 86_400.0
LEASE_MARGIN_S = 15.0
JITTER = 0.1


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt as the log keeps it: either a status code or what kept one from coming."""

    attempt: int
    at_ms: int
    status_code: int | None = None
    error: str | None = None
    duration_ms: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook message. Times are milliseconds since the epoch, by Redis's clock.

    `id` is its `webhook-id` in every try; `round_attempts` counts tries since the last replay.
    """

    id: str
    job: str | None  # what it is about: a job
    batch: str | None  # or a batch
    tenant: str
    event: str
    url: str
    status: DeliveryStatus
    job_status: str
    attempts: int
    round_attempts: int
    created_ms: int
    next_ms: int | None
    finished_ms: int | None
    tries: tuple[Try, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """Deliveries, newest first; `next_cursor` is None on the last page."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class DeliveryCounts:
    """How the outbox stands: deliveries by state, and the longest time that one of them could
    have been sent and was not. What waits for its receiver's or tenant's turn does not count.
    """

    by_status: dict[str, int]
    waiting_s: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When tries are made, and what bounds them.

    `delays_s[n]` is waited before try n + 1; there are as many tries as delays.
    """

    delays_s: tuple[float, ...] = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    lease_s: float = 30.0
    host_limit: int = 4
    tenant_limit: int = 6
    keep_s: float = KEEP_S

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The schedule the settings describe."""
        return cls(
            delays_s=read_delays(settings.webhook_delays_s),
            lease_s=settings.webhook_timeout_s + LEASE_MARGIN_S,
            host_limit=settings.webhook_host_limit,
            tenant_limit=settings.webhook_tenant_limit,
            keep_s=settings.webhook_retention_s,
        )

    def delay_s(self, round_attempts: int, jitter: float) -> float | None:
        """Seconds until the try after `round_attempts` of them, or None when that was the last.

        `jitter` in [0, 1) spreads the delay by a tenth to either side.
        """
        if round_attempts >= len(self.delays_s):
            return None
        return self.delays_s[round_attempts] * (1 + JITTER * (2 * jitter - 1))


class DeliveryStore:
    """Every method may raise `StateStoreUnavailable` or `StateStoreFull`."""

    def __init__(
        self,
        scripts: Scripts,
        schedule: Schedule | None = None,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._scripts = scripts
        self._schedule = schedule or Schedule()
        self._jitter = jitter

    def claim(self) -> Delivery | None:
        """The delivery due longest, its newest attempt ours until the lease ends; None if none."""
        plan = self._schedule
        limits = (plan.host_limit, plan.tenant_limit)
        nonce = uuid.uuid4().hex  # the client may send the call twice
        row = self._scripts("delivery_claim", _ms(plan.lease_s), *limits, STEP_ASIDE, nonce)
        return _delivery(row, []) if row else None

    def delivered(self, claim: Delivery, *, status_code: int, duration_ms: int) -> Finish:
        """The receiver took the message."""
        outcome = {"status_code": status_code, "duration_ms": duration_ms}
        return self._finish(claim, DeliveryStatus.DELIVERED, 0, outcome)

    def failed(
        self,
        claim: Delivery,
        *,
        duration_ms: int,
        status_code: int | None = None,
        error: str | None = None,
        retry_after_s: float | None = None,
        final: bool = False,
    ) -> Finish:
        """The receiver did not take it: due again after the next delay, or dead.

        Dead after the last try or when `final`. Not before `retry_after_s`, a day at most.
        """
        outcome = {"status_code": status_code, "error": error, "duration_ms": duration_ms}
        told = {name: value for name, value in outcome.items() if value is not None}
        delay_s = self._schedule.delay_s(claim.round_attempts, self._jitter())
        if final or delay_s is None:
            return self._finish(claim, DeliveryStatus.DEAD, 0, told)
        asked_s = min(retry_after_s or 0, LONGEST_DELAY_S)
        return self._finish(claim, DeliveryStatus.DUE, max(delay_s, asked_s), told)

    def sweep(self) -> int:
        """Make deliveries of lost couriers due again; how many. For the keeper, often."""
        plan = self._schedule
        return int(self._scripts("delivery_sweep", SWEEP, len(plan.delays_s), _ms(plan.keep_s)))

    def show(self, tenant: str, delivery_id: str) -> Delivery:
        """One delivery with its tries. Raises `NotFound`."""
        found = self._scripts("delivery_show", delivery_id, tenant)
        if not found:
            raise _not_found(delivery_id)
        return _delivery(*found)

    def page(
        self,
        tenant: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: DeliveryStatus | None = None,
    ) -> DeliveryPage:
        """The tenant's deliveries, newest first, all or those of one `status`.

        Raises `InvalidRequest` for a foreign cursor.
        """
        after_ms, after_id = _read_cursor(cursor)
        rows, next_ms, next_id = self._scripts(
            "delivery_page", tenant, limit, after_ms, after_id, status or ""
        )
        return DeliveryPage(
            deliveries=tuple(_delivery(*row) for row in rows),
            next_cursor=f"{next_ms}:{next_id}" if next_id else None,
        )

    def replay(self, tenant: str, delivery_id: str) -> Delivery:
        """Send it again now, under the same id, with all its tries. Raises `NotFound`.

        One that is being sent is left alone. The caller rings the courier.
        """
        if self._scripts("delivery_replay", delivery_id, tenant) == Finish.GONE:
            raise _not_found(delivery_id)
        return self.show(tenant, delivery_id)

    def counts(self) -> DeliveryCounts:
        """How the outbox stands now."""
        *counted, waiting_ms = self._scripts("delivery_counts")
        by_status = dict(zip(map(str, DeliveryStatus), counted, strict=True))
        return DeliveryCounts(by_status=by_status, waiting_s=waiting_ms / 1000)

    def _finish(
        self, claim: Delivery, status: DeliveryStatus, delay_s: float, outcome: dict[str, Any]
    ) -> Finish:
        answer = self._scripts(
            "delivery_finish",
            claim.id,
            claim.attempts,
            status.value,
            _ms(delay_s),
            _ms(self._schedule.keep_s),
            json.dumps(outcome),
        )
        return Finish(answer)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _not_found(delivery_id: str) -> NotFound:
    return NotFound(
        f"There is no delivery {delivery_id!r}; GET /v1/webhooks/deliveries lists them."
    )


def _read_cursor(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return "+inf", ""
    created_ms, _, delivery_id = cursor.partition(":")
    after_ms = read_count(created_ms)
    if after_ms is None or not delivery_id:
        raise InvalidRequest(
            f"The cursor {cursor[:80]!r} is not one of this list's: give the next_cursor of a page."
        )
    return str(after_ms), delivery_id


def _delivery(row: list[str], tries: list[str]) -> Delivery:
    fields = dict(zip(row[::2], row[1::2], strict=True))
    attempts = int(fields["attempts"])
    return Delivery(
        id=fields["id"],
        job=fields.get("job"),
        batch=fields.get("batch"),
        tenant=fields["tenant"],
        event=fields["event"],
        url=fields["url"],
        status=DeliveryStatus(fields["status"]),
        job_status=fields["job_status"],
        attempts=attempts,
        round_attempts=attempts - int(fields.get("base", 0)),
        created_ms=int(fields["created_ms"]),
        next_ms=_optional(fields.get("next_ms")),
        finished_ms=_optional(fields.get("finished_ms")),
        tries=tuple(Try(**cast(dict[str, Any], json.loads(text))) for text in tries),
    )


def _optional(number: str | None) -> int | None:
    return None if number is None else int(number)
