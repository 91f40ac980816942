"""Audio over HTTP: whole, in ranges, under signed links, and through the article's calls."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.errors import BadAudio, EmptyAudio
from tests.walk import ready_retries

pytestmark = pytest.mark.redis


@pytest.fixture
def job(api: Any) -> str:
    made = api.submit()
    api.finish(bytes(range(256)) * 4)
    return str(made)


def test_the_audio_comes_whole_with_its_hash_as_tag(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/audio")
    assert (answer.status_code, answer.content_type) == (200, "audio/wav")
    assert answer.data == bytes(range(256)) * 4
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.data).hexdigest()}"'
    assert answer.headers["Content-Length"] == "1024"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert f'filename="{job}.wav"' in answer.headers["Content-Disposition"]


def test_a_range_comes_as_asked(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.data) == (206, bytes(range(10, 20)))
    assert answer.headers["Content-Range"] == "bytes 10-19/1024"
    assert answer.headers["Content-Length"] == "10"


def test_a_range_outside_is_a_416_that_tells_the_size(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=1024-"})
    assert (answer.status_code, answer.json["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */1024"


def test_several_ranges_are_ignored(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=0-1,4-5"})
    assert (answer.status_code, len(answer.data)) == (200, 1024)


def test_a_range_of_another_version_is_ignored(api: Any, job: str) -> None:
    tag = api.client.head(f"/v1/jobs/{job}/audio").headers["ETag"]
    for condition, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200)):
        headers = {"Range": "bytes=0-9", "If-Range": condition}
        assert api.client.get(f"/v1/jobs/{job}/audio", headers=headers).status_code == status


def test_audio_that_is_known_is_not_sent_again(api: Any, job: str) -> None:
    tag = api.client.head(f"/v1/jobs/{job}/audio").headers["ETag"]
    answer = api.client.get(f"/v1/jobs/{job}/audio", headers={"If-None-Match": f'"x", {tag}'})
    assert (answer.status_code, answer.data) == (304, b"")
    headers = {"If-None-Match": tag, "Range": "bytes=1024-"}
    assert api.client.get(f"/v1/jobs/{job}/audio", headers=headers).status_code == 304


def test_head_tells_the_size_without_the_audio(api: Any, job: str) -> None:
    answer = api.client.head(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "1024"


def test_a_job_under_way_has_no_audio_yet(api: Any) -> None:
    answer = api.client.get(f"/v1/jobs/{api.submit()}/audio")
    assert (answer.status_code, answer.json["code"]) == (409, "wrong_state")
    assert answer.json["job_status"] == "queued"


def test_audio_that_left_the_store_is_a_410(api: Any, job: str) -> None:
    api.store.delete([f"jobs/{job}/audio.wav"])
    answer = api.client.get(f"/v1/jobs/{job}/audio")
    assert (answer.status_code, answer.json["code"]) == (410, "object_missing")


def test_the_signed_link_downloads_the_audio(api: Any, job: str) -> None:
    link = urlsplit(api.client.get(f"/v1/jobs/{job}").json["audio"]["url"])
    answer = api.client.get(f"{link.path}?{link.query}")
    assert (answer.status_code, len(answer.data)) == (200, 1024)
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("old", ["signature=", "expires=", "filename=", "jobs/"])
def test_a_changed_link_is_refused(api: Any, job: str, old: str) -> None:
    link = urlsplit(api.client.get(f"/v1/jobs/{job}").json["audio"]["url"])
    changed = f"{link.path}?{link.query}".replace(old, f"{old}1", 1)
    answer = api.client.get(changed)
    assert (answer.status_code, answer.json["code"]) == (403, "link_expired")


@pytest.mark.parametrize(
    "path", ["/v1/files/jobs/x", "/v1/files/../etc/passwd?expires=x&signature=y", "/v1/files/%00"]
)
def test_a_link_that_was_not_signed_is_refused(api: Any, path: str) -> None:
    assert api.client.get(path).status_code in (403, 404)


def test_the_articles_form_answers_with_a_wav(api: Any) -> None:
    with api.working(api.finish):
        answer = api.client.post("/synthesize", data={"text": "你好。", "speed": "1.2"})
    assert (answer.status_code, answer.content_type) == (200, "audio/wav")
    assert answer.data[:4] == b"RIFF"
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_the_articles_form_may_be_json_and_its_wav_comes_in_ranges(api: Any) -> None:
    with api.working(api.finish):
        answer = api.client.post("/synthesize", json={"text": "你好。", "emotion": "happy"})
    assert (answer.status_code, answer.data[:4]) == (200, b"RIFF")
    job = api.client.get("/v1/jobs").json["jobs"][0]
    assert job["request"]["emotion"] == "happy"
    path = f"/download/{job['id']}.wav"
    part = api.client.get(path, headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.data) == (206, answer.data[4:10])
    name = part.headers["Content-Disposition"]
    assert name.startswith("attachment")
    assert ".wav" in name
    assert api.client.head(path).headers["Content-Length"] == str(len(answer.data))


def test_health_says_whether_a_model_is_loaded(api: Any) -> None:
    answer = api.client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (200, "ok")
    assert answer.json["model_loaded"] is True
    api.offer(ready=False)
    answer = api.client.get("/health")
    assert (answer.status_code, answer.json["model_loaded"]) == (503, False)


def test_the_articles_json_call_answers_with_a_link_that_downloads(api: Any) -> None:
    with api.working(api.finish):
        answer = api.client.post("/api/tts", json={"text": "你好。"})
    assert answer.status_code == 200
    url = answer.json["data"]["audio_url"]
    assert answer.json == {"code": 200, "msg": "Success", "data": {"audio_url": url}}
    assert url.startswith("/download/")
    assert url.endswith(".wav")
    assert api.client.get(url).data[:4] == b"RIFF"


def test_a_failed_synthesis_is_the_articles_500(api: Any) -> None:
    def fail_each_time() -> None:
        while claims := api.farm.claim():
            api.farm.work.fail(claims[0], BadAudio("The audio is silent."))
            ready_retries(api.farm)

    with api.working(fail_each_time):
        answer = api.client.post("/api/tts", json={"text": "你好。"})
    assert answer.status_code == 500
    assert answer.json == {"code": 500, "msg": "Synthesis failed: The audio is silent."}


def test_a_text_without_speech_is_the_articles_400(api: Any) -> None:
    with api.working(lambda: api.fail(EmptyAudio("Nothing here can be spoken."))):
        answer = api.client.post("/api/tts", json={"text": "。。。"})
    assert answer.status_code == 400
    assert answer.json == {"code": 400, "msg": "Synthesis failed: Nothing here can be spoken."}


def test_a_wrong_field_of_the_articles_calls_is_a_400_that_names_it(api: Any) -> None:
    answer = api.client.post("/api/tts", json={"text": "好", "speed": 9})
    assert (answer.status_code, answer.json["code"]) == (400, 400)
    assert answer.json["msg"].startswith("参数不正确: speed: ")
    answer = api.client.post("/synthesize", data={"text": "好", "speed": "fast"})
    assert answer.json == {"code": 400, "msg": "speed 必须是数字: 'fast'"}
    answer = api.client.post("/api/tts", json={"text": "好", "voice": "nobody"})
    assert (answer.status_code, answer.json["code"]) == (400, 400)
    assert answer.json["msg"].startswith("没有该音色: ")
    answer = api.client.post("/api/tts", data="{", content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (400, 400)
    assert answer.json["msg"].startswith("请求格式不正确: ")
    answer = api.client.post("/api/tts", json={"text": "好", "webhook_url": "http://127.0.0.1/"})
    assert (answer.status_code, answer.json["code"]) == (400, 400)
    assert answer.json["msg"].startswith("回调地址不可用: ")


def test_an_id_that_is_taken_is_the_articles_409(api: Any, job: str) -> None:
    answer = api.client.post("/api/tts", json={"text": "别的。", "id": job})
    assert answer.status_code == 409
    assert answer.json == {"code": 409, "msg": "该任务编号已被其他请求使用"}


@pytest.mark.parametrize(
    "name",
    [
        "nothing.wav",
        "..wav",
        "...wav",
        "../secret.wav",
        "..%2fsecret.wav",
        "..%5csecret.wav",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd.wav",
        "a%00.wav",
        "a.wav.wav",
        "x.mp3",
        "x",
    ],
)
def test_a_download_by_a_name_that_is_no_jobs_is_a_404(api: Any, name: str) -> None:
    assert api.client.get(f"/download/{name}").status_code == 404


def test_the_link_to_listen_plays_without_a_key_and_only_as_it_was_signed(guarded: Any) -> None:
    headers = guarded.headers("a")
    made = guarded.submit(headers=headers)
    waiting = guarded.client.get(f"/v1/jobs/{made}", headers=headers).json["links"]["listen"]
    parts = urlsplit(waiting)
    early = guarded.client.get(f"{parts.path}?{parts.query}")
    assert (early.status_code, early.json["code"]) == (409, "wrong_state")
    guarded.finish(bytes(range(256)))
    for stream in ("", "&stream=1"):
        answer = guarded.client.get(f"{parts.path}?{parts.query}{stream}")
        assert answer.status_code == 200
        assert answer.data[44:] == bytes(range(256))[44:]
    tail = guarded.client.get(f"{parts.path}?{parts.query}", headers={"Range": "bytes=250-"})
    assert (tail.status_code, tail.data) == (206, bytes(range(250, 256)))
    other = guarded.submit(headers=guarded.headers("b"))
    changed = [
        (parts.path.replace(made, other), parts.query),
        (parts.path, parts.query.replace("tenant=a", "tenant=b")),
        (parts.path, parts.query.replace("expires=", "expires=9")),
        (parts.path, ""),
    ]
    for path, query in changed:
        answer = guarded.client.get(f"{path}?{query}")
        assert (answer.status_code, answer.json["code"]) == (403, "link_expired"), (path, query)
    query = parts.query.replace("tenant=a&", "")
    answer = guarded.client.get(f"/v1/files/%00listen%00a%00{made}?{query}")
    assert (answer.status_code, answer.json["code"]) == (403, "link_expired")
