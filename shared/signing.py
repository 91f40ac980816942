"""Webhook signatures by Standard Webhooks 1.0, symmetric (`v1`): make secrets, sign, verify."""

import base64
import hashlib
import hmac
import secrets as randomness
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
TOLERANCE_S = 300
_VERSION = "v1"


class InvalidSignature(ValueError):
    """A message is not one of this sender, was changed, or is too old or too new."""


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


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: float) -> None:
    """Return when one of the signatures was made with one of `secrets` within five minutes.

    Raises `InvalidSignature` otherwise. Header names are taken in any case.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id = given["webhook-id"]
        timestamp_s = int(given["webhook-timestamp"])
        signatures = given["webhook-signature"].split(" ")
    except (KeyError, ValueError) as error:
        raise InvalidSignature(
            "The headers webhook-id, webhook-timestamp (whole seconds) and webhook-signature are "
            "needed; one is missing or not valid."
        ) from error
    if abs(now_s - timestamp_s) > TOLERANCE_S:
        raise InvalidSignature(
            f"The message's time is {abs(now_s - timestamp_s):.0f} s away from now, more than "
            f"{TOLERANCE_S} s: check the clocks."
        )
    expected = [sign(secret, message_id, timestamp_s, body).encode() for secret in secrets]
    offered = [signature.encode("utf-8", "replace") for signature in signatures]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered):
        raise InvalidSignature(
            "No signature fits: check that the secret is the receiver's current one and that the "
            "body is the bytes that arrived."
        )
