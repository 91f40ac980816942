"""The farm's secrets on a real Redis: one for all processes, rotated without a gap."""

from datetime import timedelta

import pytest

from shared.connection import Scripts
from shared.keys import ROTATION, FarmKeys
from shared.signing import secret_bytes

pytestmark = pytest.mark.redis


def test_every_process_gets_the_same_link_secret(scripts: Scripts) -> None:
    first = FarmKeys(scripts).link_secret()
    assert len(first) == 32
    assert FarmKeys(Scripts(scripts.client)).link_secret() == first


def test_a_tenant_gets_one_secret_at_first_use(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    secrets = keys.webhook_secrets("a")
    assert len(secrets) == 1
    assert secret_bytes(secrets[0])
    assert keys.webhook_secrets("a") == secrets
    assert keys.webhook_secrets("b") != secrets


def test_the_secret_before_signs_on_for_a_day(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    (old,) = keys.webhook_secrets("a")
    new = keys.rotate_webhook_secret("a")
    assert keys.webhook_secrets("a") == (new, old)
    seconds, _ = scripts.client.time()
    secrets = scripts.key("secrets", "webhook", "a")
    ends_ms = scripts.client.zscore(secrets, old)
    assert ends_ms / 1000 - seconds == pytest.approx(ROTATION.total_seconds(), abs=60)
    assert timedelta(hours=24) == ROTATION
    scripts.client.zadd(secrets, {old: seconds * 1000 - 1})
    assert keys.webhook_secrets("a") == (new,)


def test_a_rotation_that_is_repeated_changes_nothing(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    (old,) = keys.webhook_secrets("a")
    new = keys.rotate_webhook_secret("a")
    assert keys.rotate_webhook_secret("a", new) == new
    assert keys.webhook_secrets("a") == (new, old)


def test_a_rotation_before_the_first_use_is_the_first_secret(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    new = keys.rotate_webhook_secret("a")
    assert keys.webhook_secrets("a") == (new,)


def test_many_rotations_keep_the_newest_few(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    made = [keys.rotate_webhook_secret("a") for _ in range(8)]
    secrets = keys.webhook_secrets("a")
    assert len(secrets) == 5
    assert secrets[0] == made[-1]
    assert set(secrets) <= set(made)


def test_a_secret_of_ones_own_must_be_one(scripts: Scripts) -> None:
    keys = FarmKeys(scripts)
    with pytest.raises(ValueError, match="whsec_"):
        keys.rotate_webhook_secret("a", "whsec_not base64")
    assert scripts.client.exists(scripts.key("secrets", "webhook", "a")) == 0
