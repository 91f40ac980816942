"""JSON Web Tokens: one algorithm, chosen by the operator, and keys that may be rotated.

What a token says about its own algorithm, key or key's address is never believed.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jwt
import urllib3
from jwt import PyJWK
from urllib3.exceptions import HTTPError

from shared.errors import Unauthorized, Unavailable
from shared.problems import WrongSetting
from shared.settings import Settings
from shared.tenants import TENANT, Scope, known_scopes

logger = logging.getLogger(__name__)

FRESH_S = 300.0  # a key set is read anew after this
AGAIN_S = 10.0  # and where a token names a key that is not in it, but no more often than this
KEPT_S = 3600.0  # while it can not be read, the last one is good for this long
FETCH_S = 5.0
WAITING = 8  # tokens of unknown keys wait for the issuer; further ones come again
MOST_BYTES = 1_000_000
SECRET_BYTES = 32
TYPES = {"RS256": ("RSA", None), "ES256": ("EC", "P-256")}
LOOPBACK = ("127.0.0.1", "localhost", "::1")

FindKey = Callable[[str | None], Any]


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a verified token says of its bearer."""

    tenant: str
    subject: str
    scopes: frozenset[Scope]


class KeySet:
    """The public keys of a JWKS, found by `kid`; `read` gets the document.

    While it does, `waiting` tokens of unknown keys wait.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        algorithm: str,
        clock: Callable[[], float] = time.monotonic,
        waiting: int = WAITING,
    ) -> None:
        self._read = read
        self._algorithm = algorithm
        self._clock = clock
        self._keys: dict[str | None, PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._lock = threading.Lock()
        self._seats = threading.Semaphore(waiting)

    def find(self, kid: str | None) -> PyJWK:
        """The key that signed a token; raises `Unauthorized` or, with no keys, `Unavailable`."""
        if self._stale(kid):
            self._refresh_once(kid)
        if not self._keys or self._clock() - self._read_at > KEPT_S:
            raise Unavailable("The keys that sign tokens can not be read.", retry_after_s=10)
        found = self._known(kid)
        if found is None:
            raise Unauthorized("The token names a key that is not in the issuer's key set.")
        return found

    def _known(self, kid: str | None) -> PyJWK | None:
        """The key of that name; of a token that names none, the only one there is."""
        if kid is not None:
            return self._keys.get(kid)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _stale(self, kid: str | None) -> bool:
        now = self._clock()
        missing = kid is not None and kid not in self._keys
        due = now - self._read_at > FRESH_S or missing
        return due and now - self._tried_at > AGAIN_S

    def _refresh_once(self, kid: str | None) -> None:
        """Read the keys anew, or wait for who does, where the ones there are do not serve.

        Only few wait, for anybody can make up a key's name, and a slow issuer would hold them all.
        """
        missing = self._known(kid) is None
        if missing and not self._seats.acquire(blocking=False):
            raise Unavailable("The keys that sign tokens are just being read.", retry_after_s=1)
        try:
            if self._lock.acquire(blocking=missing):
                try:
                    if self._stale(kid):
                        self._refresh()
                finally:
                    self._lock.release()
        finally:
            if missing:
                self._seats.release()

    def _refresh(self) -> None:
        try:
            self._keys = usable_keys(json.loads(self._read()), self._algorithm)
            self._read_at = self._clock()
        except (OSError, HTTPError, ValueError) as error:
            # The document's own words stay out of the log: they are the issuer's.
            logger.warning(
                "the key set for tokens can not be read (%s)",
                type(error).__name__,
                extra={"action": "auth"},
            )
        finally:
            self._tried_at = self._clock()


def usable_keys(document: Any, algorithm: str) -> dict[str | None, PyJWK]:
    """Keys that sign with `algorithm`, by `kid`; those of other kinds are left out.

    Raises `ValueError` when it is no key set.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    found: dict[str | None, PyJWK] = {}
    for values in document["keys"]:
        if not isinstance(values, dict) or not _fits(values, algorithm):
            continue
        try:
            found[values.get("kid")] = PyJWK(values, algorithm)
        except jwt.PyJWTError:
            logger.warning("a key of the key set can not be used", extra={"action": "auth"})
    return found


def _fits(values: dict[str, Any], algorithm: str) -> bool:
    kind, curve = TYPES[algorithm]
    return (
        (values.get("kty"), values.get("crv")) == (kind, curve)
        and values.get("alg", algorithm) == algorithm
        and values.get("use", "sig") == "sig"
        and isinstance(values.get("kid"), str | None)
    )


def _fetch(address: str) -> bytes:
    """The document at `address`; redirects are not followed, since they lead elsewhere."""
    pool = urllib3.PoolManager(timeout=FETCH_S, retries=False)
    response = pool.request("GET", address, redirect=False, preload_content=False)
    try:
        data = response.read(MOST_BYTES + 1)
    finally:
        response.release_conn()
        pool.clear()
    if response.status != 200 or len(data) > MOST_BYTES:
        raise ValueError("not a key set")
    return data


def _reader(place: str) -> Callable[[], bytes]:
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise WrongSetting(
                "TTSFARM_JWT_JWKS: an http address can be answered by anybody on the way; "
                "give an https address or a file"
            )
        return lambda: _fetch(place)
    return Path(place).read_bytes


def _fixed_key(settings: Settings) -> Any:
    """The one key that signs tokens; raises `WrongSetting`."""
    if settings.jwt_algorithm == "HS256":
        secret = settings.jwt_secret.get_secret_value().encode() if settings.jwt_secret else b""
        if len(secret) < SECRET_BYTES:
            raise WrongSetting(
                f"TTSFARM_JWT_SECRET: HS256 needs a secret of {SECRET_BYTES} bytes or more; make "
                "one with: openssl rand -hex 32"
            )
        return secret
    if settings.jwt_public_key is None:
        raise WrongSetting(
            f"TTSFARM_JWT_PUBLIC_KEY or TTSFARM_JWT_JWKS: {settings.jwt_algorithm} needs a PEM "
            "file or a key set to check tokens with"
        )
    try:
        pem = settings.jwt_public_key.read_bytes()
        algorithm = jwt.get_algorithm_by_name(settings.jwt_algorithm)
        return algorithm.prepare_key(pem)
    except (OSError, ValueError, TypeError, jwt.PyJWTError) as error:
        raise WrongSetting(
            f"TTSFARM_JWT_PUBLIC_KEY: no {settings.jwt_algorithm} key in this file "
            f"({type(error).__name__}); give a PEM file with a public key"
        ) from error


def _key_finder(settings: Settings) -> FindKey:
    if settings.jwt_jwks and settings.jwt_algorithm == "HS256":
        raise WrongSetting("TTSFARM_JWT_JWKS: a key set is for RS256 and ES256, not for HS256")
    if settings.jwt_jwks:
        waiting = min(WAITING, max(1, settings.api_threads // 4))  # the others serve on
        return KeySet(_reader(settings.jwt_jwks), settings.jwt_algorithm, waiting=waiting).find
    key = _fixed_key(settings)
    return lambda _kid: key


class TokenVerifier:
    """Checks tokens by the settings; making one raises `WrongSetting` when they do not suffice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._find_key = _key_finder(settings)

    def verify(self, token: str) -> Claims:
        """What a token says; raises `Unauthorized` with the reason, `Unavailable` without keys."""
        settings = self._settings
        claims = ["exp", "aud", settings.jwt_tenant_claim, *(["iss"] * bool(settings.jwt_issuer))]
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            values = jwt.decode(
                token,
                self._find_key(kid if isinstance(kid, str) else None),
                algorithms=[settings.jwt_algorithm],
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer or None,
                leeway=settings.jwt_leeway_s,
                options={"require": claims, "enforce_minimum_key_length": True},
            )
            return self._read(values)
        except jwt.PyJWTError as error:
            raise Unauthorized(_reason(error)) from error
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            # Claims such as no issuer makes: an infinite time, a lone surrogate.
            raise Unauthorized("The token can not be read.") from error

    def _read(self, values: dict[str, Any]) -> Claims:
        given = values[self._settings.jwt_tenant_claim]
        # Subjects such as `auth0|7` and `a:b` become names that stand well in a key.
        tenant = quote(given, safe="@") if isinstance(given, str) else ""
        if not TENANT.match(tenant):
            raise Unauthorized(
                f"The token's claim {self._settings.jwt_tenant_claim} must name a tenant in 1 to "
                "128 characters, the first a letter or digit."
            )
        subject = values.get("sub")
        return Claims(
            tenant=tenant,
            subject=subject if isinstance(subject, str) else tenant,
            scopes=known_scopes(_words(values.get(self._settings.jwt_scope_claim))),
        )


def _words(claim: Any) -> list[str]:
    """The words of a claim, which is a list of them or has spaces between them."""
    words = claim.split() if isinstance(claim, str) else claim
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _reason(error: jwt.PyJWTError) -> str:
    """Why a token is refused, in our words: the library's may repeat what the token says."""
    reasons: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
        (jwt.ExpiredSignatureError, "The token has expired; get a new one."),
        (jwt.ImmatureSignatureError, "The token is not valid yet; check the clocks."),
        (jwt.InvalidAudienceError, "The token is for another audience."),
        (jwt.InvalidIssuerError, "The token is from another issuer."),
        (jwt.MissingRequiredClaimError, "The token lacks a claim: it needs exp, aud and more."),
        (jwt.InvalidSignatureError, "The token's signature is not the issuer's."),
        (jwt.InvalidAlgorithmError, "The token is signed in a way this farm does not take."),
    )
    found = (text for kind, text in reasons if isinstance(error, kind))
    return next(found, "The token can not be read.")
