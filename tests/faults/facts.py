"""What a run left behind: jobs as callers see them, records in Redis, objects, messages."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from shared.cache import CacheStore
from shared.settings import Settings
from tests.caller import TERMINAL
from tests.conftest import wait_until
from tests.faults.calm import Calm, CalmRun
from tests.faults.field import PATIENCE_S, Field, Ground
from tests.faults.harm import units
from tests.faults.orders import Order
from tests.walk import snapshot

# What may not be in Redis once every job is gone.
OF_JOBS = re.compile(
    r"job:|jobs:|cache:users:|parked:|rendering$|unparking$|reviving$|released|active:|idempotency:|retries$|deadlines$"
    r"|retention$|lane:.*:(leases|queued|due:.*|line:.*|left)$|garbage$|deliveries:due$"
    r"|deliveries:sending$|deliveries:crowd"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A webhook message that arrived: its id, its job and how that stood, whether it is signed."""

    id: str
    job: str
    status: str
    signed: bool


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """Everything known of one accepted job at the end. `view` is None where the API has none."""

    id: str
    order: Order
    calm: Calm | None  # None where the order can not succeed
    view: dict[str, Any] | None
    audio_sha256: str | None = None
    captions_sha256: str | None = None
    seen: tuple[str, ...] = ()
    units: dict[str, dict[str, Any]]
    told: tuple[Told, ...] = ()
    deliveries: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All jobs of a run; `listed` are key and id of every job the farm knows of it.

    `answers` are the ids each key was answered with.
    """

    jobs: tuple[JobFacts, ...]
    listed: tuple[tuple[str, str], ...]
    answers: dict[str, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What is there after every job of a farm was removed: keys, objects, what the cache knows."""

    keys: tuple[str, ...]
    objects: frozenset[str]
    cached: frozenset[str]


def gather(field: Field, calm: CalmRun) -> RunFacts:
    """The facts of a run whose jobs have ended and whose messages are no longer under way."""
    webhook, deliveries = Webhook(_secret(field)), _settled(field)
    answers: dict[str, set[str]] = {}
    deleted = {event.about for event in field.history.events("deleted")}
    for event in field.history.events("accepted"):
        if event.about not in deleted:
            answers.setdefault(event.more["key"], set()).add(event.about)
    return RunFacts(
        jobs=tuple(
            _job(field, calm, job, webhook, [d for d in deliveries if d["job"] == job])
            for job in sorted(field.orders)
        ),
        listed=tuple(_listed(field)),
        answers={key: frozenset(ids) for key, ids in answers.items()},
    )


def _job(
    field: Field, calm: CalmRun, job: str, webhook: Webhook, deliveries: list[dict[str, Any]]
) -> JobFacts:
    order = field.orders[job]
    answer = field.call("GET", f"/v1/jobs/{job}", order.headers)
    view = answer.json if answer.status == 200 else None
    succeeded = view is not None and view["status"] == "succeeded"
    return JobFacts(
        id=job,
        order=order,
        calm=calm.of(order) if "succeeded" in order.ends else None,
        view=view,
        audio_sha256=_read(field, f"/v1/jobs/{job}/audio", order) if succeeded else None,
        captions_sha256=_read(field, f"/v1/jobs/{job}/captions.json", order)
        if succeeded and order.captions
        else None,
        seen=tuple(field.history.statuses(job)),
        units=units(field, job),
        told=tuple(_told(field, job, webhook)) if order.webhook else (),
        deliveries=tuple(deliveries) if order.webhook else (),
    )


def _read(field: Field, path: str, order: Order) -> str:
    answer = field.call("GET", path, order.headers)
    return hashlib.sha256(answer.body).hexdigest() if answer.status == 200 else str(answer.status)


def _pages(field: Field, path: str, name: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = field.call("GET", f"{path}{cursor}", headers).json
        found += page[name]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _listed(field: Field) -> Iterable[tuple[str, str]]:
    path = f"/v1/jobs?limit=100&metadata.run={field.history.run}"
    for headers in field.callers:
        for row in _pages(field, path, "jobs", headers):
            yield row["metadata"]["key"], row["id"]


def _settled(field: Field) -> list[dict[str, Any]]:
    """The run's deliveries, none under way any more; what never ends is left to the checker."""
    found: list[dict[str, Any]] = []

    def settled() -> bool:
        # The farm's log is long where many runs have gone before.
        path = "/v1/webhooks/deliveries?limit=100"
        found[:] = [d for d in _pages(field, path, "deliveries", {}) if d["job"] in field.orders]
        return all(d["status"] in ("delivered", "dead") for d in found)

    if any(order.webhook for order in field.orders.values()):
        field.until(settled, every_s=0.5)
    return found


def _secret(field: Field) -> str:
    return str(field.call("GET", "/v1/webhooks/secret").json["secret"])


def _told(field: Field, job: str, webhook: Webhook) -> Iterable[Told]:
    for message in field.receiver.of(job):
        try:
            webhook.verify(message.body, message.headers)
            signed = True
        except WebhookVerificationError:
            signed = False
        data = json.loads(message.body)["data"]
        yield Told(
            id=message.headers["webhook-id"], job=data["id"], status=data["status"], signed=signed
        )


def clear(field: Field) -> None:
    """Remove every job the farm has: every other one as its caller does, the rest by its age."""
    client = field.ground.client
    jobs = sorted(key.split(":")[2] for key in client.scan_iter("ttsfarm:job:*:text"))
    for i, job in enumerate(jobs):
        headers = field.orders[job].headers if job in field.orders else {}
        status = client.hget(f"ttsfarm:job:{job}", "status")
        if i % 2 == 0 or status not in TERMINAL:
            field.call("DELETE", f"/v1/jobs/{job}", headers)
        else:
            client.zadd("ttsfarm:retention", {job: 0})


def _counts(name: str, now: dict[str, Any]) -> bool:
    """Whether a lane counts due work: of that there is none."""
    return name.endswith(":depth") and now[name] != "0"


def leftovers(ground: Ground) -> Leftovers:
    """What is left when the janitor has come, its clock put forward by days."""
    client, key = ground.client, ground.scripts.key
    cache = CacheStore(ground.scripts, Settings())

    def hurry() -> bool:
        for entry in client.zrange(key("garbage"), 0, -1):
            client.zadd(key("garbage"), {entry: 0}, xx=True)
        return not client.exists(key("garbage"), key("released"))

    wait_until(lambda: not list(client.scan_iter("ttsfarm:job:*")), PATIENCE_S, every_s=0.2)
    wait_until(hurry, PATIENCE_S, every_s=0.2)
    cache.scrub(list(ground.store.list("segments/")))
    wait_until(hurry, PATIENCE_S, every_s=0.2)
    now = snapshot(ground.scripts)
    entries = (
        json.loads(t.partition("|")[2])["key"] for t in now.get("cache:entries", {}).values()
    )
    return Leftovers(
        keys=tuple(sorted(name for name in now if OF_JOBS.match(name) or _counts(name, now))),
        objects=frozenset(ground.store.list("")),
        cached=frozenset(entries),
    )
