"""The `ttsfarm` command against a stand-in farm: what it sends, shows, writes and answers."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result

from api.cli import COMMANDS, main
from api.commands.say import _outlook
from api.farm_client import FarmClient, Job, idempotency_key
from api.supervisor import ready_voices
from shared.states import JobStatus
from ttsfarm_client.calls import EARLY_S

AUDIO = b"RIFF" + bytes(range(256)) * 900


def job_object(status: str = "succeeded", **changes) -> dict:
    done = status == "succeeded"
    audio = {
        "duration_s": 2.5,
        "size_bytes": len(AUDIO),
        "sha256": hashlib.sha256(AUDIO).hexdigest(),
    }
    return {
        "id": "j1",
        "status": status,
        "progress": {"segments_done": 2 if done else 1, "segments_total": 2, "audio_s": 1.25},
        "audio": audio if done else None,
        "timing": {"total_ms": 1500 if done else None},
        "error": None,
        "request": {"voice": "espeak-zh"},
        "characters": 12,
        "created_at": "2026-01-02T03:04:05.678Z",
        **changes,
    }


def problem(code: str, detail: str, **more) -> bytes:
    return json.dumps({"code": code, "detail": detail, **more}).encode()


@dataclass
class Farm:
    """Answers by method and path; several answers for one call are given in turn."""

    answers: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    calls: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def answer(self, call: str, body: dict | bytes, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault(call, []).append((status, data))

    def take(self, call: str) -> tuple[int, bytes]:
        given = self.answers.get(call) or [(404, problem("not_found", f"no {call}"))]
        return given.pop(0) if len(given) > 1 else given[0]

    def called(self, call: str) -> list[bytes]:
        return [body for made, body, _ in self.calls if made == call]


@pytest.fixture
def farm() -> Iterator[Farm]:
    standing_in = Farm()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            call = f"{self.command} {self.path.split('?')[0]}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            standing_in.calls.append((call, body, dict(self.headers)))
            status, data = standing_in.take(call)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = respond  # noqa: N815  # the names http.server looks for

        def log_message(self, *_) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    standing_in.url = f"http://127.0.0.1:{server.server_port}"
    yield standing_in
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ttsfarm(farm):
    def run(*args: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(
            main, args, prog_name="ttsfarm", input=stdin, env={"TTSFARM_URL": farm.url}
        )

    return run


def test_every_command_explains_itself(ttsfarm):
    listed = ttsfarm("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in listed
        shown = ttsfarm(name, "--help")
        assert shown.exit_code == 0
        assert f"Usage: ttsfarm {name}" in shown.stdout


def test_a_command_that_does_not_exist_is_called_so(ttsfarm):
    result = ttsfarm("sing")
    assert result.exit_code == 2
    assert "No such command 'sing'" in result.stderr


def test_say_writes_the_audio_when_the_job_is_done(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object("running"))
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    result = ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.wav").read_bytes() == AUDIO
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert "2.5 s of speech, job j1 took 1.50 s" in result.stderr


def test_a_farm_too_busy_to_let_a_caller_wait_is_not_asked_at_once_again(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object("running"))  # answered before the time is up
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    begun_s = time.monotonic()
    assert ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav")).exit_code == 0
    assert time.monotonic() - begun_s >= EARLY_S


def test_every_call_carries_the_key_that_was_given(farm, ttsfarm, tmp_path, monkeypatch):
    farm.answer("POST /v1/jobs", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    farm.answer("GET /v1/voices", {"voices": []})
    result = ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav"), "--key", "k1")
    assert result.exit_code == 0, result.output
    assert {headers.get("Authorization") for _, _, headers in farm.calls} == {"Bearer k1"}
    monkeypatch.setenv("TTSFARM_KEY", "k2")
    ttsfarm("voices")
    assert farm.calls[-1][2]["Authorization"] == "Bearer k2"
    monkeypatch.delenv("TTSFARM_KEY")
    ttsfarm("voices")
    assert "Authorization" not in farm.calls[-1][2]


def test_a_key_that_is_asked_for_is_said_to_be_missing_and_never_shown(farm, ttsfarm):
    farm.answer("GET /v1/voices", problem("unauthorized", "This key is unknown."), 401)
    result = ttsfarm("voices", "--key", "s3cret")
    assert result.exit_code == 4
    assert "TTSFARM_KEY" in result.stderr
    assert "s3cret" not in result.output
    assert ttsfarm("voices", "--key", "two\nlines").exit_code == 2


def test_say_sends_the_options_that_were_given_and_no_others(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    book = tmp_path / "book.txt"
    book.write_text("第一章。\n", "utf-8")
    options = ("--voice", "espeak-zh", "--emotion", "happy", "--speed", "1.5", "--pitch", "-2")
    ttsfarm("say", "-f", str(book), "-o", str(tmp_path / "a.mp3"), *options)
    assert json.loads(farm.called("POST /v1/jobs")[0]) == {
        "text": "第一章。\n",
        "format": "mp3",
        "voice": "espeak-zh",
        "emotion": "happy",
        "speed": 1.5,
        "pitch": -2.0,
    }


def test_say_reads_standard_input_and_writes_standard_output(farm, ttsfarm):
    farm.answer("POST /v1/jobs", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    result = ttsfarm("say", "-f", "-", "-o", "-", stdin="\ufeff你好".encode())
    assert result.stdout_bytes == AUDIO
    assert json.loads(farm.called("POST /v1/jobs")[0])["text"] == "你好"


def test_say_to_a_pipe_streams_a_job_that_is_not_done(farm, ttsfarm):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    result = ttsfarm("say", "你好", "-o", "-")
    assert result.stdout_bytes == AUDIO
    assert farm.called("GET /v1/jobs/j1") == []


def test_say_waits_where_the_farm_can_not_stream(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", problem("streaming_missing", "not here"), 501)
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    result = ttsfarm("say", "你好", "--stream", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 0, result.output
    assert "can not stream" in result.stderr
    assert (tmp_path / "a.wav").read_bytes() == AUDIO


def test_a_streamed_file_gets_the_header_of_the_finished_one(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", b"unknown length"[:4] + AUDIO[4:])
    farm.answer("GET /v1/jobs/j1/audio", AUDIO[:4096])
    result = ttsfarm("say", "你好", "--stream", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.wav").read_bytes() == AUDIO
    assert len(farm.called("GET /v1/jobs/j1/audio")) == 2


def test_a_streamed_file_that_is_not_the_finished_one_is_taken_anew(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", b"other" * 99_000)
    farm.answer("GET /v1/jobs/j1/audio", AUDIO[:4096])
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    result = ttsfarm("say", "你好", "--stream", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.wav").read_bytes() == AUDIO


def test_the_same_words_and_options_ask_for_the_same_job(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    target = ("-o", str(tmp_path / "a.wav"))
    for words in (("你好",), ("你好",), ("再见",), ("你好", "--speed", "2"), ("你好", "--fresh")):
        assert ttsfarm("say", *words, *target).exit_code == 0
    keys = [headers["Idempotency-Key"] for call, _, headers in farm.calls if "POST" in call]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("status", ["failed", "canceled", "expired"])
def test_asking_again_for_what_ended_without_audio_tries_again(farm, ttsfarm, tmp_path, status):
    farm.answer("POST /v1/jobs", job_object(status))
    farm.answer("POST /v1/jobs/j1/retry", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO)
    assert ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav")).exit_code == 0
    assert len(farm.called("POST /v1/jobs/j1/retry")) == 1


def test_a_job_that_fails_says_why_and_leaves_no_file(farm, ttsfarm, tmp_path):
    error = {"code": "bad_audio", "message": "The segment was silent"}
    farm.answer("POST /v1/jobs", job_object("queued"), 202)
    farm.answer("GET /v1/jobs/j1", job_object("failed", error=error))
    result = ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 1
    assert "Job j1 failed: The segment was silent (bad_audio)" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_audio_that_was_damaged_on_the_way_is_not_kept(farm, ttsfarm, tmp_path):
    farm.answer("POST /v1/jobs", job_object())
    farm.answer("GET /v1/jobs/j1/audio", AUDIO[:-1] + b"?")
    result = ttsfarm("say", "你好", "-o", str(tmp_path / "a.wav"))
    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("say",), "Give the text itself or a file"),
        (("say", "你好", "-f", "book.txt"), "Give the text itself or a file"),
        (("say", "你好", "-o", "a.doc"), "wav, mp3, flac, ogg, opus, pcm"),
        (("say", "-f", "no/such/book.txt"), "no/such/book.txt can not be read"),
        (("say", "你好", "-o", "no/such/a.wav"), "folder no/such does not exist"),
        (("say", "你好", "--speed", "quick"), "quick"),
        (("say", "你好", "--url", "localhost:8080"), "must begin with http"),
        (("jobs", "--status", "odd"), "odd"),
        (("cancel",), "JOB"),
        (("up", "--port", "70000"), "70000"),
        (("up", "--workers", "0"), "0"),
    ],
)
def test_wrong_use_is_explained_without_calling_the_farm(farm, ttsfarm, args, said):
    result = ttsfarm(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert farm.calls == []


def test_a_file_in_another_encoding_says_how_to_convert_it(farm, ttsfarm, tmp_path):
    book = tmp_path / "book.txt"
    book.write_bytes("你好".encode("gb18030"))
    result = ttsfarm("say", "-f", str(book))
    assert result.exit_code == 2
    assert "iconv -f GB18030 -t UTF-8" in result.stderr


def test_a_refusal_is_shown_in_the_farms_words(farm, ttsfarm):
    faults = [{"message": "speed: must be less than or equal to 2"}, {"message": "pitch: no"}]
    farm.answer("POST /v1/jobs", problem("invalid_request", "2 faults.", errors=faults), 422)
    result = ttsfarm("say", "你好", "-o", "-")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "Error: 2 faults.",
        "  speed: must be less than or equal to 2",
        "  pitch: no",
    ]


def test_one_fault_is_the_whole_message(farm, ttsfarm):
    faults = [{"message": "text: must hold something to speak"}]
    farm.answer("POST /v1/jobs", problem("invalid_request", "1 fault.", errors=faults), 422)
    assert ttsfarm("say", "").stderr == "Error: text: must hold something to speak\n"


def test_what_can_not_be_written_is_told_before_anything_is_spoken(farm, ttsfarm, tmp_path):
    result = ttsfarm("say", "你好", "-o", str(tmp_path / f"{'长' * 85}.wav"))
    assert result.exit_code == 1
    assert "can not be written: File name too long." in result.stderr
    assert farm.calls == []


def test_a_farm_that_can_not_serve_has_an_exit_code_of_its_own(farm, ttsfarm):
    farm.answer("GET /v1/voices", problem("state_store_full", "Redis has no room for more."), 507)
    result = ttsfarm("voices")
    assert (result.exit_code, result.stderr) == (5, "Error: Redis has no room for more.\n")


def test_an_error_without_problem_details_shows_its_status(farm, ttsfarm):
    farm.answer("GET /v1/jobs", b"<html>teapot</html>", 418)
    assert "HTTP 418" in ttsfarm("jobs").stderr


def test_a_farm_that_is_being_restarted_goes_unnoticed(farm, ttsfarm):
    farm.answer("GET /v1/jobs", b"", 503)
    farm.answer("GET /v1/jobs", {"jobs": [job_object()], "next_cursor": None})
    assert ttsfarm("jobs").exit_code == 0


def test_something_that_is_no_farm_is_called_so(farm, ttsfarm):
    farm.answer("GET /v1/voices", b"<html>")
    result = ttsfarm("voices")
    assert result.exit_code == 3
    assert "is not a farm" in result.stderr


def test_jobs_are_listed_one_a_line(farm, ttsfarm):
    farm.answer("GET /v1/jobs", {"jobs": [job_object(), job_object("running", id="j2")]})
    first, second = ttsfarm("jobs", "--status", "running").stdout.splitlines()
    assert first.split()[:4] == ["j1", "succeeded", "2/2", "espeak-zh"]
    assert second.split()[:3] == ["j2", "running", "1/2"]


def test_a_text_that_is_not_split_yet_has_an_unknown_number_of_segments(farm, ttsfarm):
    progress = {"segments_done": 0, "segments_total": None, "audio_s": 0}
    farm.answer("GET /v1/jobs/j1", job_object("queued", progress=progress))
    assert "segments   0/?" in ttsfarm("status", "j1").stdout


def test_status_of_a_job_shows_its_error(farm, ttsfarm):
    error = {"code": "segment_lost", "message": "Every worker died"}
    farm.answer("GET /v1/jobs/j1", job_object("failed", error=error))
    assert "error      Every worker died (segment_lost)" in ttsfarm("status", "j1").stdout


def test_status_without_a_job_tells_of_the_farm(farm, ttsfarm):
    farm.answer("GET /readyz", {"status": "ready"})
    farm.answer("GET /v1/jobs", {"jobs": [job_object(), job_object()]})
    assert "is ready; 2 jobs run, 2 wait" in ttsfarm("status").stdout


def test_status_says_where_it_counts_no_further(farm, ttsfarm):
    farm.answer("GET /readyz", {"status": "ready"})
    farm.answer("GET /v1/jobs", {"jobs": [job_object()] * 3})
    farm.answer("GET /v1/jobs", {"jobs": [job_object()] * 200})
    assert "3 jobs run, 200 or more wait" in ttsfarm("status").stdout


def test_cancel_reports_the_state_it_led_to(farm, ttsfarm):
    farm.answer("POST /v1/jobs/j1/cancel", job_object("canceled"))
    assert ttsfarm("cancel", "j1").stdout == "j1 is canceled.\n"


def test_a_job_id_can_not_reach_another_address(farm, ttsfarm):
    ttsfarm("cancel", "../../x?y=1")
    assert farm.calls[0][0] == "POST /v1/jobs/..%2F..%2Fx%3Fy%3D1/cancel"


def test_voices_show_emotions_and_readiness(farm, ttsfarm):
    voice = {
        "name": "espeak-zh",
        "engine": "espeak",
        "language": "zh-CN",
        "emotions": ["neutral", "happy"],
        "ready_workers": 2,
    }
    farm.answer("GET /v1/voices", {"voices": [voice, {**voice, "name": "x", "ready_workers": 0}]})
    first, second = ttsfarm("voices").stdout.splitlines()
    assert "2 ready" in first
    assert first.endswith("neutral, happy")
    assert "no worker" in second


def test_no_farm_at_the_address_says_how_to_start_one():
    nowhere = CliRunner().invoke(main, ["voices", "--url", "http://127.0.0.1:1"])
    assert nowhere.exit_code == 3
    assert "connection refused" in nowhere.stderr
    assert "ttsfarm up" in nowhere.stderr


def test_the_key_of_a_body_does_not_depend_on_the_order_of_its_fields():
    assert idempotency_key({"a": 1, "b": 2}) == idempotency_key({"b": 2, "a": 1})
    assert len({idempotency_key({"status": s}) for s in JobStatus}) == len(JobStatus)


def test_the_bar_tells_the_place_in_the_line_and_the_end_the_farm_expects():
    def told(status: str, position: int | None, starts_s: float | None, done_s: float | None):
        view = job_object(status, queue={"position": position, "eta_s": starts_s})
        view["progress"]["eta_s"] = done_s
        return _outlook(Job.read(view))

    assert told("queued", 3, 8.2, 130) == "number 3 in line, starts in 9 s, done in 2 min"
    assert told("queued", 1, None, None) == "number 1 in line"
    assert told("running", None, None, 7500) == "done in 2 h 5 min"
    assert told("running", None, None, None) is None
    assert told("succeeded", None, None, 0) is None


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "http://[::1", "http://farm:port"])
def test_what_is_no_address_is_wrong_use(url):
    result = CliRunner().invoke(main, ["voices", "--url", url])
    assert result.exit_code == 2
    assert "Invalid value for '--url'" in result.stderr


@pytest.mark.parametrize("wrong", [["\udcc4\udce3"], ["你好", "--voice", "\udcc4"]])
def test_text_of_another_encoding_is_wrong_use(farm, tmp_path, wrong):
    result = CliRunner().invoke(
        main, ["say", *wrong, "--url", farm.url, "-o", str(tmp_path / "a.wav")]
    )
    assert result.exit_code == 2
    assert "is not UTF-8" in result.stderr
    assert not farm.calls


def test_a_farm_that_falters_right_after_it_was_ready_is_waited_for(farm):
    farm.answer("GET /readyz", {"ready": True})
    farm.answer("GET /health", problem("state_store_unavailable", "Redis does not answer"), 503)
    farm.answer("GET /health", {"voices": {"fake": 1, "gone": 0}})
    client = FarmClient(farm.url, tries=1)
    assert ready_voices(client) == "Redis does not answer"
    assert ready_voices(client) == ["fake"]
