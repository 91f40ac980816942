"""Limits over HTTP: what is refused, what the headers tell, and whose limits they are."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.redis


def test_the_rate_limit_fields_tell_what_is_left(make_api: Any) -> None:
    api = make_api(auth="keys", limit_requests_per_minute=3)
    headers = api.headers("a")
    for left in (2, 1, 0):
        answer = api.client.get("/v1/voices", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"key-requests";q=3;w=60'
        name, remaining, reset = answer.headers["RateLimit"].split(";")
        assert (name, remaining) == ('"key-requests"', f"r={left}")
        assert 1 <= int(reset.removeprefix("t=")) <= 60
    refused = api.client.get("/v1/voices", headers=headers)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_requests")
    assert (refused.json["limit"], refused.json["whose"]) == ("requests", "key")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert ";r=0;" in refused.headers["RateLimit"]
    assert "quotas" not in refused.json
    assert api.client.get("/v1/voices", headers=api.headers("a")).status_code == 200
    assert api.client.get("/livez").status_code == 200


def test_calls_that_the_scope_forbids_count_as_well(make_api: Any) -> None:
    api = make_api(auth="keys", limit_requests_per_minute=2)
    headers = api.headers("a", "read")
    answers = [api.client.post("/v1/jobs", json={}, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert answers[0].headers["RateLimit"].startswith('"key-requests";r=1;')


def test_a_submit_tells_of_every_limit_it_met(make_api: Any) -> None:
    api = make_api(auth="keys", limit_daily_chars=10, limit_jobs=2, limit_tenant_chars=100)
    answer = api.client.post("/v1/jobs", json={"text": "你好。"}, headers=api.headers("a"))
    policies = answer.headers["RateLimit-Policy"].split(", ")
    assert policies == ['"tenant-chars";q=100', '"key-jobs";q=2', '"key-daily-chars";q=10;w=86400']
    left = answer.headers["RateLimit"].split(", ")
    assert left[:2] == ['"tenant-chars";r=97', '"key-jobs";r=1']
    assert left[2].startswith('"key-daily-chars";r=7;t=')


def test_without_limits_there_are_no_such_fields(api: Any) -> None:
    answer = api.client.post("/v1/jobs", json={"text": "你好。"})
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers


def test_a_keys_own_limits_go_before_the_settings(make_api: Any) -> None:
    api = make_api(auth="keys", limit_jobs=1)
    generous = api.headers("a", jobs=2)
    for _ in range(2):
        api.submit(headers=generous)
    assert api.client.post("/v1/jobs", json={"text": "三"}, headers=generous).status_code == 429
    boundless = api.headers("a", jobs=0)
    for _ in range(3):
        api.submit(headers=boundless)


def test_a_tenants_limit_holds_over_all_its_keys_and_for_nobody_else(make_api: Any) -> None:
    api = make_api(auth="keys", limit_tenant_jobs=2)
    for _ in range(2):
        api.submit(headers=api.headers("a"))
    refused = api.client.post("/v1/jobs", json={"text": "三"}, headers=api.headers("a"))
    assert (refused.status_code, refused.json["whose"]) == (429, "tenant")
    api.submit(headers=api.headers("b"))


def test_a_tenants_day_is_shared_by_all_its_keys(make_api: Any) -> None:
    api = make_api(auth="keys", limit_tenant_daily_chars=5)
    api.submit("三个字", headers=api.headers("a"))
    refused = api.client.post("/v1/jobs", json={"text": "三个字"}, headers=api.headers("a"))
    told = (refused.status_code, refused.json["limit"], refused.json["whose"])
    assert told == (429, "daily_chars", "tenant")
    api.submit("三个字", headers=api.headers("b"))


def test_without_keys_the_limits_hold_for_everybody_together(make_api: Any) -> None:
    api = make_api(limit_jobs=1, limit_requests_per_minute=2)
    api.submit()
    assert api.client.post("/v1/jobs", json={"text": "二"}).status_code == 429
    assert api.client.get("/v1/jobs").json["limit"] == "requests"


def test_a_retried_job_needs_a_place_again(make_api: Any) -> None:
    api = make_api(auth="keys", limit_jobs=1)
    headers = api.headers("a")
    first = api.submit(headers=headers)
    api.client.post(f"/v1/jobs/{first}/cancel", headers=headers)
    api.submit(headers=headers)
    assert api.client.post(f"/v1/jobs/{first}/retry", headers=headers).status_code == 429


def test_the_articles_calls_are_limited_too(make_api: Any) -> None:
    api = make_api(limit_daily_chars=2)
    answer = api.client.post("/api/tts", json={"text": "三个字"})
    assert (answer.status_code, answer.json["code"]) == (413, 413)
    api.submit("好")
    answer = api.client.post("/synthesize", data={"text": "两字"})
    assert (answer.status_code, answer.json["msg"]) == (429, "已达到使用上限, 请稍后重试")
    assert int(answer.headers["Retry-After"]) >= 1


def test_fifty_parallel_callers_get_exactly_what_one_key_may_have(make_api: Any) -> None:
    api = make_api(auth="keys", limit_jobs=11)
    headers = api.headers("a")

    def submit(number: int) -> int:
        body = {"text": f"第{number}句"}
        with api.app.test_client() as client:
            return int(client.post("/v1/jobs", json=body, headers=headers).status_code)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(50)))
    assert sorted(set(answers)) == [202, 429]
    assert answers.count(202) == 11
