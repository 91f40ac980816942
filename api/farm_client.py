"""A farm as the command line sees it: the public client, and the calls that only people make."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlencode

from ttsfarm_client.calls import BATCH_PATIENCE_S, Call, batch_path, job_path
from ttsfarm_client.faults import FarmProblem, FarmUnreachable
from ttsfarm_client.views import Batch, Job
from ttsfarm_client.waiting import Client

__all__ = ["Batch", "FarmClient", "FarmProblem", "FarmUnreachable", "Job", "idempotency_key"]


class FarmClient(Client):
    """Speaks to the farm at `url`; each call raises as those of `Client` do."""

    ADVICE = "Start one with 'ttsfarm up', or name another with --url or TTSFARM_URL."

    def submit_body(self, body: Mapping[str, Any], key: str) -> Job:
        """Submit a job; the same `key` and body again answer the same job."""
        return self._run(self._submit(body, key))

    def submit_lines(self, lines: BinaryIO, key: str) -> Batch:
        """Submit a file of JSON lines; the same `key` and content answer the same batch."""
        return self._run(self._submit_batch(lines, key))

    def follow_job(self, job: Job, told: Callable[[Job], object] | None) -> Job:
        """The job once it has ended, with audio or without; `told` gets each state on the way."""
        return self._run(self._follow(self._job, job, told, None))

    def follow_batch(self, batch: Batch, told: Callable[[Batch], object] | None) -> Batch:
        """The batch once all its jobs have ended; `told` gets each state on the way."""
        return self._run(self._follow(self._batch, batch, told, None))

    def jobs(self, *, status: str | None, limit: int) -> list[Job]:
        """The newest jobs, newest first."""
        query = {"limit": str(limit), **({"status": status} if status else {})}
        answer = self._run(self._json("GET", f"/v1/jobs?{urlencode(query)}"))
        return [Job.read(view) for view in answer["jobs"]]

    def retry_batch(self, batch_id: str) -> Batch:
        """Run a batch's failed, expired and canceled jobs again."""
        query = urlencode({"status": "failed,expired,canceled"})
        path = f"{batch_path(batch_id)}/retry?{query}"
        return Batch.read(self._run(self._json("POST", path, longer_s=BATCH_PATIENCE_S)))

    def ready(self) -> None:
        """Return when the farm can speak; else `FarmProblem` says what is missing."""
        self._run(self._json("GET", "/readyz"))

    def ready_voices(self) -> list[str]:
        """The voices that can be spoken now, by name."""
        voices = self._run(self._json("GET", "/health"))["voices"]
        return [name for name, workers in voices.items() if workers]

    def beginning(self, job_id: str, n_bytes: int) -> bytes:
        """The first bytes of a finished job's audio."""
        headers = {"Range": f"bytes=0-{n_bytes - 1}"}
        call = Call(method="GET", path=f"{job_path(job_id)}/audio", headers=headers)
        return self._run(self._request(call)).body


def idempotency_key(body: Mapping[str, Any]) -> str:
    """The same for the same text and options, so that an interrupted call finds its job again."""
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return f"say-{hashlib.sha256(canonical.encode()).hexdigest()[:40]}"
