"""Who calls, whether they may, and how often: asked before every route.

A route says which scope it needs in its `Operation`; one that says nothing and is not in `PUBLIC`
is closed to everybody.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from flask import current_app, g, request

from api.answers import operation_of
from api.exposure import refuse_other_pages
from api.headers import read_origins
from api.quotas import note_quotas
from api.tokens import TokenVerifier
from shared.errors import Forbidden, Unauthorized
from shared.limits import Limits, LimitStore, Subject
from shared.settings import Settings
from shared.tenants import DEFAULT_TENANT, ApiKey, Caller, KeyStore, Scope

# Probes, pages without anybody's data, the API's description, and links that are signed.
PUBLIC = frozenset(
    {
        "health.livez",
        "health.readyz",
        "health.show_health",
        "files.get_file",
        "audio.listen",
        "azure.get_results",
        "azure.get_summary",
        "docs.show_document",
        "docs.show_page",
        "web.show_page",
        "client.download_client",
        "web.show_farm",
        "static",
    }
)
METRICS = "health.show_metrics"
REMEMBERED_S = 5.0  # a revoked key works no longer than this
MOST_REMEMBERED = 10_000
MOST_CHARS = 8_000  # gunicorn takes no longer header
SCHEMES = ("bearer", "token")  # Replicate's older clients say Token
KEY_HEADERS = ("X-API-Key", "Ocp-Apim-Subscription-Key")  # the second is Azure's

Value = TypeVar("Value")


def current_caller() -> Caller:
    """Who makes this request; only where the route needs a scope."""
    return cast(Caller, g.caller)


def current_tenant() -> str:
    """The tenant of this request."""
    return current_caller().tenant


def given_key() -> str | None:
    """The key or token of this request, None where there is none; never one in an address."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in SCHEMES and value.strip():
        return value.strip()
    return next((request.headers[name] for name in KEY_HEADERS if request.headers.get(name)), None)


class Remembered(Generic[Value]):
    """Values for a few seconds, so that a caller of many requests is looked up once."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float]) -> None:
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._values: dict[bytes, tuple[Value, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Value | None:
        value, until = self._values.get(key, (None, 0.0))
        return value if self._clock() < until else None

    def put(self, key: bytes, value: Value) -> None:
        """Keep `value`; when there are too many, the others are forgotten."""
        with self._lock:
            if len(self._values) >= MOST_REMEMBERED:
                self._values.clear()
            self._values[key] = value, self._clock() + self._lifetime_s


class Guard:
    """Lets a request in, or raises `Unauthorized`, `Forbidden` or `TooManyRequests`."""

    def __init__(
        self,
        settings: Settings,
        keys: KeyStore,
        limits: LimitStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._limits = limits
        self._tokens = TokenVerifier(settings) if settings.auth == "jwt" else None
        self._origins = read_origins(settings.cors_origins)
        self._public = PUBLIC | ({METRICS} if settings.metrics_open else frozenset())
        self._known: Remembered[Caller] = Remembered(REMEMBERED_S, clock)
        self._anyone = self._limited(Caller(tenant=DEFAULT_TENANT, scopes=frozenset(Scope)))

    def admit(self) -> None:
        """Decide on this request and keep who makes it for the route."""
        endpoint = request.endpoint
        if endpoint is None or endpoint in self._public or request.method == "OPTIONS":
            return
        caller = self._caller()
        if caller.requests_per_minute:  # before anything is refused: a refusal is work as well
            key = caller.subjects[-1].name
            note_quotas([self._limits.take_request(key, caller.requests_per_minute)])
        operation = operation_of(current_app.view_functions[endpoint])
        scope = operation.scope if operation else None
        if scope is None or scope not in caller.scopes:
            raise Forbidden(
                f"This call needs a key or token with the scope {scope}." if scope else None,
                scope=scope,
            )
        g.caller = caller

    def _caller(self) -> Caller:
        if self._settings.auth == "none":
            refuse_other_pages(request, self._settings, self._origins)
            return self._anyone
        given = given_key()
        if given is None:
            raise Unauthorized("Send your key or token as: Authorization: Bearer <key>.")
        if len(given) > MOST_CHARS or not given.isascii():
            raise Unauthorized("What was sent is no key or token.")
        digest = hashlib.sha256(given.encode()).digest()
        caller = self._known.get(digest)
        if caller is None:
            caller = self._verify(given)
            self._known.put(digest, caller)
        return caller

    def _verify(self, given: str) -> Caller:
        if self._tokens is None:
            return self._by_key(given)
        claims = self._tokens.verify(given)
        named = hashlib.sha256(f"{claims.tenant}|{claims.subject}".encode()).hexdigest()[:32]
        caller = Caller(tenant=claims.tenant, scopes=claims.scopes, key_id=f"jwt-{named}")
        return self._limited(caller)

    def _by_key(self, given: str) -> Caller:
        found = self._keys.find(given)
        if found is None:
            raise Unauthorized("This key is unknown, revoked or past its time.")
        caller = Caller(tenant=found.tenant, scopes=found.scopes, key_id=found.id)
        return self._limited(caller, found)

    def _limited(self, caller: Caller, key: ApiKey | None = None) -> Caller:
        """The caller with the limits that apply to it: the key's own, else the settings'."""
        settings, own = self._settings, key.limits if key else Limits()
        tenant = Subject(
            name=f"tenant:{caller.tenant}",
            jobs=settings.limit_tenant_jobs,
            chars=settings.limit_tenant_chars,
            daily_chars=settings.limit_tenant_daily_chars,
        )
        subject = Subject(
            name=f"key:{caller.key_id or caller.tenant}",
            jobs=_own(own.jobs, settings.limit_jobs),
            daily_chars=_own(own.daily_chars, settings.limit_daily_chars),
        )
        per_minute = _own(own.requests_per_minute, settings.limit_requests_per_minute)
        return Caller(
            tenant=caller.tenant,
            scopes=caller.scopes,
            key_id=caller.key_id,
            requests_per_minute=per_minute,
            subjects=(tenant, subject),
        )


def _own(limit: int | None, default: int) -> int:
    return default if limit is None else limit
