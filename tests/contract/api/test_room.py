"""A Redis that is nearly full takes no new work over HTTP, and rings for what it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import wait_until

pytestmark = pytest.mark.redis

CALLS = [
    ("/v1/jobs", {"text": "你好。"}),
    ("/v1/batches", {"inputs": [{"text": "你好。"}]}),
    ("/v1/jobs/old/retry", None),
    ("/v1/batches/b/retry", None),
]


@contextmanager
def nearly_full(client: Any) -> Iterator[None]:
    """Redis holds 95 % of what it may."""
    client.set("filler", bytes(32 << 20))  # so that a twentieth is enough for a few scripts
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used / 0.95))
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)
        client.delete("filler")


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_new_work_is_refused_while_old_work_goes_on(api: Any, path: str, body: Any) -> None:
    api.farm.submit("old")
    redis = api.farm.scripts.client
    with nearly_full(redis):
        answer = api.client.post(path, json=body)
        assert (answer.status_code, answer.json["code"]) == (503, "state_store_full")
        assert answer.headers["Retry-After"] == "30"
        api.finish()
    assert api.client.get("/v1/jobs/old").json["status"] == "succeeded"


def test_what_was_accepted_before_is_answered_again(api: Any) -> None:
    job, batch = {"text": "你好。", "id": "j"}, {"inputs": [{"text": "你好。"}], "id": "b"}
    first = [api.client.post("/v1/jobs", json=job), api.client.post("/v1/batches", json=batch)]
    api.app.extensions["ttsfarm"].room._good_until_s = 0.0
    with nearly_full(api.farm.scripts.client):
        again = [api.client.post("/v1/jobs", json=job), api.client.post("/v1/batches", json=batch)]
    assert [answer.status_code for answer in again] == [202, 202]
    assert [answer.json["id"] for answer in again] == [answer.json["id"] for answer in first]


def test_bells_of_accepted_work_still_have_room(api: Any) -> None:
    with nearly_full(api.farm.scripts.client):
        bells = api.app.extensions["ttsfarm"].bells
        bells.ring("fake")
        wait_until(lambda: api.farm.presence.lanes()[0].bells == 1, 60)
