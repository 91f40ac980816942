"""What every answer says to browsers."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.headers import rate_limit_fields
from shared.limits import Quota
from shared.problems import WrongSetting
from shared.settings import Settings

STATIC = Path(__file__).parents[3] / "api"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


def client_of(**settings: object) -> FlaskClient:
    return create_app(Settings(**settings)).test_client()


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/livez", "/nowhere"])
def test_every_answer_is_closed_to_what_it_does_not_need(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "Strict-Transport-Security" not in headers


def test_the_pages_keep_to_their_own_policy() -> None:
    """No script, style or handler in the page itself, and nothing from elsewhere."""
    for page in (STATIC / "templates").glob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), page.name
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), page.name
        assert not re.search(r"(src|href)=.https?:", text), page.name


def test_a_caller_over_tls_is_told_to_stay_with_it() -> None:
    answer = client_of().get("/livez", base_url="https://farm.example.com")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    off = client_of(hsts_s=0).get("/livez", base_url="https://farm.example.com")
    assert "Strict-Transport-Security" not in off.headers


@pytest.mark.parametrize(("proxies", "secure"), [(0, False), (1, True)])
def test_only_a_trusted_proxy_may_speak_of_tls(proxies: int, secure: bool) -> None:
    answer = client_of(trusted_proxies=proxies).get(
        "/livez", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    )
    assert ("Strict-Transport-Security" in answer.headers) == secure


def test_a_page_of_an_allowed_origin_may_read_the_answer_and_no_other() -> None:
    client = client_of(cors_origins="https://app.example.com, http://localhost:3000")
    for origin in ("https://app.example.com", "http://localhost:3000"):
        headers = client.get("/livez", headers={"Origin": origin}).headers
        assert headers["Access-Control-Allow-Origin"] == origin
        assert "RateLimit" in headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in headers
        assert "Origin" in headers["Vary"]
    for origin in ("https://evil.example.com", "https://app.example.com.evil.com", "null", ""):
        answer = client.get("/livez", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


def test_a_preflight_is_answered_without_a_key() -> None:
    client = client_of(auth="keys", cors_origins="https://app.example.com")
    answer = client.options("/v1/jobs", headers={"Origin": "https://app.example.com", **PREFLIGHT})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    stranger = {"Origin": "https://evil.example.com", **PREFLIGHT}
    foreign = client.options("/v1/jobs", headers=stranger)
    assert "Access-Control-Allow-Methods" not in foreign.headers
    assert "Access-Control-Allow-Headers" not in foreign.headers


def test_a_page_may_send_the_headers_its_client_adds_and_read_where_the_job_is() -> None:
    client = client_of(cors_origins="https://app.example.com")
    asked = "authorization,content-type,openai-project,user-agent,x-stainless-os"
    headers = {"Origin": "https://app.example.com", **PREFLIGHT}
    headers["Access-Control-Request-Headers"] = asked
    answer = client.options("/v1/audio/speech", headers=headers)
    assert answer.headers["Access-Control-Allow-Headers"] == asked
    shown = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Location", "Operation-Id", "Operation-Location"} <= set(shown)


def test_a_refusal_can_be_read_by_the_page_too() -> None:
    client = client_of(auth="keys", cors_origins="*")
    answer = client.get("/v1/voices", headers={"Origin": "https://any.example.com"})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "origins",
    [
        *("app.example.com", "https://app.example.com/", "null", "http://", "http://["),
        *("http://a:99999", "https://user@app.example.com"),
    ],
)
def test_what_is_no_origin_is_refused_at_start(origins: str) -> None:
    with pytest.raises(WrongSetting, match="TTSFARM_CORS_ORIGINS"):
        client_of(cors_origins=origins)


def test_the_fields_have_the_drafts_form() -> None:
    quotas = [
        Quota(subject="key:k", limit="requests", allowed=60, used=61, reset_s=7),
        Quota(subject="tenant:a", limit="jobs", allowed=5, used=2, reset_s=None),
    ]
    assert rate_limit_fields(quotas) == {
        "RateLimit-Policy": '"key-requests";q=60;w=60, "tenant-jobs";q=5',
        "RateLimit": '"key-requests";r=0;t=7, "tenant-jobs";r=3',
    }
    assert rate_limit_fields([]) == {}
