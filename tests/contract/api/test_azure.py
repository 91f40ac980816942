"""Azure's batch synthesis over the whole API: states, pages, results, keys, limits."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shared.captions import HEAD, TAIL, Sentence, Word
from shared.errors import TextRefused
from shared.schemas import AudioResult, CaptionsResult, Claim
from tests.contract.api.conftest import wav
from tests.walk import result

pytestmark = pytest.mark.redis

PATH = "/texttospeech/batchsyntheses"
PLAIN: dict[str, Any] = {
    "inputKind": "PlainText",
    "inputs": [{"content": "你好。"}, {"content": "再见。"}],
    "synthesisConfig": {"voice": "zh-CN-XiaoxiaoNeural"},
}
BOTH = {"wordBoundaryEnabled": True, "sentenceBoundaryEnabled": True}
SENTENCES = (
    Sentence(
        words=(
            Word(start_ms=0, end_ms=40, text="“你"),
            Word(start_ms=40, end_ms=70, text="好”，"),
            Word(start_ms=70, end_ms=100, text="OK "),
        )
    ),
    Sentence(words=(Word(start_ms=100, end_ms=100, text="……"),)),
)


def put(api: Any, name: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return api.client.put(f"{PATH}/{name}", json=body or PLAIN, headers=given)


def show(api: Any, name: str) -> Any:
    return api.client.get(f"{PATH}/{name}").json


def finish_captioned(api: Any, sentences: tuple[Sentence, ...] = SENTENCES) -> None:
    """Does the next job's work and writes its captions too."""
    api.farm.plan(1)
    (claim,) = api.farm.claim()
    api.farm.work.finish_segment(claim, result(claim))
    (assembly,) = api.farm.claim()
    api.store.put(f"jobs/{assembly.job}/audio.wav", wav(), "audio/wav")
    lines = ",\n".join(json.dumps(one.view()) for one in sentences)
    data = f"{HEAD}{lines}{TAIL}".encode()
    key = f"jobs/{assembly.job}/captions.json"
    api.store.put(key, data, "application/json")
    api.farm.work.finish_assembly(
        assembly, audio(assembly), CaptionsResult(key=key, size_bytes=len(data), sha256="0")
    )


def audio(assembly: Claim) -> AudioResult:
    return AudioResult(
        key=f"jobs/{assembly.job}/audio.wav",
        duration_ms=100,
        size_bytes=len(wav()),
        sha256="0",
        format="wav",
        sample_rate_hz=16000,
    )


def unpacked(api: Any, name: str) -> dict[str, bytes]:
    answer = api.client.get(show(api, name)["outputs"]["result"])
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert found.testzip() is None
        return {one: found.read(one) for one in found.namelist()}


def test_a_synthesis_is_a_batch_from_its_beginning_to_its_end(api: Any) -> None:
    made = put(api, "my.job-1")
    assert (made.status_code, made.json["status"]) == (201, "NotStarted")
    assert "outputs" not in made.json
    assert "sizeInBytes" not in made.json["properties"]
    assert api.client.get("/v1/batches/my.job-1").json["counts"]["queued"] == 2
    api.farm.plan(1)
    running = show(api, "my.job-1")
    assert running["status"] == "Running"
    assert running["lastActionDateTime"] >= running["createdDateTime"]
    (claim,) = api.farm.claim()
    api.farm.work.finish_segment(claim, result(claim))
    (assembly,) = api.farm.claim()
    assert (assembly.request.voice, assembly.request.sample_rate_hz) == ("fake", 24000)
    api.store.put(f"jobs/{assembly.job}/audio.wav", wav(), "audio/wav")
    api.farm.work.finish_assembly(assembly, audio(assembly))
    api.fail(TextRefused("坏"))
    done = show(api, "my.job-1")
    assert done["status"] == "Succeeded"
    assert done["internalId"] == made.json["internalId"]
    assert done["properties"] | made.json["properties"] == done["properties"]
    told = ("sizeInBytes", "succeededAudioCount", "failedAudioCount", "durationInMilliseconds")
    assert [done["properties"][one] for one in told] == [len(wav()), 1, 1, 100]
    assert done["properties"]["billingDetails"] == {"neuralCharacters": 6}
    assert set(done["outputs"]) == {"result"}


def test_a_synthesis_without_any_audio_has_failed_and_says_why(api: Any) -> None:
    put(api, "all-bad")
    for _ in range(2):
        api.fail(TextRefused("坏"))
    failed = show(api, "all-bad")
    assert (failed["status"], failed["properties"]["failedAudioCount"]) == ("Failed", 2)
    assert failed["properties"]["error"]["code"] == "SynthesisFailed"
    files = unpacked(api, "all-bad")
    assert sorted(files) == ["0001.debug.json", "0002.debug.json", "summary.json"]
    summary = json.loads(files["summary.json"])
    assert (summary["status"], summary["jobID"]) == ("Failed", failed["internalId"])
    assert summary["results"][0] == {
        "contents": ["你好。"],
        "status": "Failed",
        "error": {"code": "text_refused", "message": "坏"},
    }


def test_a_canceled_synthesis_has_failed(api: Any) -> None:
    put(api, "stopped")
    assert api.client.post("/v1/batches/stopped/cancel").status_code == 200
    stopped = show(api, "stopped")
    assert (stopped["status"], stopped["properties"]["error"]["code"]) == ("Failed", "Canceled")


def test_results_hold_audio_words_sentences_and_a_summary(api: Any) -> None:
    properties = {**BOTH, "decompressOutputFiles": True}
    put(api, "timed", {**PLAIN, "properties": properties})
    finish_captioned(api)
    finish_captioned(api, ())
    files = unpacked(api, "timed")
    assert list(files) == [
        *("0001.wav", "0001.word.json", "0001.sentence.json", "0001.debug.json"),
        *("0002.wav", "0002.word.json", "0002.sentence.json", "0002.debug.json"),
        "summary.json",
    ]
    assert files["0001.wav"] == wav()
    assert json.loads(files["0001.word.json"]) == [
        {"Text": text, "AudioOffset": at, "Duration": ms}
        for text, at, ms in (
            ("“", 0, 0), ("你", 0, 40), ("好", 40, 30), ("”，", 70, 0), ("OK", 70, 30),
            ("……", 100, 0),
        )
    ]  # fmt: skip
    assert json.loads(files["0001.sentence.json"])[0] == {
        "Text": "“你好”，OK",
        "AudioOffset": 0,
        "Duration": 100,
    }
    assert json.loads(files["0002.word.json"]) == []
    summary = json.loads(files["summary.json"])
    assert summary["results"][0] == {
        "contents": ["你好。"],
        "status": "Succeeded",
        "audioFileName": "0001.wav",
        "wordBoundaryFileName": "0001.word.json",
        "sentenceBoundaryFileName": "0001.sentence.json",
        "properties": {"sizeInBytes": str(len(wav())), "durationInMilliseconds": "100"},
    }
    alone = api.client.get(show(api, "timed")["outputs"]["summary"])
    assert (alone.content_type, alone.json) == ("application/json", summary)


def test_files_the_store_lost_are_not_named_in_the_summary(api: Any, tmp_path: Path) -> None:
    put(api, "lost", {**PLAIN, "properties": BOTH})
    for number, lost in ((1, "captions.json"), (2, "audio.wav")):
        finish_captioned(api)
        (path,) = (one for one in tmp_path.rglob(lost) if f"-0000{number}/" in str(one))
        path.unlink()
    files = unpacked(api, "lost")
    assert sorted(files) == ["0001.debug.json", "0001.wav", "0002.debug.json", "summary.json"]
    first, second = json.loads(files["summary.json"])["results"]
    assert (first["status"], "wordBoundaryFileName" in first) == ("Succeeded", False)
    assert second["status"] == "Failed"


def test_inputs_to_be_joined_are_one_audio(api: Any) -> None:
    put(api, "joined", {**PLAIN, "properties": {"concatenateResult": True}})
    finish_captioned(api)
    done = show(api, "joined")
    assert (done["status"], done["properties"]["succeededAudioCount"]) == ("Succeeded", 1)
    files = unpacked(api, "joined")
    assert sorted(files) == ["0001.debug.json", "0001.wav", "summary.json"]
    assert json.loads(files["summary.json"])["results"][0]["contents"] == ["你好。\n再见。"]


def test_ssml_is_spoken_by_the_voices_behind_its_names(api: Any) -> None:
    content = (
        '<speak version="1.0" xmlns:mstts="https://www.w3.org/2001/mstts">'
        '<voice name="zh-CN-XiaoxiaoNeural"><mstts:express-as style="cheerful">好'
        "</mstts:express-as></voice></speak>"
    )
    assert put(api, "marked", {"inputKind": "SSML", "inputs": [{"content": content}]}).json
    (claim,) = api.farm.claim()
    assert claim.request.text_type == "ssml"
    assert claim.text == (
        '<speak><voice name="fake"><emotion category="happy">好</emotion></voice></speak>'
    )


def test_the_same_call_again_answers_the_same_synthesis(api: Any) -> None:
    first, again = put(api, "once"), put(api, "once")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json["internalId"] == first.json["internalId"]
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]
    other = put(api, "once", {**PLAIN, "description": "another"})
    assert (other.status_code, other.json["error"]["code"]) == (409, "Conflict")
    assert other.headers["x-ms-error-code"] == "Conflict"


def test_an_operation_can_be_followed_by_the_name_it_was_given(api: Any) -> None:
    made = put(api, "followed", Operation_Id="my-operation")
    assert made.headers["Operation-Id"] == "my-operation"
    shown = api.client.get(made.headers["Operation-Location"])
    assert shown.json == {"id": "my-operation", "status": "NotStarted"}
    taken = put(api, "other-one", Operation_Id="my-operation")
    assert taken.status_code == 409
    assert api.client.get("/texttospeech/operations/never").status_code == 404
    assert put(api, "bad-operation", Operation_Id="?").status_code == 400


def test_pages_go_from_the_newest_to_the_oldest_and_hold_syntheses_alone(api: Any) -> None:
    names = [f"job.{n}" for n in range(5)]
    for n, name in enumerate(names):
        assert put(api, name).status_code == 201
        batch = {"id": f"other-{n}", "inputs": ["好"]}
        assert api.client.post("/v1/batches", json=batch).status_code == 202
    seen, address = [], f"{PATH}?api-version=2024-04-01&skip=1&maxpagesize=2"
    while address:
        page = api.client.get(address).json
        seen.append([one["id"] for one in page["value"]])
        address = page.get("nextLink")
    newest = sorted(names, key=lambda name: (show(api, name)["createdDateTime"], name))[::-1]
    assert seen == [newest[1:3], newest[3:5]]
    assert len(api.client.get(PATH).json["value"]) == 5
    assert api.client.get(f"{PATH}?skip=5").json == {"value": []}
    listed, address = [], "/v1/batches?limit=1"
    while address:
        answer = api.client.get(address).json
        listed += [one["id"] for one in answer["batches"]]
        cursor = answer["next_cursor"]
        address = f"/v1/batches?limit=1&cursor={cursor}" if cursor else ""
    assert len(set(listed)) == 10


@pytest.mark.parametrize(
    ("query", "target"),
    [("skip=-1", "skip"), ("skip=10001", "skip"), ("maxpagesize=0", "maxpagesize"),
     ("maxpagesize=x", "maxpagesize"), ("top=3", "top"), ("api-version=2023-01-01", "api-version")],
)  # fmt: skip
def test_a_wrong_query_is_told(api: Any, query: str, target: str) -> None:
    answer = api.client.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json["error"]["target"]) == (400, target)


@pytest.mark.parametrize("n_finished", [0, 1, 2])
def test_a_synthesis_is_removed_in_any_state(api: Any, n_finished: int) -> None:
    put(api, "gone-soon")
    for _ in range(n_finished):
        finish_captioned(api)
    answer = api.client.delete(f"{PATH}/gone-soon?api-version=2024-04-01")
    assert (answer.status_code, answer.data) == (204, b"")
    for method in ("GET", "DELETE"):
        missing = api.client.open(f"{PATH}/gone-soon", method=method)
        assert (missing.status_code, missing.json["error"]["code"]) == (404, "NotFound")
    assert api.farm.claim() == []
    assert put(api, "gone-soon").status_code == 201


def test_batches_of_other_calls_are_not_syntheses(api: Any) -> None:
    api.client.post("/v1/batches", json={"id": "plain", "inputs": ["好"]})
    headers = {"Idempotency-Key": "azure:sly"}
    api.client.post("/v1/batches", json={"id": "sly", "inputs": ["好"]}, headers=headers)
    for path in (f"{PATH}/plain", "/texttospeech/operations/sly"):
        assert api.client.get(path).status_code == 404
    assert api.client.delete(f"{PATH}/plain").status_code == 404
    assert api.client.get("/v1/batches/plain").status_code == 200


def test_a_link_to_results_works_for_those_alone(api: Any) -> None:
    for name in ("first", "second"):
        put(api, name, {**PLAIN, "properties": {"decompressOutputFiles": True}})
        finish_captioned(api)
        finish_captioned(api)
    link = show(api, "first")["outputs"]["result"]
    assert api.client.get(link).status_code == 200
    head = api.client.head(link)
    assert (head.status_code, head.data) == (200, b"")
    assert "Content-Length" not in head.headers
    for other in (
        link.replace("/first/", "/second/"),
        link.replace("results.zip", "summary.json"),
        link.replace("tenant=default", "tenant=other"),
        link.partition("?")[0],
    ):
        refused = api.client.get(other)
        assert (refused.status_code, refused.json["error"]["code"]) == (403, "Forbidden")
    api.client.delete(f"{PATH}/first")
    assert api.client.get(link).status_code == 404


def test_results_wait_while_a_synthesis_goes_on_again(api: Any) -> None:
    put(api, "again")
    finish_captioned(api)
    api.fail(TextRefused("坏"))
    link = show(api, "again")["outputs"]["result"]
    api.client.post("/v1/batches/again/retry")
    assert show(api, "again")["status"] == "Running"
    assert api.client.get(link).status_code == 409


def test_limits_and_scopes_are_the_keys_own(guarded: Any) -> None:
    reader = {"Ocp-Apim-Subscription-Key": guarded.headers("a", "read")["Authorization"][7:]}
    answer = guarded.client.put(f"{PATH}/mine", json=PLAIN, headers=reader)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "Forbidden")
    small = {"Ocp-Apim-Subscription-Key": guarded.headers("a", jobs=2)["Authorization"][7:]}
    guarded.submit(headers=small)
    answer = guarded.client.put(f"{PATH}/mine", json=PLAIN, headers=small)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "TooManyRequests")
    tiny = {"Ocp-Apim-Subscription-Key": guarded.headers("a", jobs=1)["Authorization"][7:]}
    answer = guarded.client.put(f"{PATH}/mine", json=PLAIN, headers=tiny)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "BadRequest")
    nobody = guarded.client.put(f"{PATH}/mine", json=PLAIN)
    assert (nobody.status_code, nobody.json["error"]["code"]) == (401, "Unauthorized")


def test_bodies_that_can_not_be_read_have_their_form(make_api: Any) -> None:
    api = make_api(max_batch_inputs=1, max_body_bytes=2000)
    for body, content_type, status in (
        (b"{", "application/json", 400),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b" " * 3000, "application/json", 413),
        (json.dumps(PLAIN).encode(), "application/json", 413),
    ):
        answer = api.client.put(f"{PATH}/bad", data=body, content_type=content_type)
        assert (answer.status_code, answer.json["error"]["code"]) == (
            status,
            "UnsupportedMediaType" if status == 415 else "BadRequest",
        )
    assert api.client.post(f"{PATH}/bad").status_code == 405
