"""/v1/batches over HTTP, on a real Redis and a real directory."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from shared.batches import BatchHead
from shared.connection import Scripts
from shared.errors import EmptyAudio
from shared.settings import Settings
from tests.conftest import wait_until
from tests.contract.api.conftest import Api

pytestmark = pytest.mark.redis

KEY = {"Idempotency-Key": "k1"}
LINES = "application/jsonl"


def post(api: Any, *inputs: Any, headers: dict[str, str] | None = None, **head: Any) -> Any:
    body = {"inputs": list(inputs), **head}
    answer = api.client.post("/v1/batches", json=body, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer


def show(api: Any, batch_id: str, query: str = "") -> Any:
    return api.client.get(f"/v1/batches/{batch_id}{query}").json


def test_a_batch_is_accepted_spoken_and_fetched_as_one(api: Any) -> None:
    answer = post(api, "你好", {"text": "世界", "name": "二", "format": "mp3"}, id="lesson",
                  defaults={"emotion": "happy"}, metadata={"课": "一"})  # fmt: skip
    assert answer.status_code == 202
    assert answer.headers["Location"].endswith("/v1/batches/lesson")
    assert answer.json["counts"]["total"] == answer.json["counts"]["queued"] == 2
    assert "你好" not in answer.text
    results = api.client.get("/v1/batches/lesson/results.zip")
    assert (results.status_code, results.json["code"]) == (409, "wrong_state")
    made = [api.finish(), api.finish()]
    done = show(api, "lesson", "?wait=5")
    assert (done["status"], done["counts"]["succeeded"], done["audio_s"]) == ("completed", 2, 0.2)
    results = api.client.get("/v1/batches/lesson/results.zip")
    assert results.headers["Content-Type"] == "application/zip"
    assert results.headers["Content-Disposition"] == 'attachment; filename="lesson.zip"'
    with zipfile.ZipFile(io.BytesIO(results.data)) as archive:
        rows = json.loads(archive.read("manifest.json"))
        assert [row["file"] for row in rows] == ["00001.wav", "二.mp3"]
        digests = [hashlib.sha256(archive.read(row["file"])).hexdigest() for row in rows]
    assert digests == [row["sha256"] for row in rows] == [one.sha256 for one in made]


def test_what_is_there_can_be_fetched_before_the_end(api: Any) -> None:
    batch_id = post(api, "一", "二").json["id"]
    api.finish()
    results = api.client.get(f"/v1/batches/{batch_id}/results.zip?partial=1")
    with zipfile.ZipFile(io.BytesIO(results.data)) as archive:
        rows = json.loads(archive.read("manifest.json"))
    assert [(row["status"], row["file"]) for row in rows] == [
        ("succeeded", "00001.wav"),
        ("queued", ""),
    ]
    assert api.client.get(f"/v1/batches/{batch_id}/results.zip?partial=yes").status_code == 422
    head = api.client.head(f"/v1/batches/{batch_id}/results.zip?partial=1")
    assert (head.status_code, head.data) == (200, b"")
    assert "Content-Length" not in head.headers


def test_json_and_lines_with_one_key_are_one_batch(api: Any) -> None:
    first = post(api, "一", {"text": "二"}, defaults={"speed": 2}, headers=KEY)
    lines = '{"batch": {"defaults": {"speed": 2}}}\n"一"\n\n{"text": "二"}\n'
    again = api.client.post("/v1/batches", data=lines, content_type=LINES, headers=KEY)
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])
    assert len(api.client.get("/v1/jobs").json["jobs"]) == 2
    other = api.client.post("/v1/batches", json={"inputs": ["三"]}, headers=KEY)
    assert (other.status_code, other.json["code"]) == (409, "idempotency_conflict")


def test_the_same_key_with_another_id_is_a_409(api: Any) -> None:
    for batch_id, status in (("a", 202), ("b", 409), ("a", 202)):
        body = {"id": batch_id, "inputs": ["一"]}
        answer = api.client.post("/v1/batches", json=body, headers=KEY)
        assert answer.status_code == status
    assert api.client.get("/v1/batches/b").status_code == 404
    again = api.client.post("/v1/batches", json={"inputs": ["一"]}, headers=KEY)
    assert (again.status_code, again.json["id"]) == (202, "a")


def test_a_second_line_of_settings_is_at_fault(api: Any) -> None:
    lines = '{"batch": {"id": "mine"}}\n{"batch": {"accept": "all"}}\n"一"\n'
    answer = api.client.post("/v1/batches", data=lines, content_type=LINES)
    assert (answer.status_code, answer.json["inputs_at_fault"]) == (422, 1)
    assert (answer.json["errors"][0]["line"], answer.json["errors"][0]["field"]) == (2, "batch")


def test_one_bad_line_refuses_all_and_every_bad_line_is_named(api: Any) -> None:
    lines = '"一"\nnope\n{"text": "", "name": "x"}\n{"text": "二", "voice": "nobody"}\n'
    answer = api.client.post("/v1/batches", data=lines, content_type=LINES)
    assert (answer.status_code, answer.json["inputs_at_fault"]) == (422, 3)
    told = [(fault["line"], fault["field"]) for fault in answer.json["errors"]]
    assert told == [(2, "line"), (3, "text"), (4, "voice")]
    assert api.client.get("/v1/jobs").json["jobs"] == []
    assert api.client.get("/v1/batches").json["batches"] == []


def test_bad_lines_are_left_out_where_that_was_asked(api: Any) -> None:
    answer = post(api, "一", "", "三", accept="valid")
    assert answer.json["rejected"]["count"] == 1
    assert answer.json["counts"]["total"] == 2
    assert [e["input"] for e in show(api, answer.json["id"])["rejected"]["errors"]] == [2]
    names = [job["name"] for job in api.client.get("/v1/jobs").json["jobs"]]
    assert names == ["00003", "00001"]
    none = api.client.post("/v1/batches", json={"inputs": [""], "accept": "valid"})
    assert none.status_code == 422


def test_jobs_of_a_batch_are_ordinary_jobs_with_a_filter(api: Any) -> None:
    alone = api.submit()
    batch_id = post(api, "一", "二", "三").json["id"]
    assert api.client.get(f"/v1/jobs/{alone}").json["batch"] is None
    page = api.client.get(f"/v1/jobs?batch={batch_id}&limit=2").json
    assert [job["name"] for job in page["jobs"]] == ["00003", "00002"]
    rest = api.client.get(f"/v1/jobs?batch={batch_id}&limit=2&cursor={page['next_cursor']}").json
    assert [job["name"] for job in rest["jobs"]] == ["00001"]
    assert rest["next_cursor"] is None
    assert {job["request"]["priority"] for job in page["jobs"]} == {"low"}


def test_a_waiter_is_told_of_the_end(api: Any) -> None:
    batch_id = post(api, "一").json["id"]
    with api.working(api.finish):
        assert show(api, batch_id, "?wait=30")["status"] == "completed"


def test_events_end_with_the_batch(api: Any) -> None:
    batch_id = post(api, "一").json["id"]
    answer = api.client.get(f"/v1/batches/{batch_id}/events", buffered=False)
    events = iter(answer.response)
    next(events)
    first = next(events)
    assert b"event: state" in first
    api.finish()
    rest = b"".join(events).decode()
    assert '"status": "completed"' in rest.rsplit("data: ", 1)[1]
    answer.close()


def test_cancel_retry_and_delete(api: Any) -> None:
    batch_id = post(api, "一", "二").json["id"]
    api.fail(EmptyAudio())
    canceled = api.client.post(f"/v1/batches/{batch_id}/cancel")
    assert (canceled.status_code, canceled.json["status"]) == (200, "canceled")
    again = api.client.post(f"/v1/batches/{batch_id}/retry?status=canceled,failed")
    assert (again.status_code, again.json["counts"]["canceled"]) == (202, 0)
    api.finish()
    api.finish()
    assert show(api, batch_id)["counts"]["succeeded"] == 2
    assert api.client.post(f"/v1/batches/{batch_id}/cancel").status_code == 409
    assert api.client.post(f"/v1/batches/{batch_id}/retry?status=sad").status_code == 422
    assert api.client.delete(f"/v1/batches/{batch_id}").status_code == 204
    for call in (api.client.get, api.client.delete):
        assert call(f"/v1/batches/{batch_id}").status_code == 404
    assert api.client.get("/v1/jobs").json["jobs"] == []


@pytest.fixture
def narrow(scripts: Scripts, farm_settings: Settings) -> Iterator[Api]:
    """A farm that takes small batches."""
    changes = {"default_voice": "fake", "max_batch_inputs": 3, "max_batch_bytes": 2000}
    made = Api(scripts, farm_settings.model_copy(update=changes))
    made.offer()
    yield made
    made.app.extensions["ttsfarm"].close()


def test_limits_of_inputs_and_bytes(narrow: Api) -> None:
    many = narrow.client.post("/v1/batches", json={"inputs": ["x"] * 4})
    assert (many.status_code, many.json["code"]) == (413, "body_too_large")
    assert "more than 3 inputs" in many.json["detail"]
    for kind in (LINES, "application/json"):
        data = json.dumps({"inputs": ["x" * 3000]})
        large = narrow.client.post("/v1/batches", data=data, content_type=kind)
        assert (large.status_code, large.json["code"]) == (413, "body_too_large")
        assert "2000 bytes" in large.json["detail"]


def test_a_batch_that_broke_off_is_seen_by_its_name_alone(api: Any) -> None:
    api.farm.batches.open(BatchHead(id="half", tenant="default", fingerprint="f"), "stem")
    assert show(api, "half")["status"] == "storing"
    assert api.client.get("/v1/batches").json["batches"] == []


def test_two_callers_with_one_key_make_one_batch(api: Any) -> None:
    body = {"inputs": [f"第{i}句。" for i in range(250)]}
    found: list[Any] = []

    def send() -> None:
        client = api.app.test_client()
        found.append(client.post("/v1/batches", json=body, headers=KEY))

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in found} == {202}
    assert len({answer.json["id"] for answer in found}) == 1
    batch_id = found[0].json["id"]
    wait_until(lambda: show(api, batch_id)["counts"]["queued"] == 250, 30)
    assert api.farm.presence.lanes()[0].depth_bulk == 250
