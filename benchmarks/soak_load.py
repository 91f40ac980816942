"""The calls of the soak: what callers do with a farm, each to its end, and what each must answer.

An operation raises `Unexpected` for an answer that is wrong. The texts come from a seeded random
generator; the farm has the voices of `espeak` and `fake`, whose texts make failures on purpose.
"""

import http.client
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

CALL_TIMEOUT_S = 90
WAIT_S = 55
PATIENCE_S = 1800  # a job that has not ended by then never does
FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "pcm")
EMOTIONS = ("neutral", "happy", "sad", "angry")
TERMINAL = ("succeeded", "failed", "canceled", "expired")
WORDS = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少白日依山尽黄河入海流欲穷千里目更上一层楼"
PUT_OFF = frozenset({429, 503, 504})  # the farm says: not now; no fault, but counted


class Unexpected(Exception):
    """An answer that is wrong; its text says which."""


class PutOff(Exception):
    """The farm was too busy for this call and said so."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Client:
    """One caller of the farm: its key, and its own random generator."""

    port: int
    key: str
    hook: str
    random: random.Random

    def call(self, method: str, path: str, body: Any = None, *, expect: int | None = None,
             headers: dict[str, str] | None = None, most: int | None = None) -> Answer:  # fmt: skip
        """One call on a connection of its own. Raises unless the status is `expect`, where given.

        `most` bytes of the answer are read, then the connection is broken off.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_TIMEOUT_S)
        data = json.dumps(body).encode() if body is not None else None
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, data, sent | (headers or {}))
            got = connection.getresponse()
            answer = Answer(got.status, got.read() if most is None else got.read(most))
            got.close()
        finally:
            connection.close()
        if answer.status in PUT_OFF and answer.status != expect:
            raise PutOff(f"{method} {path}: {answer.status}")
        if expect is not None and answer.status != expect:
            raise Unexpected(
                f"{method} {path}: {answer.status}, not {expect}: {answer.body[:300]!r}"
            )
        return answer

    def text(self, n_chars: int) -> str:
        """A text of sentences that hardly comes twice."""
        sentences = []
        while n_chars > 0:
            n = min(n_chars, self.random.randint(6, 24))
            sentences.append("".join(self.random.choices(WORDS, k=n)) + "。")
            n_chars -= n + 1
        return "".join(sentences)

    def job(self, text: str, **fields: Any) -> dict[str, Any]:
        """A new job's body, its format and mood any."""
        chosen = {
            "text": text,
            "voice": self.random.choice(("espeak-zh", "fake")),
            "format": self.random.choice(FORMATS),
            "emotion": self.random.choice(EMOTIONS),
        }
        return {**chosen, **fields}

    def submit(self, body: dict[str, Any]) -> str:
        key = {"Idempotency-Key": f"{self.random.getrandbits(64):x}"}
        return str(self.call("POST", "/v1/jobs", body, expect=202, headers=key).json["id"])

    def ended(self, job_id: str, status: str = "succeeded") -> dict[str, Any]:
        """The job when it has ended, by long polls; it must have ended as `status`."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            job = self.call("GET", f"/v1/jobs/{job_id}?wait={WAIT_S}", expect=200).json
            if job["status"] in TERMINAL:
                if job["status"] != status:
                    raise Unexpected(f"job {job_id}: {job['status']}, not {status}: {job['error']}")
                return dict(job)
        raise Unexpected(f"job {job_id} has not ended after {PATIENCE_S} s")

    def audio(self, job: dict[str, Any]) -> None:
        """The job's audio must be there, whole, by its own address."""
        answer = self.call("GET", f"/v1/jobs/{job['id']}/audio", expect=200)
        if len(answer.body) != job["audio"]["size_bytes"]:
            raise Unexpected(f"job {job['id']}: {len(answer.body)} bytes of audio")


def short(client: Client) -> None:
    body = client.job(client.text(client.random.randint(5, 60)))
    client.audio(client.ended(client.submit(body)))


def cached(client: Client) -> None:
    text = f"第{client.random.randrange(20)}号顾客，请到二号窗口。"
    client.audio(client.ended(client.submit(client.job(text, emotion="neutral"))))


def book(client: Client) -> None:
    job = client.ended(client.submit(client.job(client.text(1200), captions=True)))
    client.audio(job)
    for kind in ("srt", "vtt", "lrc", "json"):
        client.call("GET", f"/v1/jobs/{job['id']}/captions.{kind}", expect=200)


def batch(client: Client) -> None:
    inputs = [client.job(client.text(20)) for _ in range(8)]
    made = client.call("POST", "/v1/batches", {"inputs": inputs, "webhook_url": client.hook})
    if made.status not in (200, 202):
        raise Unexpected(f"batch: {made.status}: {made.body[:300]!r}")
    path = f"/v1/batches/{made.json['id']}"
    while client.call("GET", f"{path}?wait={WAIT_S}", expect=200).json["status"] != "completed":
        pass
    client.call("GET", f"{path}/results.zip", expect=200)


def stream(client: Client) -> None:
    job_id = client.submit(client.job(client.text(300), format="mp3"))
    heard = client.call("GET", f"/v1/jobs/{job_id}/audio?stream=1", expect=200)
    job = client.ended(job_id)
    if len(heard.body) != job["audio"]["size_bytes"]:
        raise Unexpected(f"job {job_id}: {len(heard.body)} bytes streamed")


def stream_broken_off(client: Client) -> None:
    job_id = client.submit(client.job(client.text(300), format="wav"))
    client.call("GET", f"/v1/jobs/{job_id}/audio?stream=1", expect=200, most=1000)
    client.ended(job_id)


def events(client: Client) -> None:
    job_id = client.submit(client.job(client.text(120)))
    told = client.call("GET", f"/v1/jobs/{job_id}/events", expect=200).body
    if b"succeeded" not in told:
        raise Unexpected(f"job {job_id}: its events do not tell of its end")


def events_broken_off(client: Client) -> None:
    job_id = client.submit(client.job(client.text(300)))
    client.call("GET", f"/v1/jobs/{job_id}/events", expect=200, most=100)
    client.ended(job_id)


def webhook(client: Client) -> None:
    body = client.job(client.text(20), webhook_url=client.hook)
    client.ended(client.submit(body))


def cancel(client: Client) -> None:
    job_id = client.submit(client.job(client.text(2000), priority="low"))
    answer = client.call("POST", f"/v1/jobs/{job_id}/cancel")
    if answer.status not in (200, 409):  # it may have ended before
        raise Unexpected(f"cancel: {answer.status}: {answer.body[:300]!r}")


def delete(client: Client) -> None:
    job = client.ended(client.submit(client.job(client.text(30))))
    client.call("DELETE", f"/v1/jobs/{job['id']}", expect=204)
    client.call("GET", f"/v1/jobs/{job['id']}", expect=404)


def delete_while_it_runs(client: Client) -> None:
    job_id = client.submit(client.job(client.text(600)))
    client.call("DELETE", f"/v1/jobs/{job_id}", expect=204)


def failure(client: Client) -> None:
    fault = client.random.choice(("[[refuse]]", "[[silent]]", "[[nan]]"))
    body = client.job(fault + client.text(20), voice="fake", webhook_url=client.hook)
    job = client.ended(client.submit(body), "failed")
    client.call("POST", f"/v1/jobs/{job['id']}/retry", expect=202)
    client.ended(job["id"], "failed")


def refusals(client: Client) -> None:
    client.call("POST", "/v1/jobs", {"text": "", "speed": 9}, expect=422)
    client.call(
        "POST", "/v1/jobs", {"text": "<speak><x/></speak>", "ssml": True, "no": 1}, expect=422
    )
    client.call("GET", "/v1/jobs/no-such-job", expect=404)
    client.call("GET", "/v1/jobs", expect=401, headers={"Authorization": "Bearer nobody"})


def article(client: Client) -> None:
    asked = {"text": client.text(12), "voice": "fake"}
    made = client.call("POST", "/api/tts", asked, expect=200).json
    client.call("GET", quote(made["data"]["audio_url"]), expect=200)
    client.call("POST", "/synthesize", {**asked, "text": client.text(12)}, expect=200)


def dialects(client: Client) -> None:
    speech = {"model": "tts-1", "input": client.text(20), "voice": "alloy"}
    client.call("POST", "/v1/audio/speech", speech, expect=200)
    wanted = {"version": "fake", "input": {"text": client.text(20)}}
    made = client.call("POST", "/v1/predictions", wanted, headers={"Prefer": "wait=10"})
    if made.status not in (201, 202):  # 202: not done in that time
        raise Unexpected(f"prediction: {made.status}: {made.body[:300]!r}")
    client.call("GET", f"/v1/predictions/{made.json['id']}", expect=200)


def looks(client: Client) -> None:
    for path in ("/", "/farm", "/docs", "/openapi.json", "/metrics", "/readyz", "/health",
                 "/v1/voices", "/v1/workers", "/v1/queue", "/v1/jobs?limit=50",
                 "/v1/batches", "/v1/webhooks/deliveries"):  # fmt: skip
        client.call("GET", path, expect=200)


# How often each comes, among all of them.
MIX: dict[Callable[[Client], None], int] = {
    short: 24, cached: 16, book: 4, batch: 4, stream: 6, stream_broken_off: 3, events: 8,
    events_broken_off: 3, webhook: 10, cancel: 4, delete: 5, delete_while_it_runs: 3, failure: 4,
    refusals: 3, article: 3, dialects: 5, looks: 3,
}  # fmt: skip
