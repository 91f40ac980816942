"""Standard Webhooks 1.0: the published vector, our own way back, and a foreign verifier."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from shared.signing import (
    SECRET_BYTES,
    TOLERANCE_S,
    InvalidSignature,
    new_secret,
    secret_bytes,
    sign,
    signed_headers,
    verify,
)

# The vector published with the specification's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    assert sign(SECRET, MESSAGE_ID, TIMESTAMP_S, BODY) == SIGNATURE


def test_a_secret_is_what_receivers_expect() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(secret_bytes(secret)) == SECRET_BYTES
    assert new_secret() != secret


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_not base64!", "whsec_äöü", "whsec_a"])
def test_what_is_not_a_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        secret_bytes(secret)


def test_a_secret_needs_no_padding() -> None:
    padded = "whsec_" + base64.b64encode(b"12345678901234567890").decode()
    assert padded.endswith("=")
    assert secret_bytes(padded.rstrip("=")) == secret_bytes(padded)


@given(body=st.text().map(str.encode), secret=st.binary(min_size=1, max_size=64))
def test_what_is_signed_is_verified(body: bytes, secret: bytes) -> None:
    written = "whsec_" + base64.b64encode(secret).decode()
    headers = signed_headers([written], "msg_1", TIMESTAMP_S, body)
    verify([written], headers, body, TIMESTAMP_S)
    with pytest.raises(InvalidSignature):
        verify([written], headers, body + b" ", TIMESTAMP_S)


@pytest.mark.parametrize("signing", [0, 1])
def test_both_secrets_of_a_rotation_verify_with_the_reference_library(signing: int) -> None:
    secrets = [new_secret(), new_secret()]
    body = json.dumps({"type": "job.completed", "data": {"text": "你好"}}).encode()
    headers = signed_headers(secrets, MESSAGE_ID, int(time.time()), body)
    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(secrets[signing]).verify(body, headers) == json.loads(body)
    verify([secrets[signing]], headers, body, time.time())


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "changed", "1614265331", "v1,äää", "v1a,x"])
def test_a_changed_or_missing_header_is_refused(name: str, value: str | None) -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    with pytest.raises(InvalidSignature):
        verify([SECRET], headers, BODY, TIMESTAMP_S)


def test_another_secret_is_refused() -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    with pytest.raises(InvalidSignature, match="secret"):
        verify([new_secret()], headers, BODY, TIMESTAMP_S)


@pytest.mark.parametrize("away_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_a_message_of_another_time_is_refused(away_s: int) -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    with pytest.raises(InvalidSignature, match="clock"):
        verify([SECRET], headers, BODY, TIMESTAMP_S + away_s)
    verify([SECRET], headers, BODY, TIMESTAMP_S + away_s // 2)


def test_header_names_are_taken_in_any_case() -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    verify([SECRET], {name.title(): value for name, value in headers.items()}, BODY, TIMESTAMP_S)
