"""What every answer says to browsers: what a page may load, who may call, where to stay.

There are no cookies: a page of another site that makes a browser call the farm brings no key along.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Response, request

from api.quotas import noted
from shared.limits import Quota
from shared.problems import WrongSetting
from shared.settings import Settings

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Location, Content-Range, ETag, Location, "
    "Operation-Id, Operation-Location, Preference-Applied, RateLimit, RateLimit-Policy, "
    "Retry-After, WWW-Authenticate, X-Request-Id, x-ms-error-code"
)
PREFLIGHT_S = 600


def read_origins(text: str) -> frozenset[str]:
    """The origins of `TTSFARM_CORS_ORIGINS`; raises `WrongSetting` for what can not be one."""
    origins = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins - {"*"}:
        if not _is_origin(origin):
            raise WrongSetting(
                f"TTSFARM_CORS_ORIGINS: {origin[:80]!r} is no origin; give the likes of "
                "https://app.example.com, without a path"
            )
    return origins


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        reachable = parts.hostname and parts.port != 0
    except ValueError:  # half a bracket, no port
        return False
    whole = text == f"{parts.scheme}://{parts.netloc}" and "@" not in text
    return bool(reachable) and whole and parts.scheme in ("http", "https")


def _item(quota: Quota, **parameters: int | None) -> str:
    given = "".join(f";{name}={value}" for name, value in parameters.items() if value is not None)
    return f'"{quota.policy}"{given}'


def rate_limit_fields(quotas: Iterable[Quota]) -> dict[str, str]:
    """The fields of the IETF's draft `RateLimit header fields for HTTP`; none without quotas."""
    known = list(quotas)
    if not known:
        return {}
    policies = (_item(quota, q=quota.allowed, w=quota.window_s) for quota in known)
    left = (_item(quota, r=quota.remaining, t=quota.reset_s) for quota in known)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


class SecurityHeaders:
    """Puts them on every answer, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._origins = read_origins(settings.cors_origins)
        self._hsts_s = settings.hsts_s

    def finish(self, response: Response) -> Response:
        """The answer with its headers; one to a preflight says what the origin may ask."""
        for name, value in FIXED.items():
            response.headers[name] = value
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        if self._hsts_s and request.is_secure:
            response.headers["Strict-Transport-Security"] = f"max-age={self._hsts_s}"
        response.headers.update(rate_limit_fields(noted().values()))
        if self._origins:
            self._share(response)
        return response

    def _share(self, response: Response) -> None:
        """Let a page of an allowed origin read the answer; keys it must bring itself."""
        anyone = "*" in self._origins
        if not anyone:
            response.vary.add("Origin")
        origin = request.headers.get("Origin", "")
        if not (anyone and origin) and origin.lower() not in self._origins:
            return
        response.headers["Access-Control-Allow-Origin"] = "*" if anyone else origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
            # Whatever the page would send: clients of other services add headers of their own.
            if asked := request.headers.get("Access-Control-Request-Headers"):
                response.headers["Access-Control-Allow-Headers"] = asked
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_S)
