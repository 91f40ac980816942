"""Keys, tokens and limits of a farm of real processes, tried as a stranger would."""

import base64
import hashlib
import hmac
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from shared.connection import Scripts, connect
from shared.limits import Limits
from shared.tenants import KeyStore, NewKey, Scope
from tests.conftest import RedisServer, wait_until
from tests.e2e.conftest import Farm, MakeFarm

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

CLIENTS = 50
ROOM = 11


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def make_key(farm: Farm, tenant: str, **more: Any) -> tuple[str, str]:
    """A new key's id, and the key."""
    client = connect(farm.redis.url)
    try:
        asked = NewKey(tenant=tenant, scopes=frozenset(Scope), **more)
        record, key = KeyStore(Scripts(client)).create(asked)
    finally:
        client.close()
    return record.id, key


def wait_for_status(farm: Farm, key: str, status: int, path: str = "/v1/voices") -> None:
    def check() -> bool:
        try:
            return farm.call("GET", path, headers=bearer(key)).status == status
        except OSError:
            return False

    wait_until(check, 180)


def offer_and_end(farm: Farm, key: str) -> None:
    """The farm knows the voice `fake`, and nobody speaks: what is submitted stays as it is."""
    farm.spawn("api", "ttsfarm", "serve")
    wait_for_status(farm, key, 200)
    farm.add_worker("worker0")

    def known() -> bool:
        voices = farm.call("GET", "/v1/voices", headers=bearer(key)).json["voices"]
        return any(one["name"] == "fake" and one["ready_workers"] for one in voices)

    wait_until(known, 180)
    farm.kill("worker0")


def submit(farm: Farm, key: str, text: str) -> int:
    return farm.call("POST", "/v1/jobs", {"text": text}, bearer(key)).status


def test_limits_are_exact_for_many_at_once_and_outlive_every_process(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_AUTH="keys")
    _, key = make_key(farm, "a", limits=Limits(jobs=ROOM))
    _, other = make_key(farm, "b")
    offer_and_end(farm, key)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda i: submit(farm, key, f"第{i}句"), range(CLIENTS)))
    assert sorted(answers) == [202] * ROOM + [429] * (CLIENTS - ROOM)

    farm.kill("api")
    assert isinstance(farm.redis, RedisServer)
    farm.redis.kill()
    farm.redis.start()
    farm.spawn("api", "ttsfarm", "serve")
    wait_for_status(farm, key, 200)
    refused = farm.call("POST", "/v1/jobs", {"text": "再来"}, bearer(key))
    assert (refused.status, refused.json["limit"]) == (429, "jobs")
    assert '"key-jobs";r=0' in refused.headers["RateLimit"]
    assert submit(farm, other, "别人的") == 202

    (first, *_) = farm.call("GET", "/v1/jobs", headers=bearer(key)).json["jobs"]
    assert farm.call("POST", f"/v1/jobs/{first['id']}/cancel", headers=bearer(other)).status == 404
    assert submit(farm, key, "还没有位子") == 429
    assert farm.call("POST", f"/v1/jobs/{first['id']}/cancel", headers=bearer(key)).status == 200
    assert submit(farm, key, "有位子了") == 202
    assert submit(farm, key, "又没有了") == 429


def test_a_revoked_and_an_expired_key_stop_working(make_farm: MakeFarm) -> None:
    farm = make_farm(TTSFARM_AUTH="keys")
    revoked_id, revoked = make_key(farm, "a")
    _, expired = make_key(farm, "a", expires_ms=int(time.time() * 1000) - 1)
    farm.spawn("api", "ttsfarm", "serve")
    wait_for_status(farm, revoked, 200)
    assert farm.call("GET", "/v1/voices", headers=bearer(expired)).status == 401
    client = connect(farm.redis.url)
    assert KeyStore(Scripts(client)).revoke(revoked_id)
    client.close()
    wait_for_status(farm, revoked, 401)


def key_pair(kid: str) -> tuple[Any, dict[str, Any]]:
    """A private key, and what the issuer tells of it."""
    private = ec.generate_private_key(ec.SECP256R1())
    told = jwt.get_algorithm_by_name("ES256").to_jwk(private.public_key(), as_dict=True)
    told.pop("key_ops", None)
    return private, {**told, "kid": kid}


def publish(place: Path, *keys: dict[str, Any]) -> None:
    """The issuer's key set, in one step: the farm may read it at any moment."""
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": keys}))
    os.replace(fresh, place)  # noqa: PTH105


def token(private: Any, kid: str, **changes: Any) -> str:
    values = {"sub": "alice", "aud": "ttsfarm", "iss": "https://id.example.com",
              "exp": int(time.time()) + 3600, "scope": "read submit"}  # fmt: skip
    return jwt.encode({**values, **changes}, private, "ES256", headers={"kid": kid})


def forged(algorithm: str, secret: bytes) -> str:
    """A token of somebody who has the public key alone."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    values = {"sub": "alice", "aud": "ttsfarm", "iss": "https://id.example.com",
              "exp": int(time.time()) + 3600, "scope": "read submit admin"}  # fmt: skip
    header = {"alg": algorithm, "kid": "old"}
    body = f"{part(json.dumps(header).encode())}.{part(json.dumps(values).encode())}"
    signature = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{part(signature) if algorithm != 'none' else ''}"


def test_a_rotated_key_set_changes_which_tokens_work(make_farm: MakeFarm, tmp_path: Path) -> None:
    place = tmp_path / "keys.json"
    (old, told), (new, new_told) = key_pair("old"), key_pair("new")
    publish(place, told)
    farm = make_farm(
        TTSFARM_AUTH="jwt",
        TTSFARM_JWT_ALGORITHM="ES256",
        TTSFARM_JWT_JWKS=str(place),
        TTSFARM_JWT_ISSUER="https://id.example.com",
    )
    farm.spawn("api", "ttsfarm", "serve")
    first = token(old, "old")
    wait_for_status(farm, first, 200)
    secret = json.dumps(told).encode()
    wrong = {
        "another audience": token(old, "old", aud="other"),
        "another issuer": token(old, "old", iss="https://evil.example.com"),
        "expired": token(old, "old", exp=int(time.time()) - 3600),
        "not yet": token(old, "old", nbf=int(time.time()) + 3600),
        "another's signature": token(new, "old"),
        "alg none": forged("none", b""),
        "key confusion": forged("HS256", secret),
    }
    for name, one in wrong.items():
        answer = farm.call("GET", "/v1/voices", headers=bearer(one))
        assert (name, answer.status) == (name, 401)
    assert farm.call("GET", "/v1/queue", headers=bearer(first)).status == 403

    publish(place, new_told)
    wait_for_status(farm, token(new, "new"), 200)
    assert farm.call("GET", "/v1/voices", headers=bearer(token(old, "old", jti="2"))).status == 401
    wait_for_status(farm, first, 401)
