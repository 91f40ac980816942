"""create_app: builds what the API needs from the settings and wires the routes to it."""

import logging
import re
import time
from collections.abc import Callable
from functools import cache, partial

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.answers import current_farm
from api.errors import register_errors
from api.farm import Farm
from api.guards import Guard
from api.headers import SecurityHeaders
from api.ids import new_id
from api.metrics import ApiMetrics, FarmCollector
from api.recordings import Recordings, Sources
from api.room import Room
from api.routes.article import article
from api.routes.audio import audio
from api.routes.azure import azure
from api.routes.batches import batches
from api.routes.captions import captions
from api.routes.client import client as client_routes
from api.routes.docs import docs
from api.routes.events import events
from api.routes.files import files
from api.routes.health import health
from api.routes.jobs import jobs as job_routes
from api.routes.openai import openai
from api.routes.queue import queue
from api.routes.replicate import replicate
from api.routes.voices import voices
from api.routes.web import web
from api.routes.webhooks import webhooks
from api.voices import VoiceDirectory, read_offer
from api.waiting import WaitSlots
from shared.addresses import AddressGuard, check_url
from shared.aliases import AliasStore
from shared.batches import BatchStore
from shared.bells import BackgroundBells, celery_app
from shared.cache import CacheStore
from shared.connection import Scripts, connect
from shared.deliveries import DeliveryStore
from shared.jobs import JobStore
from shared.keys import FarmKeys
from shared.limits import LimitStore
from shared.links import Links
from shared.logs import bound
from shared.presence import PresenceStore
from shared.settings import Settings
from shared.storage import open_store
from shared.tenants import Caller, KeyStore
from shared.watch import Watcher
from shared.work import WorkStore

logger = logging.getLogger(__name__)

# A silent Redis must be a 503 within 3 s, and one call may wait four times: a second try of the
# command, and of the check of a connection that was idle before it.
REDIS_TIMEOUT_S = 0.6
REDIS_RETRIES = 1
ROUTES = (
    job_routes, batches, audio, captions, events, files, voices, queue, webhooks, health, article,
    docs, web, client_routes, openai, replicate, azure,
)  # fmt: skip
# Asked every few seconds, or beside each page; logged only for who debugs.
PROBES = ("/livez", "/readyz", "/health", "/metrics", "/static/<path:filename>")
POLLED = "/v1/jobs/<job_id>"  # asked every second by who waits; logged when it goes wrong
# A caller may name any method; each would become a series of its own.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def open_farm(settings: Settings, stopping: Callable[[], bool]) -> Farm:
    """The stores behind the API. Nothing is contacted yet: Redis may come up later."""
    client = connect(
        settings.redis_url.get_secret_value(), timeout_s=REDIS_TIMEOUT_S, retries=REDIS_RETRIES
    )
    scripts = Scripts(client)
    store = open_store(settings)
    presence, deliveries = PresenceStore(scripts), DeliveryStore(scripts)
    slots = WaitSlots(settings.api_threads, fair=settings.auth != "none")
    jobs = JobStore(scripts, wait_replicas=settings.redis_wait_replicas)
    watcher = Watcher(client)
    sources = Sources(
        jobs=jobs,
        work=WorkStore(scripts, settings),
        store=store,
        watcher=watcher,
        stopping=stopping,
    )
    cache_store = CacheStore(scripts, settings)
    recordings = Recordings(sources, settings.max_streams, fair=settings.auth != "none")
    metrics = ApiMetrics(slots, lambda: recordings.listeners)
    metrics.registry.register(FarmCollector(presence, deliveries, cache_store))
    offer = partial(read_offer, presence, AliasStore(scripts))
    keys = FarmKeys(scripts)
    guard = AddressGuard.parse(settings.webhook_allow)
    return Farm(
        settings=settings,
        client=client,
        jobs=jobs,
        batches=BatchStore(scripts, wait_replicas=settings.redis_wait_replicas),
        watcher=watcher,
        presence=presence,
        room=Room(presence.memory),
        deliveries=deliveries,
        keys=keys,
        store=store,
        recordings=recordings,
        open_links=cache(lambda: Links(settings, keys.link_secret(), store)),
        bells=BackgroundBells(celery_app(settings)),
        voices=VoiceDirectory(offer, settings.default_voice),
        slots=slots,
        metrics=metrics,
        check_address=lambda url: check_url(url, guard),
        new_id=new_id,
        stopping=stopping,
    )


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.match(given) else new_id()
    g.started = time.perf_counter()


def _end(response: Response) -> Response:
    """Count and log the request by its route's template: paths and queries may hold signatures."""
    seconds = time.perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule else "unmatched"
    method = request.method if request.method in METHODS else "OTHER"
    current_farm().metrics.count_request(method, route, response.status_code, seconds)
    response.headers["X-Request-Id"] = g.request_id
    polled = (method, route) == ("GET", POLLED) and response.status_code < 400
    who: Caller | None = g.get("caller")
    with bound(
        action="http.request",
        request_id=g.request_id,
        job=_job_id(),
        **({"tenant": who.tenant, "key": who.key_id} if who and who.key_id else {}),
    ):
        logger.log(
            logging.DEBUG if polled or route in PROBES else logging.INFO,
            "%s %s %d",
            method,
            route,
            response.status_code,
            extra={"duration_ms": round(seconds * 1000, 1)},
        )
    return response


def _job_id() -> str | None:
    """The job of this request: the one its path names, or the one it submitted."""
    job_id: str | None = (request.view_args or {}).get("job_id") or g.get("job_id")
    return job_id


def create_app(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Flask:
    """The WSGI app; `stopping` tells open event streams that the process is about to end."""
    app = Flask("api")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # DefaultJSONProvider has it
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the same
    farm = app.extensions["ttsfarm"] = open_farm(settings, stopping)
    scripts = Scripts(farm.client)
    app.before_request(_begin)
    app.before_request(Guard(settings, KeyStore(scripts), LimitStore(scripts)).admit)
    app.after_request(_end)
    app.after_request(SecurityHeaders(settings).finish)
    register_errors(app)
    for blueprint in ROUTES:
        app.register_blueprint(blueprint)
    if n := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=n)  # type: ignore[method-assign]  # as Flask's manual does
    return app
