"""What is sent to break something: strange numbers everywhere, and more waiting than there is."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

pytestmark = pytest.mark.redis

HUGE = "9" * 6000
STRANGE = (
    HUGE,
    f"{'0' * 6000}1",
    "٣",
    "３",
    "²",
    "1_0",
    "-1",
    "1e999",
    "nan",
    "",
    "0x1",
    "1\u00a0",
)


@pytest.fixture
def job(api: Any) -> str:
    job = api.submit()
    api.finish()
    return str(job)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/jobs?cursor={}.a", "/v1/jobs?limit={}", "/v1/batches?cursor={}.a"),
        *("/v1/batches?limit={}", "/v1/webhooks/deliveries?cursor={}:a"),
        *(
            "/v1/webhooks/deliveries?limit={}",
            "/v1/jobs/{job}?wait={}",
            "/v1/predictions?cursor={}",
        ),
        *("/v1/jobs/{job}/audio?stream=1&from_segment={}", "/v1/files/a?expires={}&signature=a"),
        *("/v1/listen/{job}?tenant=default&expires={}&signature=a", "/v1/jobs/{job}/events?x={}"),
    ],
)
def test_a_strange_number_in_an_address_is_refused_or_read(api: Any, job: str, path: str) -> None:
    for number in STRANGE:
        with api.client.get(path.replace("{job}", job).replace("{}", number)) as answer:
            assert answer.status_code in (200, 206, 403, 404, 422), number[:20]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Range", "bytes={}-"), ("Range", "bytes=-{}"), ("Range", "bytes=0-{}"), ("Range", "{}")),
        *(("If-Range", "{}"), ("If-None-Match", '"{}"')),
    ],
)
def test_a_strange_number_in_a_header_of_a_download_is_heeded_or_left_out(
    api: Any, job: str, name: str, value: str
) -> None:
    for number in STRANGE:
        given = {name: value.replace("{}", number).encode("utf-8").decode("latin-1")}
        for path in (f"/v1/jobs/{job}/audio", f"/v1/jobs/{job}/audio?stream=1"):
            with api.client.get(path, headers=given) as answer:
                assert answer.status_code in (200, 206, 304, 416), number[:20]


def test_a_strange_number_in_a_preference_is_left_out(api: Any, job: str) -> None:
    for number in STRANGE:
        text = number.encode("utf-8").decode("latin-1")
        given = {"Prefer": f"wait={text}", "Last-Event-ID": text}
        assert api.client.get(f"/v1/jobs/{job}/events", headers=given).status_code == 200
        never = {"Prefer": f"wait={text}x"}
        assert api.client.post("/v1/jobs", json={"text": "一"}, headers=never).status_code == 202
        nothing = {"input": {"text": ""}}
        assert api.client.post("/v1/predictions", json=nothing, headers=given).status_code == 422


def test_who_follows_many_jobs_leaves_places_for_other_tenants(
    make_api: Callable[..., Any],
) -> None:
    api = make_api(auth="keys", api_threads=8)  # 6 places
    greedy, modest = api.headers("greedy"), api.headers("modest")
    theirs, ours = api.submit(headers=greedy), api.submit(headers=modest)

    def follow(job: str, headers: dict[str, str]) -> Any:
        return api.client.get(f"/v1/jobs/{job}/events", headers=headers, buffered=False)

    with ExitStack() as ends:
        statuses = []
        for _ in range(9):
            answer = follow(theirs, greedy)
            ends.callback(answer.close)
            statuses.append(answer.status_code)
        assert statuses == [200] * 3 + [503] * 6
        assert answer.headers["Retry-After"] == "5"
        other = follow(ours, modest)
        ends.callback(other.close)
        assert other.status_code == 200
        # A long poll without a place answers at once, and everything else is served.
        assert api.client.get(f"/v1/jobs/{theirs}?wait=60", headers=greedy).status_code == 200
        assert api.client.get("/v1/jobs", headers=greedy).status_code == 200
    assert api.app.extensions["ttsfarm"].slots.taken == 0
