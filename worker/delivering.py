"""Drains the webhook outbox: claim, build, sign, post, record, until nothing is due.

The Celery task around it decides when to stop; a courier lost in the middle is the keeper's.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.addresses import AddressGuard
from shared.batch_views import batch_view
from shared.batches import BatchStore
from shared.deliveries import Delivery, DeliveryStore
from shared.errors import NotFound
from shared.jobs import JobStore
from shared.keys import FarmKeys
from shared.links import Links
from shared.predictions import prediction_view
from shared.settings import Settings
from shared.signing import signed_headers
from shared.views import job_view, timestamp
from worker.courier import Outcome, attempt


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """What messages are about."""

    jobs: JobStore
    batches: BatchStore


_FIXED_HEADERS = {"Content-Type": "application/json", "User-Agent": "ttsfarm"}


def deliver_due(
    store: DeliveryStore,
    subjects: Subjects,
    links: Links,
    keys: FarmKeys,
    settings: Settings,
    stop: Callable[[], bool],
) -> int:
    """Attempt every delivery that is due, one after the other; how many were attempted.

    `stop` is asked before each. Raises `StateStoreUnavailable` or `StateStoreFull`; what was
    claimed then is due again when its lease ends.
    """
    guard = AddressGuard.parse(settings.webhook_allow)
    n_attempted = 0
    while not stop():
        claim = store.claim()
        if claim is None:
            break
        body = message(claim, subjects, links)
        secrets = keys.webhook_secrets(claim.tenant)
        headers = signed_headers(secrets, claim.id, int(time.time()), body)
        outcome = attempt(
            claim.url, body, {**_FIXED_HEADERS, **headers}, guard, settings.webhook_timeout_s
        )
        record(store, claim, outcome)
        n_attempted += 1
    return n_attempted


def message(claim: Delivery, subjects: Subjects, links: Links) -> bytes:
    """The body: what happened, when, and the job or batch as it is now; never audio.

    A job of another service's dialect is told as that service does: the object alone.
    """
    data: dict[str, Any]
    try:
        if claim.batch:
            data = batch_view(subjects.batches.batch(claim.tenant, claim.batch), links)
        else:
            job = subjects.jobs.job(claim.tenant, claim.job or "")
            if job.request.dialect == "replicate":
                return _json(prediction_view(job, links))
            data = job_view(job, links)
    except NotFound:
        # Its retention ended or it was deleted; the record keeps how it ended.
        data = {"id": claim.batch or claim.job, "status": claim.job_status}
    content = {
        "type": f"{'batch' if claim.batch else 'job'}.{claim.event}",
        "timestamp": timestamp(claim.created_ms),
        "data": data,
    }
    return _json(content)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def record(store: DeliveryStore, claim: Delivery, outcome: Outcome) -> None:
    """Report an attempt: delivered, to be tried again, or given up because the receiver is gone."""
    if outcome.accepted and outcome.status is not None:
        store.delivered(claim, status_code=outcome.status, duration_ms=outcome.duration_ms)
        return
    store.failed(
        claim,
        duration_ms=outcome.duration_ms,
        status_code=outcome.status,
        error=outcome.error,
        retry_after_s=outcome.retry_after_s,
        final=outcome.gone,
    )
