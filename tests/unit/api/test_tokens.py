"""Which tokens are believed: signed as the operator said, with a key that is there, for us, now."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.tokens import AGAIN_S, FRESH_S, KEPT_S, WAITING, KeySet, TokenVerifier, usable_keys
from shared.errors import Unauthorized, Unavailable
from shared.problems import WrongSetting
from shared.settings import Settings
from shared.tenants import Scope

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, kind))


def jwk(key: Any, kid: str | None = "k1", **changes: object) -> dict[str, Any]:
    name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    values = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    values.pop("key_ops", None)
    return {**values, **({"kid": kid} if kid else {}), **changes}


def claims(**changes: object) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "alice", "aud": "ttsfarm", "exp": now + 600, "scope": "read submit", **changes}


def hs256(settings: dict[str, Any] | None = None) -> TokenVerifier:
    given = {"auth": "jwt", "jwt_algorithm": "HS256", "jwt_secret": SECRET, **(settings or {})}
    return TokenVerifier(Settings(**given))


def signed(
    values: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **header: Any
) -> str:
    return jwt.encode(values, key, algorithm=algorithm, headers=header or None)


def forged(header: dict[str, Any], values: dict[str, Any], key: bytes | None) -> str:
    """A token put together by hand, with an HMAC of `key` or no signature at all."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = f"{part(json.dumps(header).encode())}.{part(json.dumps(values).encode())}"
    mac = b"" if key is None else hmac.new(key, body.encode(), hashlib.sha256).digest()
    return f"{body}.{part(mac)}"


def test_a_good_token_names_tenant_subject_and_scopes() -> None:
    found = hs256().verify(signed(claims()))
    assert (found.tenant, found.subject) == ("alice", "alice")
    assert found.scopes == {Scope.READ, Scope.SUBMIT}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_public_key_checks_what_its_private_key_signed(tmp_path: Path, algorithm: str) -> None:
    key = RSA if algorithm == "RS256" else EC
    (tmp_path / "key.pem").write_bytes(pem(key))
    settings = Settings(auth="jwt", jwt_algorithm=algorithm, jwt_public_key=tmp_path / "key.pem")
    verifier = TokenVerifier(settings)
    assert verifier.verify(signed(claims(), key, algorithm)).tenant == "alice"
    with pytest.raises(Unauthorized):
        verifier.verify(signed(claims(), OTHER_RSA, "RS256"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": int(time.time()) - 31}, "expired"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "lacks a claim"),
        ({"exp": None}, "lacks a claim"),
        ({"exp": "soon"}, "can not be read"),
        ({"exp": 1e400}, "can not be read"),
        ({"exp": [1]}, "can not be read"),
        ({"sub": None}, "lacks a claim"),
        ({"sub": 7}, "can not be read"),
        ({"sub": "\ud800"}, "can not be read"),
        ({"sub": ""}, "must name a tenant"),
        ({"sub": "-x"}, "must name a tenant"),
        ({"sub": "x" * 129}, "must name a tenant"),
        ({"nbf": "x"}, "can not be read"),
    ],
    ids=str,
)
def test_claims_that_do_not_hold_are_refused(changes: dict[str, Any], reason: str) -> None:
    values = {name: value for name, value in claims(**changes).items() if value is not None}
    with pytest.raises(Unauthorized, match=reason):
        hs256().verify(forged({"alg": "HS256", "typ": "JWT"}, values, SECRET.encode()))


def test_clocks_may_differ_by_the_leeway() -> None:
    late = signed(claims(exp=int(time.time()) - 60))
    assert hs256({"jwt_leeway_s": 300}).verify(late).tenant == "alice"
    with pytest.raises(Unauthorized):
        hs256({"jwt_leeway_s": 0}).verify(late)


def test_the_issuer_is_asked_for_where_it_is_set() -> None:
    verifier = hs256({"jwt_issuer": "https://id.example.com"})
    assert verifier.verify(signed(claims(iss="https://id.example.com")))
    for changes in ({"iss": "https://evil.example.com"}, {}):
        with pytest.raises(Unauthorized):
            verifier.verify(signed(claims(**changes)))


def test_the_audience_and_the_claim_of_the_scopes_are_those_that_are_set() -> None:
    verifier = hs256({"jwt_audience": "school", "jwt_scope_claim": "permissions"})
    found = verifier.verify(signed(claims(aud="school", scope="admin", permissions=["read"])))
    assert found.scopes == {Scope.READ}
    with pytest.raises(Unauthorized, match="another audience"):
        verifier.verify(signed(claims(aud="ttsfarm")))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "HS384", "RS256", None, 7])
def test_the_tokens_own_word_on_its_algorithm_counts_for_nothing(name: object) -> None:
    for key in (None, b"", SECRET.encode()):
        with pytest.raises(Unauthorized):
            hs256().verify(forged({"alg": name, "typ": "JWT"}, claims(), key))


def test_another_algorithm_is_refused_even_where_the_key_would_do() -> None:
    secret = SECRET * 2
    with pytest.raises(Unauthorized):
        hs256({"jwt_secret": secret}).verify(signed(claims(), secret, "HS512"))


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    """Key confusion: an HMAC made with the public key, which anybody has."""
    (tmp_path / "key.pem").write_bytes(pem(RSA))
    fixed = Settings(auth="jwt", jwt_algorithm="RS256", jwt_public_key=tmp_path / "key.pem")
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(RSA)]}))
    found = Settings(auth="jwt", jwt_algorithm="RS256", jwt_jwks=str(tmp_path / "keys.json"))
    for settings in (fixed, found):
        for secret in (pem(RSA), pem(RSA).strip(), json.dumps(jwk(RSA)).encode()):
            token = forged({"alg": "HS256", "kid": "k1"}, claims(), secret)
            with pytest.raises(Unauthorized):
                TokenVerifier(settings).verify(token)


def test_a_key_that_comes_with_the_token_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(RSA)]}))
    verifier = TokenVerifier(Settings(auth="jwt", jwt_jwks=str(tmp_path / "keys.json")))
    header = {"jwk": jwk(OTHER_RSA), "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}
    with pytest.raises(Unauthorized, match="signature"):
        verifier.verify(signed(claims(), OTHER_RSA, "RS256", kid="k1", **header))


def test_a_token_with_demands_we_do_not_know_is_refused() -> None:
    with pytest.raises(Unauthorized):
        hs256().verify(
            forged({"alg": "HS256", "crit": ["exp2"], "exp2": 1}, claims(), SECRET.encode())
        )


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é.b.c", "[" * 5000, "e30.e30.", "bnVsbA.e30.x"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        hs256().verify(token)


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [("read", {Scope.READ}), (["read", 7, "admin"], {Scope.READ, Scope.ADMIN}), ("root", set()),
     (None, set()), ({"read": 1}, set()), (5, set()), (True, set())],
)  # fmt: skip
def test_scopes_come_as_words_or_as_a_list(scope: object, scopes: set[Scope]) -> None:
    assert hs256().verify(signed(claims(scope=scope))).scopes == scopes


def test_a_claim_of_ones_choosing_names_the_tenant_and_never_runs_into_a_redis_key() -> None:
    verifier = hs256({"jwt_tenant_claim": "org"})
    names = [verifier.verify(signed(claims(org=name))).tenant for name in ("a:b", "a%3Ab", "甲|1")]
    assert names == ["a%3Ab", "a%253Ab", "%E7%94%B2%7C1"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Issuer:
    """A key set that may change, fail, and counts how often it is read."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.n_read = 0
        self.fails = False

    def __call__(self) -> bytes:
        self.n_read += 1
        if self.fails:
            raise OSError("gone")
        return json.dumps({"keys": self.keys}).encode()


def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    clock, issuer = Clock(), Issuer(jwk(RSA, "old"))
    keys = KeySet(issuer, "RS256", clock)
    assert keys.find("old")
    issuer.keys = [jwk(OTHER_RSA, "new")]
    assert keys.find("old"), "known, and the set is fresh"
    clock.now_s += AGAIN_S + 1
    assert keys.find("new")
    with pytest.raises(Unauthorized, match="key set"):
        keys.find("old")


def test_made_up_key_names_do_not_make_us_ask_the_issuer_each_time() -> None:
    clock, issuer = Clock(), Issuer(jwk(RSA))
    keys = KeySet(issuer, "RS256", clock)
    for number in range(50):
        with pytest.raises(Unauthorized):
            keys.find(f"made-up-{number}")
    assert issuer.n_read == 1


def test_tokens_of_a_new_key_wait_for_the_issuer_but_only_few() -> None:
    clock, issuer, full = Clock(), Issuer(jwk(RSA, "old")), threading.Event()
    waits_s: list[int] = []

    def slow() -> bytes:
        assert not issuer.n_read or full.wait(30), "nobody was refused"
        return issuer()

    def ask(_: int) -> type[Exception] | None:
        try:
            keys.find("new")
        except Unavailable as error:
            full.set()
            waits_s.append(error.details["retry_after_s"])
            return Unavailable
        return None

    keys = KeySet(slow, "RS256", clock)
    assert keys.find("old")
    clock.now_s += AGAIN_S + 1
    issuer.keys.append(jwk(OTHER_RSA, "new"))
    with ThreadPoolExecutor(WAITING + 1) as pool:
        answers = list(pool.map(ask, range(WAITING + 1)))
    assert (answers.count(None), waits_s) == (WAITING, [1])
    assert issuer.n_read == 2


def test_a_known_key_does_not_wait_for_the_issuer() -> None:
    clock, issuer, reading, asked = Clock(), Issuer(jwk(RSA)), threading.Event(), threading.Event()

    def slow() -> bytes:
        if issuer.n_read:
            reading.set()
            assert asked.wait(30), "it was waited for"
        return issuer()

    keys = KeySet(slow, "RS256", clock)
    assert keys.find("k1")
    clock.now_s += FRESH_S + 1
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(keys.find, "k1")
        assert reading.wait(30)
        assert keys.find("k1")
        asked.set()
        assert first.result()


def test_an_issuer_that_is_away_is_done_without_for_an_hour() -> None:
    clock, issuer = Clock(), Issuer(jwk(RSA))
    keys = KeySet(issuer, "RS256", clock)
    keys.find("k1")
    issuer.fails = True
    clock.now_s += FRESH_S + 1
    assert keys.find("k1")
    assert issuer.n_read == 2
    clock.now_s += KEPT_S
    with pytest.raises(Unavailable):
        keys.find("k1")
    issuer.fails = False
    clock.now_s += AGAIN_S + 1
    assert keys.find("k1")


def test_a_token_without_a_key_name_needs_a_set_of_one() -> None:
    issuer = Issuer(jwk(RSA, None))
    assert KeySet(issuer, "RS256").find(None)
    both = KeySet(Issuer(jwk(RSA, "a"), jwk(OTHER_RSA, "b")), "RS256")
    with pytest.raises(Unauthorized):
        both.find(None)


@pytest.mark.parametrize(
    "unfit",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "k1"},
        jwk(RSA, use="enc"),
        jwk(RSA, alg="RS512"),
        jwk(EC),
        {"kty": "RSA", "kid": "k1", "n": "?", "e": "AQAB"},
        {"kty": "RSA", "kid": "k1"},
        {**jwk(RSA), "kid": ["k1"]},
        "k1",
    ],
    ids=[
        *("secret", "encryption", "algorithm", "kind"),
        *("unreadable", "incomplete", "no name", "no object"),
    ],
)
def test_keys_of_other_kinds_are_not_used(unfit: Any) -> None:
    found = usable_keys({"keys": [unfit, jwk(OTHER_RSA, "good")]}, "RS256")
    assert list(found) == ["good"]


def test_a_short_key_signs_nothing(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(short)]}))
    verifier = TokenVerifier(Settings(auth="jwt", jwt_jwks=str(tmp_path / "keys.json")))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed(claims(), short, "RS256", kid="k1")
    with pytest.raises(Unauthorized):
        verifier.verify(token)


@pytest.mark.parametrize("document", [[], {}, {"keys": {}}, "x", None])
def test_what_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="key set"):
        usable_keys(document, "RS256")


Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Serves one answer on loopback and gives its address."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/keys"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_key_set_is_fetched_from_its_address(serve: Callable[[Answer], str]) -> None:
    address = serve((200, {}, json.dumps({"keys": [jwk(RSA)]}).encode()))
    verifier = TokenVerifier(Settings(auth="jwt", jwt_jwks=address))
    assert verifier.verify(signed(claims(), RSA, "RS256", kid="k1")).tenant == "alice"


def test_a_redirect_an_error_and_a_flood_give_no_keys(serve: Callable[[Answer], str]) -> None:
    good = serve((200, {}, json.dumps({"keys": [jwk(RSA)]}).encode()))
    padded = json.dumps({"keys": [jwk(RSA)], "more": "x" * 1_000_001}).encode()
    for answer in ((302, {"Location": good}, b""), (500, {}, b"{}"), (200, {}, padded)):
        verifier = TokenVerifier(Settings(auth="jwt", jwt_jwks=serve(answer)))
        with pytest.raises(Unavailable):
            verifier.verify(signed(claims(), RSA, "RS256", kid="k1"))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"jwt_algorithm": "HS256"}, "JWT_SECRET"),
        ({"jwt_algorithm": "HS256", "jwt_secret": "short"}, "JWT_SECRET"),
        ({"jwt_algorithm": "HS256", "jwt_secret": SECRET, "jwt_jwks": "x"}, "JWT_JWKS"),
        ({}, "JWT_PUBLIC_KEY"),
        ({"jwt_public_key": "/nowhere.pem"}, "JWT_PUBLIC_KEY"),
        ({"jwt_jwks": "http://id.example.com/keys"}, "JWT_JWKS"),
    ],
    ids=str,
)
def test_settings_that_do_not_suffice_are_named_and_not_shown(
    settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(WrongSetting, match=name) as caught:
        TokenVerifier(Settings(auth="jwt", **settings))
    assert SECRET not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_key_of_another_kind_in_the_file_is_refused(tmp_path: Path) -> None:
    for content in (pem(EC), b"nothing", b""):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(WrongSetting, match="JWT_PUBLIC_KEY"):
            TokenVerifier(Settings(auth="jwt", jwt_public_key=tmp_path / "key.pem"))
