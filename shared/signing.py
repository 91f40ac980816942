"""Webhook signatures by Standard Webhooks 1.0, symmetric (`v1`): make secrets, sign.

Receivers check by `ttsfarm_client.verify_webhook`.
"""

import base64
import hashlib
import hmac
import secrets as randomness
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
_VERSION = "v1"


def new_secret() -> str:
    """A random secret as receivers are given it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(randomness.token_bytes(SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key behind a secret. Raises `ValueError` when it is not `whsec_` and base64."""
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as error:
        raise ValueError("A webhook secret is 'whsec_' followed by base64; this is not.") from error
    if not key:
        raise ValueError("A webhook secret has at least one byte; this has none.")
    return key


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature, `v1,` and base64, over `id.timestamp.body`."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def signed_headers(
    secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The three headers of a message, with a signature for each of `secrets`, newest first."""
    signatures = [sign(secret, message_id, timestamp_s, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }
