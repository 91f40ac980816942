"""Calls to a farm's API, for the tests that have one running."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.conftest import wait_until

TERMINAL = {"succeeded", "failed", "canceled", "expired"}
TIMEOUT_S = 90.0
_texts = count()


def fresh_text(sentences: int) -> str:
    """A text that no other test has had spoken, so that the farm's cache holds none of it."""
    text = next(_texts)
    return "".join(f"第{text}篇第{i}句。" for i in range(sentences))


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Calls the API of a farm; a farm of a test is one."""

    api_port: int
    api_host = "127.0.0.1"
    headers: Mapping[str, str] = {}  # of calls that name none: the suite's own key

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """One HTTP call; error answers are answers too."""
        url = path if path.startswith("http") else f"http://{self.api_host}:{self.api_port}{path}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            url, data=data, method=method, headers=dict(headers or self.headers)
        )
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def submit(self, text: str, **fields: Any) -> str:
        answer = self.call("POST", "/v1/jobs", {"text": text, **fields})
        assert answer.status == 202, answer.body
        return str(answer.json["id"])

    def job(self, job_id: str, wait_s: int = 0) -> dict[str, Any]:
        answer = self.call("GET", f"/v1/jobs/{job_id}?wait={wait_s}")
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def ended(self, job_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """The job once it has ended."""
        job: dict[str, Any] = {}

        def check() -> bool:
            job.update(self.job(job_id, wait_s=5))
            return job["status"] in TERMINAL

        wait_until(check, timeout_s)
        return job

    def audio(self, job_id: str) -> bytes:
        answer = self.call("GET", f"/v1/jobs/{job_id}/audio")
        assert answer.status == 200, answer.body
        return answer.body
