"""Tenants: who a caller is, what it may do and how much, and the keys that prove it.

A key is `ttsfarm_<id>_<secret>`. Redis keeps the SHA-256 of it and never the key: 256 random bits
need no slow hash.
"""

import hashlib
import hmac
import json
import re
import secrets as randomness
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.connection import Scripts
from shared.limits import Limits, Subject
from shared.records import pairs

DEFAULT_TENANT = "default"
# No colon: a tenant's name is part of Redis keys, and must not run into what stands beside it.
TENANT = re.compile(r"[A-Za-z0-9%][A-Za-z0-9._%@~-]{0,127}\Z")
KEY = re.compile(r"ttsfarm_([0-9a-f]{12})_[0-9a-f]{64}\Z")


class Scope(StrEnum):
    """What a caller may do; none of them includes another."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request. `key_id` names its key or token's subject, None where there is none."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    requests_per_minute: int = 0
    subjects: tuple[Subject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key to be made. `expires_ms` is None for a key that works until it is revoked."""

    tenant: str
    scopes: frozenset[Scope]
    name: str = ""
    expires_ms: int | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class ApiKey(NewKey):
    """A key as the farm knows it, which is without its secret."""

    id: str
    created_ms: int
    revoked_ms: int | None = None
    expired: bool = False


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes among `names`; others are of no meaning here."""
    return frozenset(scope for scope in Scope if scope.value in set(names))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class KeyStore:
    """The farm's keys, in Redis."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def create(self, asked: NewKey) -> tuple[ApiKey, str]:
        """A new key's record, and the key itself, which can not be read again later."""
        key_id = randomness.token_hex(6)
        key = f"ttsfarm_{key_id}_{randomness.token_hex(32)}"
        record = self._scripts(
            "key_create",
            key_id,
            _digest(key),
            asked.tenant,
            " ".join(sorted(asked.scopes)),
            asked.name,
            "" if asked.expires_ms is None else asked.expires_ms,
            json.dumps(asked.limits.dump()),
        )
        return _read(record), key

    def find(self, key: str) -> ApiKey | None:
        """The record of a key that works now, else None."""
        match = KEY.match(key)
        if not match:
            return None
        record = self._scripts("key_find", match.group(1))
        if not record:
            return None
        found = pairs(record)
        known = hmac.compare_digest(found["hash"], _digest(key))
        return _read(record) if known else None

    def revoke(self, key_id: str) -> bool:
        """Make a key useless; True when there was one."""
        return bool(self._scripts("key_revoke", key_id))

    def all(self) -> list[ApiKey]:
        """Every key, the newest first; those that ended are told for 30 days more."""
        return [_read(record) for record in self._scripts("key_list")]


def _read(record: list[str]) -> ApiKey:
    values: dict[str, Any] = pairs(record)
    return ApiKey(
        id=values["id"],
        tenant=values["tenant"],
        scopes=known_scopes(values["scopes"].split()),
        name=values["name"],
        created_ms=int(values["created_ms"]),
        expires_ms=int(values["expires_ms"]) if values["expires_ms"] else None,
        revoked_ms=int(values["revoked_ms"]) if "revoked_ms" in values else None,
        expired=values.get("expired") == "1",
        limits=Limits.load(json.loads(values["limits"])),
    )
