"""Webhooks are checked by Standard Webhooks 1.0, whoever signed them."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from shared.signing import new_secret, signed_headers
from ttsfarm_client import InvalidSignature, verify_webhook
from ttsfarm_client.webhooks import TOLERANCE_S

# The vector published with the specification's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    headers = {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(TIMESTAMP_S),
        "webhook-signature": SIGNATURE,
    }
    assert verify_webhook(SECRET, headers, BODY, now_s=TIMESTAMP_S) == {"test": 2432232314}


@given(body=st.text().map(json.dumps).map(str.encode), secret=st.binary(min_size=1, max_size=64))
def test_what_is_signed_is_verified(body: bytes, secret: bytes) -> None:
    written = "whsec_" + base64.b64encode(secret).decode()
    headers = signed_headers([written], "msg_1", TIMESTAMP_S, body)
    verify_webhook([written], headers, body, now_s=TIMESTAMP_S)
    with pytest.raises(InvalidSignature):
        verify_webhook([written], headers, body + b" ", now_s=TIMESTAMP_S)


@pytest.mark.parametrize("signing", [0, 1])
def test_both_secrets_of_a_rotation_verify_with_the_reference_library(signing: int) -> None:
    secrets = [new_secret(), new_secret()]
    body = json.dumps({"type": "job.completed", "data": {"text": "你好"}}).encode()
    headers = signed_headers(secrets, MESSAGE_ID, int(time.time()), body)
    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(secrets[signing]).verify(body, headers) == json.loads(body)
    verify_webhook([secrets[signing]], headers, body, now_s=time.time())


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", [None, "changed", "1614265331", "9" * 400, "v1,äää", "v1a,x", "\udcff"]
)
def test_a_changed_or_missing_header_is_refused(name: str, value: str | None) -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    with pytest.raises(InvalidSignature):
        verify_webhook([SECRET], headers, BODY, now_s=TIMESTAMP_S)


def test_another_secret_is_refused() -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    with pytest.raises(InvalidSignature, match="secret"):
        verify_webhook([new_secret()], headers, BODY, now_s=TIMESTAMP_S)


@pytest.mark.parametrize("away_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_a_message_of_another_time_is_refused(away_s: int) -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    with pytest.raises(InvalidSignature, match="clock"):
        verify_webhook([SECRET], headers, BODY, now_s=TIMESTAMP_S + away_s)
    verify_webhook([SECRET], headers, BODY, now_s=TIMESTAMP_S + away_s // 2)


def test_header_names_are_taken_in_any_case() -> None:
    headers = signed_headers([SECRET], MESSAGE_ID, TIMESTAMP_S, BODY)
    verify_webhook(
        [SECRET], {name.title(): value for name, value in headers.items()}, BODY, now_s=TIMESTAMP_S
    )
