"""Is a message from the farm? Standard Webhooks 1.0, symmetric (`v1`)."""

import base64
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ttsfarm_client.faults import InvalidSignature

TOLERANCE_S = 300  # between a message's time and ours


def verify_webhook(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_s: float | None = None,
) -> dict[str, Any]:
    """The message in `body`, the raw bytes, when one of the secrets signed it within 5 minutes.

    Raises `InvalidSignature` otherwise. Header names are taken in any case. The signature is that
    of Standard Webhooks 1.0, symmetric (`v1`).
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")
        sent_s = int(sent)
        age_s = abs((time.time() if now_s is None else now_s) - float(sent_s))
    except (KeyError, ValueError, OverflowError) as error:
        raise InvalidSignature(
            "The headers webhook-id, webhook-timestamp (whole seconds) and webhook-signature are "
            "needed; one is missing or not valid."
        ) from error
    if age_s > TOLERANCE_S:
        raise InvalidSignature(
            f"The message's time is {age_s:.0f} s away from now, more than {TOLERANCE_S} s: "
            "check the clocks."
        )
    signed = f"{message_id}.{sent_s}.".encode("utf-8", "replace") + body
    offered = [one.encode("utf-8", "replace") for one in signatures]
    for known in (secret,) if isinstance(secret, str) else secret:
        digest = hmac.digest(_secret_bytes(known), signed, "sha256")
        expected = b"v1," + base64.b64encode(digest)
        if any(hmac.compare_digest(expected, one) for one in offered):
            return cast(dict[str, Any], json.loads(body))
    raise InvalidSignature(
        "No signature fits: check that the secret is the receiver's current one and that the body "
        "is the bytes that arrived."
    )


def _secret_bytes(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if not key:
        raise ValueError("A webhook secret has at least one byte; this has none.")
    return key
