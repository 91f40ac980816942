"""Secrets the whole farm shares, kept in Redis: what signs links, and each tenant's webhooks."""

import secrets as randomness
from datetime import timedelta
from typing import cast

from shared.connection import Scripts
from shared.signing import new_secret, secret_bytes

ROTATION = timedelta(hours=24)


class FarmKeys:
    """Makes each secret at its first use; every process then reads the same one."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def link_secret(self) -> bytes:
        """The key that signs links to audio, 32 bytes."""
        return bytes.fromhex(self._scripts("secret_link", randomness.token_hex(32)))

    def webhook_secrets(self, tenant: str) -> tuple[str, ...]:
        """The tenant's `whsec_` secrets that sign now, the current one first."""
        return tuple(cast(list[str], self._scripts("secret_webhook", tenant, new_secret())))

    def rotate_webhook_secret(self, tenant: str, secret: str | None = None) -> str:
        """Make `secret`, or a new one, the tenant's current; those before sign for 24 h more.

        Raises `ValueError` when `secret` is not `whsec_` and base64.
        """
        fresh = secret or new_secret()
        secret_bytes(fresh)
        overlap_ms = ROTATION // timedelta(milliseconds=1)
        self._scripts("secret_rotate", tenant, fresh, overlap_ms)
        return fresh
