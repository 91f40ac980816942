"""Short ways to walk jobs through the stores, for the tests of the state machine."""

from dataclasses import replace
from typing import Any

from shared.batches import BatchHead, BatchInput, BatchStore
from shared.cache import CacheStore
from shared.connection import Scripts
from shared.jobs import JobStore, Submission
from shared.presence import PresenceStore
from shared.records import pairs
from shared.repair import RepairStore
from shared.schemas import AudioResult, Claim, JobRequest, SegmentResult, SegmentSpec
from shared.settings import Settings
from shared.states import Finish, JobStatus, UnitKind
from shared.work import WorkStore

AUDIO = AudioResult(
    key="jobs/a/audio.wav",
    duration_ms=900,
    size_bytes=9,
    sha256="0",
    format="wav",
    sample_rate_hz=16000,
)


class Farm:
    """The stores of one farm, with short ways to walk a job forward."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self.scripts = scripts
        self.jobs = JobStore(scripts)
        self.batches = BatchStore(scripts)
        self.work = WorkStore(scripts, settings)
        self.repair = RepairStore(scripts, settings)
        self.presence = PresenceStore(scripts)
        self.cache = CacheStore(scripts, settings)

    def submit(
        self,
        job_id: str,
        text: str = "你好。",
        *,
        tenant: str = "default",
        interactive: bool = True,
        key: str | None = None,
        id_chosen: bool = False,
        wait_limit_s: float | None = None,
        **request: object,
    ) -> str:
        asked = replace(JobRequest(voice="fake"), **request)  # type: ignore[arg-type]
        submission = Submission(
            id=job_id,
            tenant=tenant,
            request=asked,
            text=text,
            fingerprint=f"{text}{request}",
            idempotency_key=key,
            interactive=interactive,
            id_chosen=id_chosen,
            wait_limit_s=wait_limit_s,
        )
        return self.jobs.submit(submission).job.id

    def claim(self, limit: int = 1) -> list[Claim]:
        return self.work.claim("w1", "fake", limit)

    def plan(self, n_segments: int, n_chars: int = 3) -> Claim:
        (claim,) = self.claim()
        assert claim.kind is UnitKind.PLAN
        specs = [spec(i, n_chars) for i in range(n_segments)]
        assert self.work.append_plan(claim, specs, total=n_segments) is Finish.ACCEPTED
        return claim

    def status(self, job_id: str, tenant: str = "default") -> JobStatus:
        return self.jobs.job(tenant, job_id).status


def spec(index: int, n_chars: int = 3) -> SegmentSpec:
    return SegmentSpec(
        index=index,
        start=index * n_chars,
        end=(index + 1) * n_chars,
        spoken="你好。",
        voice="fake",
        emotion="neutral",
        emotion_intensity=1.0,
        n_chars=n_chars,
    )


def result(claim: Claim) -> SegmentResult:
    return SegmentResult(
        key=f"jobs/{claim.job}/{claim.unit}",
        size_bytes=10,
        duration_ms=300,
        sample_rate_hz=16000,
        synthesis_ms=10,
        worker="w1",
    )


def inputs(numbers: range, **request: Any) -> list[BatchInput]:
    """A batch's inputs of these numbers."""
    asked = JobRequest(voice="fake", priority="low", **request)
    return [
        BatchInput(number=n, name=f"n{n}", text="你好。", request=asked, fingerprint=str(n))
        for n in numbers
    ]


def head(name: str = "b", **changes: Any) -> BatchHead:
    """How a batch begins."""
    return BatchHead(**{"id": name, "tenant": "default", "fingerprint": "f", **changes})


SNAPSHOT = """
local found = {}
for _, key in ipairs(redis.call("KEYS", ARGV[1] .. "*")) do
  local kind = redis.call("TYPE", key).ok
  local value
  if kind == "hash" then value = redis.call("HGETALL", key)
  elseif kind == "zset" then value = redis.call("ZRANGE", key, 0, -1)
  elseif kind == "set" then value = redis.call("SMEMBERS", key)
  elseif kind == "list" then value = redis.call("LRANGE", key, 0, -1)
  else value = redis.call("GET", key) end
  found[#found + 1] = {string.sub(key, #ARGV[1] + 1), kind, value}
end
return found
"""


def snapshot(scripts: Scripts) -> dict[str, Any]:
    """All the farm's Redis holds, by key without the prefix: dicts, lists of members, strings."""
    rows = scripts.client.eval(SNAPSHOT, 0, scripts.prefix)
    return {key: pairs(value) if kind == "hash" else value for key, kind, value in rows}


def expire_leases(farm: Farm) -> None:
    """Ends every lease, as a second of silence would."""
    for key in farm.scripts.client.scan_iter("*:leases"):
        for member in farm.scripts.client.zrange(key, 0, -1):
            farm.scripts.client.zadd(key, {member: 0})
    farm.repair.expire_leases()


def ready_retries(farm: Farm) -> None:
    """Makes every retry's time come."""
    key = farm.scripts.key("retries")
    for member in farm.scripts.client.zrange(key, 0, -1):
        farm.scripts.client.zadd(key, {member: 0})
    farm.repair.release_retries()


def finish_job(farm: Farm, n_segments: int) -> None:
    """Walks the next due job to its end."""
    farm.plan(n_segments)
    for _ in range(n_segments):
        (claim,) = farm.claim()
        farm.work.finish_segment(claim, result(claim))
    (assembly,) = farm.claim()
    farm.work.finish_assembly(assembly, AUDIO)
