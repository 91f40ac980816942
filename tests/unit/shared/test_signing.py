"""Standard Webhooks 1.0: the published vector, and what a secret is; `client` checks the rest."""

import base64

import pytest

from shared.signing import (
    SECRET_BYTES,
    new_secret,
    secret_bytes,
    sign,
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
