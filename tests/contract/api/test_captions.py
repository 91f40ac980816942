"""Captions over HTTP: each format, for who submitted the job, once it is done."""

import json
from typing import Any

import pytest
import webvtt

from shared.captions import HEAD, TAIL
from shared.schemas import AudioResult, CaptionsResult, JobRequest
from tests.walk import result

pytestmark = pytest.mark.redis

SENTENCES = [
    {
        "start_ms": 20,
        "end_ms": 620,
        "text": "你好。",
        "words": [
            {"start_ms": 20, "end_ms": 320, "text": "你"},
            {"start_ms": 320, "end_ms": 620, "text": "好。"},
        ],
    },
    {
        "start_ms": 2_020,
        "end_ms": 2_320,
        "text": "再见",
        "words": [{"start_ms": 2_020, "end_ms": 2_320, "text": "再见"}],
    },
]
DATA = (
    HEAD + ",\n".join(json.dumps(one, separators=(",", ":")) for one in SENTENCES) + TAIL
).encode()


def assemble(api: Any, *, captions: bool = True) -> None:
    """Does the work of the next job: its audio, and the captions above in the store."""
    api.farm.plan(1)
    (claim,) = api.farm.claim()
    api.farm.work.finish_segment(claim, result(claim))
    (assembly,) = api.farm.claim()
    audio = AudioResult(
        key=f"jobs/{assembly.job}/audio.wav",
        duration_ms=2_400,
        size_bytes=3,
        sha256="aa",
        format="wav",
        sample_rate_hz=16_000,
    )
    made = CaptionsResult(
        key=f"jobs/{assembly.job}/captions-ab.json", size_bytes=len(DATA), sha256="ab"
    )
    api.store.put(audio.key, b"abc", "audio/wav")
    api.store.put(made.key, DATA, "application/json")
    api.farm.work.finish_assembly(assembly, audio, made if captions else None)


@pytest.fixture
def job(api: Any) -> str:
    made = api.submit(captions=True)
    assemble(api)
    return str(made)


def test_the_job_says_where_its_captions_are(api: Any, job: str) -> None:
    found = api.client.get(f"/v1/jobs/{job}").json["captions"]
    assert set(found) == {"json", "srt", "vtt", "lrc"}
    for name, url in found.items():
        path = url[url.index("/v1/") :]
        assert path == f"/v1/jobs/{job}/captions.{name}"
        assert api.client.get(path).status_code == 200


def test_json_comes_as_it_was_written(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/captions.json")
    assert answer.content_type == "application/json"
    assert answer.json == {"sentences": SENTENCES}
    part = api.client.get(f"/v1/jobs/{job}/captions.json", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.data) == (206, DATA[:10])


def test_webvtt_is_made_of_it(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/captions.vtt")
    assert answer.content_type == "text/vtt; charset=utf-8"
    assert f'filename="{job}.vtt"' in answer.headers["Content-Disposition"]
    found = [(one.start, one.end, one.text) for one in webvtt.from_string(answer.text)]
    assert found == [
        ("00:00:00.020", "00:00:01.020", "你好。"),
        ("00:00:02.020", "00:00:02.400", "再见"),
    ]
    worded = api.client.get(f"/v1/jobs/{job}/captions.vtt?words=1")
    assert "你<00:00:00.320>好。" in worded.text
    assert worded.headers["ETag"] != answer.headers["ETag"]


def test_subrip_and_lyrics_are_made_of_it(api: Any, job: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/captions.srt")
    assert answer.content_type == "application/x-subrip; charset=utf-8"
    assert answer.text.startswith("1\n00:00:00,020 --> 00:00:01,020\n你好。\n\n2\n")
    lyrics = api.client.get(f"/v1/jobs/{job}/captions.lrc")
    assert lyrics.text.splitlines() == [
        "[00:00.02]你好。",
        "[00:01.02]",
        "[00:02.02]再见",
        "[00:02.40]",
    ]


@pytest.mark.parametrize("name", ["json", "srt"])
def test_captions_that_are_known_are_not_sent_again(api: Any, job: str, name: str) -> None:
    tag = api.client.head(f"/v1/jobs/{job}/captions.{name}").headers["ETag"]
    headers = {"If-None-Match": tag}
    answer = api.client.get(f"/v1/jobs/{job}/captions.{name}", headers=headers)
    assert (answer.status_code, answer.data) == (304, b"")


def test_a_job_without_captions_says_how_to_get_some(api: Any) -> None:
    made = api.submit()
    api.finish()
    answer = api.client.get(f"/v1/jobs/{made}/captions.srt")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert '"captions": true' in answer.json["detail"]
    assert api.client.get(f"/v1/jobs/{made}").json["captions"] is None


def test_a_job_under_way_has_no_captions_yet(api: Any) -> None:
    made = api.submit(captions=True)
    answer = api.client.get(f"/v1/jobs/{made}/captions.vtt")
    assert (answer.status_code, answer.json["code"]) == (409, "wrong_state")


def test_a_job_finished_without_captions_says_so(api: Any) -> None:
    made = api.submit(captions=True)
    assemble(api, captions=False)
    answer = api.client.get(f"/v1/jobs/{made}/captions.vtt")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert "submit it again" in answer.json["detail"]


def test_another_tenants_captions_are_not_found(api: Any) -> None:
    api.farm.submit("other-job", tenant="other", captions=True)
    assemble(api)
    assert api.farm.jobs.job("other", "other-job").captions is not None
    assert api.client.get("/v1/jobs/other-job/captions.srt").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("captions.txt", 404, "not_found"),
        ("captions.", 404, "not_found"),
        ("captions.vtt?words=yes", 422, "invalid_request"),
        ("captions.vtt?lines=1", 422, "invalid_request"),
    ],
)
def test_what_there_is_not_is_refused(
    api: Any, job: str, path: str, status: int, code: str
) -> None:
    answer = api.client.get(f"/v1/jobs/{job}/{path}")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert status == 404 or answer.json["errors"][0]["field"] in path


def test_captions_that_left_the_store_are_a_410(api: Any, job: str) -> None:
    api.store.delete([f"jobs/{job}/captions-ab.json"])
    for name in ("json", "vtt"):
        answer = api.client.get(f"/v1/jobs/{job}/captions.{name}")
        assert (answer.status_code, answer.json["code"]) == (410, "object_missing")


def test_the_request_keeps_what_was_asked(api: Any) -> None:
    made = api.submit(captions=True)
    request: JobRequest = api.farm.jobs.job("default", made).request
    assert request.captions is True
