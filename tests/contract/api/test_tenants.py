"""Keys over HTTP: who gets in, what a scope allows, and that tenants see only what is theirs."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from flask import Flask
from werkzeug.routing import Rule

from api.answers import operation_of
from api.guards import METRICS, PUBLIC
from api.routes.client import wheel_name
from shared.links import FILES_PATH
from shared.predictions import version_id
from shared.tenants import KeyStore, Scope
from tests.contract.api.test_captions import assemble

pytestmark = pytest.mark.redis

MARK = "只属于甲"
# What every tenant has alike: the voices, as models of the dialects.
MODEL = {"owner": "ttsfarm", "model": "fake", "version": version_id("fake")}


def calls(app: Flask) -> Iterator[tuple[str, Rule]]:
    """Every route with each of its methods."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            yield method, rule


class Owned:
    """What tenant `a` has: a finished job with audio and a webhook, and one under way."""

    def __init__(self, api: Any) -> None:
        self.headers = api.headers("a")
        fields = {"metadata": {"mark": MARK}, "webhook_url": "https://example.com/hook?t=mine"}
        self.done = api.submit(headers=self.headers, captions=True, **fields)
        assemble(api)
        body = {"id": "batch-of-a", "inputs": [{"text": "好", "metadata": fields["metadata"]}]}
        assert api.client.post("/v1/batches", json=body, headers=self.headers).status_code == 202
        api.finish()
        self.waiting = api.submit(headers=self.headers, id="lesson-of-a", **fields)
        synthesis = {
            "inputKind": "PlainText",
            "inputs": [{"content": MARK}],
            "synthesisConfig": {"voice": "fake"},
            "description": MARK,
        }
        path = "/texttospeech/batchsyntheses/synthesis-of-a"
        made = api.client.put(
            path, json=synthesis, headers={**self.headers, "Operation-Id": "operation-of-a"}
        )
        assert made.status_code == 201
        get = api.client.get
        self.delivery = get("/v1/webhooks/deliveries", headers=self.headers).json["deliveries"][0]
        self.secret = get("/v1/webhooks/secret", headers=self.headers).json["secret"]
        self.values = {
            "job_id": self.done,
            "delivery_id": self.delivery["id"],
            "name": f"{self.done}.wav",
            "key": f"jobs/{self.done}/audio.wav",
            "filename": "farm.js",
            "batch_id": "batch-of-a",
            "caption_format": "srt",
            "wheel": wheel_name(),
            "prediction_id": self.done,
            "synthesis_id": "synthesis-of-a",
            "operation_id": "operation-of-a",
            **MODEL,
        }

    def path(self, rule: Rule) -> str:
        return str(rule.build({name: self.values[name] for name in rule.arguments})[1])

    def marks(self) -> list[str]:
        return [
            *(MARK, json.dumps(MARK), self.done, self.waiting, self.secret),
            *("example.com/hook", "batch-of-a", "synthesis-of-a", "operation-of-a"),
        ]


def ask(api: Any, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    """The answer, read whole: files are closed again."""
    return api.client.open(path, method=method, headers=headers, buffered=True)


@pytest.fixture
def owned(guarded: Any) -> Owned:
    return Owned(guarded)


def test_every_route_asks_for_a_scope_or_is_public_on_purpose(guarded: Any) -> None:
    views = guarded.app.view_functions
    for _, rule in calls(guarded.app):
        operation = operation_of(views[rule.endpoint])
        needs = operation.scope if operation else None
        assert (needs is None) == (rule.endpoint in PUBLIC), rule
    assert set(views) >= PUBLIC | {METRICS}


def test_a_route_that_says_nothing_is_closed_to_everybody(guarded: Any, api: Any) -> None:
    for one in (guarded, api):
        one.app._got_first_request = False
        one.app.add_url_rule("/v1/forgotten", "forgotten", lambda: "open")
        answer = one.client.get("/v1/forgotten", headers=guarded.headers("a"))
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_without_a_key_only_what_is_public_answers(guarded: Any, owned: Owned) -> None:
    for method, rule in calls(guarded.app):
        answer = ask(guarded, method, owned.path(rule))
        if rule.endpoint in PUBLIC:
            assert answer.status_code in (200, 403), rule  # 403: a link that is not signed
        else:
            assert answer.status_code == 401, (method, rule)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ttsfarm"'
        assert not any(mark.encode() in answer.data for mark in owned.marks())


def test_another_tenant_finds_nothing_on_any_route(guarded: Any, owned: Owned) -> None:
    before = guarded.client.get(f"/v1/jobs/{owned.done}", headers=owned.headers).json
    path = f"/v1/webhooks/deliveries/{owned.delivery['id']}"
    message = guarded.client.get(path, headers=owned.headers).json
    stranger = guarded.headers("b", "submit", "read")
    for method, rule in calls(guarded.app):
        answer = ask(guarded, method, owned.path(rule), headers=stranger)
        if rule.arguments - {"filename", "wheel", *MODEL} and method != "PUT":  # that makes one
            assert answer.status_code in (403, 404), (method, rule)
        said = answer.data.decode(errors="replace")  # the client's wheel is no text
        for name in rule.arguments:  # what the stranger itself gave may be repeated
            said = said.replace(owned.values[name], "")
        assert not any(mark in said for mark in owned.marks()), (method, rule)
    after = guarded.client.get(f"/v1/jobs/{owned.done}", headers=owned.headers).json
    links = ("audio", "links")
    assert {k: v for k, v in after.items() if k not in links} == {
        k: v for k, v in before.items() if k not in links
    }
    assert guarded.client.get(path, headers=owned.headers).json == message


def test_its_own_tenant_finds_all_of_it(guarded: Any, owned: Owned) -> None:
    """Another key of the tenant: what the stranger's walk did not find is there to be found."""
    other_key = guarded.headers("a")
    for method, rule in calls(guarded.app):
        if method == "GET" and rule.arguments and rule.endpoint not in PUBLIC:
            answer = ask(guarded, "GET", owned.path(rule), headers=other_key)
            assert answer.status_code == 200, rule
    listed = guarded.client.get("/v1/jobs", headers=other_key).json["jobs"]
    assert {job["id"] for job in listed if job["batch"] is None} == {owned.done, owned.waiting}
    assert {job["batch"] for job in listed} == {None, "batch-of-a", "synthesis-of-a"}


@pytest.mark.parametrize("scope", Scope)
def test_a_key_reaches_the_routes_of_its_scope_and_no_others(
    guarded: Any, owned: Owned, scope: Scope
) -> None:
    headers = guarded.headers("b", scope.value)
    views = guarded.app.view_functions
    for method, rule in calls(guarded.app):
        if rule.endpoint in PUBLIC:
            continue
        answer = ask(guarded, method, owned.path(rule), headers=headers)
        operation = operation_of(views[rule.endpoint])
        assert operation
        if operation.scope is scope:
            assert answer.status_code not in (401, 403), (method, rule)
        else:
            assert answer.status_code == 403, (method, rule)
            if method != "HEAD" and answer.content_type == "application/problem+json":
                assert answer.json["scope"] == operation.scope


@pytest.mark.parametrize(
    "name", ["Authorization: Bearer ", "Authorization: token ", "X-API-Key: ",
             "Ocp-Apim-Subscription-Key: "]
)  # fmt: skip
def test_a_key_is_taken_from_the_headers_clients_send(guarded: Any, name: str) -> None:
    key = guarded.headers("a")["Authorization"].removeprefix("Bearer ")
    header, _, prefix = name.partition(": ")
    answer = guarded.client.get("/v1/voices", headers={header: prefix + key})
    assert answer.status_code == 200
    assert guarded.client.get(f"/v1/voices?key={key}").status_code == 401


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer ttsfarm_x", "Bearer \x7f", "Bearer 密",
     "Bearer " + "ttsfarm_000000000000_" + "0" * 64, "Bearer " + "x" * 9000, "Bearer a.b.c"],
)  # fmt: skip
def test_what_is_no_key_gets_a_401(guarded: Any, given: str) -> None:
    headers = {"Authorization": given.encode().decode("latin-1")}
    answer = guarded.client.get("/v1/voices", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


def test_a_changed_secret_is_refused_and_a_revoked_key_is_too(make_api: Any) -> None:
    first = make_api(auth="keys")
    headers = first.headers("a")
    changed = headers["Authorization"][:-1] + ("0" if headers["Authorization"][-1] != "0" else "1")
    assert first.client.get("/v1/voices", headers={"Authorization": changed}).status_code == 401
    assert first.client.get("/v1/voices", headers=headers).status_code == 200
    store = KeyStore(first.farm.scripts)
    (key,) = store.all()
    assert store.revoke(key.id)
    assert make_api(auth="keys").client.get("/v1/voices", headers=headers).status_code == 401


def test_the_same_idempotency_key_is_each_tenants_own(guarded: Any) -> None:
    key = {"Idempotency-Key": "a:b"}
    ids = {
        guarded.submit("一", headers={**guarded.headers(tenant), **key}) for tenant in ("a", "b")
    }
    assert len(ids) == 2


def test_an_id_another_tenant_chose_is_refused_without_a_word_about_it(
    guarded: Any, owned: Owned
) -> None:
    answer = guarded.client.post(
        "/v1/jobs", json={"text": "别的", "id": owned.waiting}, headers=guarded.headers("b")
    )
    assert answer.status_code == 409
    assert not any(mark.encode() in answer.data for mark in owned.marks())


def test_a_signed_link_needs_no_key_and_opens_nothing_else(guarded: Any, owned: Owned) -> None:
    job = guarded.client.get(f"/v1/jobs/{owned.done}", headers=owned.headers).json
    link = urlsplit(job["audio"]["url"])
    assert guarded.client.get(f"{link.path}?{link.query}").status_code == 200
    other = f"{FILES_PATH}jobs/{owned.waiting}/audio.wav?{link.query}"
    assert guarded.client.get(other).status_code == 403


def test_metrics_need_admin_unless_they_are_open(make_api: Any) -> None:
    closed, opened = make_api(auth="keys"), make_api(auth="keys", metrics_open=True)
    assert closed.client.get("/metrics").status_code == 401
    assert closed.client.get("/metrics", headers=closed.headers("a", "read")).status_code == 403
    assert closed.client.get("/metrics", headers=closed.headers("a", "admin")).status_code == 200
    assert opened.client.get("/metrics").status_code == 200


def test_the_articles_calls_refuse_in_chinese(guarded: Any) -> None:
    answer = guarded.client.post("/api/tts", json={"text": "你好"})
    assert (answer.status_code, answer.json["code"]) == (401, 401)
    assert "访问密钥" in answer.json["msg"]


def test_no_answer_sets_a_cookie(guarded: Any, owned: Owned) -> None:
    for method, rule in calls(guarded.app):
        answer = ask(guarded, method, owned.path(rule), headers=guarded.headers("b"))
        assert "Set-Cookie" not in answer.headers, rule


SECRET = "0123456789abcdef0123456789abcdef"


def test_a_token_opens_its_own_tenants_things(make_api: Any) -> None:
    api = make_api(auth="jwt", jwt_algorithm="HS256", jwt_secret=SECRET)

    def headers(**changes: object) -> dict[str, str]:
        values = {
            "sub": "auth0|7",
            "aud": "ttsfarm",
            "exp": time.time() + 600,
            "scope": "submit read",
        }
        token = jwt.encode({**values, **changes}, SECRET, "HS256")
        return {"Authorization": f"Bearer {token}"}

    job = api.submit(headers=headers())
    assert api.client.get(f"/v1/jobs/{job}", headers=headers()).status_code == 200
    assert api.client.get(f"/v1/jobs/{job}", headers=headers(sub="auth0|8")).status_code == 404
    assert api.client.get(f"/v1/jobs/{job}", headers=headers(scope="submit")).status_code == 403
    assert api.client.get(f"/v1/jobs/{job}", headers=headers(exp=1)).status_code == 401
    assert api.client.get(f"/v1/jobs/{job}").status_code == 401
    key = api.headers("auth0%7C7")
    assert api.client.get(f"/v1/jobs/{job}", headers=key).status_code == 401
