"""WorkStore: what workers do with units of jobs. One method a transition, each one Lua script.

A claim's attempt number is the fencing token: reports of older attempts are refused.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from shared.connection import Scripts, state_store
from shared.errors import FarmError, ObjectMissing
from shared.records import read_request
from shared.schemas import AudioResult, CaptionsResult, Claim, ErrorInfo, SegmentResult, SegmentSpec
from shared.settings import Settings
from shared.states import Finish, UnitKind

RESULTS_AT_ONCE = 500
REMADE_AT_ONCE = 500
SETTLING_CALLS = 100  # one claim's calls, each of which settles some segments that need no worker
RETRY_BASE_MS = 500
RETRY_CAP_MS = 30_000
DAY_MS = 86_400_000


def segment_unit(index: int) -> str:
    """A segment's name inside its job; sorts as the segments do."""
    return f"{index:06d}"


def unit_kind(unit: str) -> UnitKind:
    """What a unit's name stands for."""
    return UnitKind(unit) if unit in (UnitKind.PLAN, UnitKind.ASSEMBLE) else UnitKind.SEGMENT


def error_info(error: FarmError) -> ErrorInfo:
    """An error as the job's record shows it."""
    return ErrorInfo(code=error.code, message=error.message, retryable=error.retryable)


def cached_ms(object_lifetime_days: int) -> int:
    """How long the cache may use an object, so that jobs find it before the store lets it go."""
    return object_lifetime_days * DAY_MS - min(DAY_MS, object_lifetime_days * DAY_MS // 2)


def _dump(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _read_claim(  # one row of the script's answer
    job: str, unit: str, attempt: int, tenant: str, request: str, matter: str
) -> Claim:
    kind = unit_kind(unit)
    return Claim(
        job=job,
        unit=unit,
        kind=kind,
        attempt=attempt,
        tenant=tenant,
        request=read_request(request),
        text=matter if kind is UnitKind.PLAN else "",
        spec=SegmentSpec.load(json.loads(matter)) if kind is UnitKind.SEGMENT else None,
        segments_total=int(matter) if kind is UnitKind.ASSEMBLE else 0,
    )


class WorkStore:
    """Claims units and reports on them."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._lease_ms = int(settings.lease_s * 1000)
        self._max_attempts = settings.max_attempts
        self._cached_ms = cached_ms(settings.object_lifetime_days)

    def claim(self, worker: str, voice: str, limit: int = 1) -> list[Claim]:
        """The most urgent due work of a voice's lane; up to `limit` segments, or one other unit."""
        for _ in range(SETTLING_CALLS):
            nonce = uuid.uuid4().hex  # the client may send the call twice
            more, *rows = self._scripts("claim", worker, voice, limit, self._lease_ms, nonce)
            if rows or not more:
                return [_read_claim(*row) for row in rows]
        return []  # the keeper rings for what is left

    def beat(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases of `claims`; answers those that are no longer the caller's."""
        flat: list[str | int] = []
        for claim in claims:
            flat += [claim.job, claim.unit, claim.attempt]
        mine = self._scripts("beat", self._lease_ms, *flat) if claims else []
        return [claim for claim, kept in zip(claims, mine, strict=True) if not kept]

    def append_plan(
        self,
        claim: Claim,
        specs: Sequence[SegmentSpec],
        *,
        digests: Sequence[str] = (),
        total: int | None = None,
        substitutions: Sequence[dict[str, Any]] = (),
    ) -> Finish:
        """Store the next segments of a plan as due; with `total` these were the last.

        `digests` says what each speaks; with them, what the cache has is done at once. Without,
        the segments keep away from the cache.
        """
        flat: list[str | int] = []
        for spec, digest in zip(specs, digests or repeat("", len(specs)), strict=True):
            flat += [segment_unit(spec.index), _dump(spec.dump()), spec.n_chars, digest]
        outcome = self._scripts(
            "append_plan",
            claim.job,
            claim.attempt,
            "" if total is None else total,
            _dump(list(substitutions)),
            *flat,
        )
        return Finish(outcome)

    def finish_segment(
        self, claim: Claim, result: SegmentResult, digest: str = "", busy_s: float | None = None
    ) -> Finish:
        """Report a segment whose audio is in the store; with its digest, others may use it too.

        `busy_s` is the worker's time it took, synthesis or not; expected waits are made of it.
        """
        busy_ms = result.synthesis_ms if busy_s is None else busy_s * 1000
        outcome = self._scripts(
            "finish_segment",
            claim.job,
            claim.unit,
            claim.attempt,
            _dump(result.dump()),
            digest,
            self._cached_ms,
            busy_ms,
        )
        return Finish(outcome)

    def finish_assembly(
        self,
        claim: Claim,
        audio: AudioResult,
        captions: CaptionsResult | None = None,
        busy_s: float = 0.0,
    ) -> tuple[Finish, float]:
        """Report a job whose audio, and captions if it has any, are in the store.

        `busy_s` is the worker's time it took.

        Answers also the seconds from submit to the first segment's audio.
        """
        outcome, first_audio_ms = self._scripts(
            "finish_assembly",
            claim.job,
            claim.attempt,
            _dump(audio.dump()),
            audio.duration_ms,
            _dump(captions.dump()) if captions else "",
            audio.format,
            busy_s * 1000,
        )
        return Finish(outcome), first_audio_ms / 1000

    def remake(self, claim: Claim, missing: Sequence[tuple[int, str]]) -> Finish:
        """Report indices and keys of segments that are not in the store.

        They are due again, then the assembly.
        """
        error = ObjectMissing("the store loses this job's audio again and again")
        flat: list[str] = []
        for index, key in missing[:REMADE_AT_ONCE]:
            flat += [segment_unit(index), key]
        outcome = self._scripts(
            "remake",
            claim.job,
            claim.attempt,
            self._max_attempts,
            _dump(error_info(error).dump()),
            *flat,
        )
        return Finish(outcome)

    def fail(self, claim: Claim, error: FarmError, *, jitter: float = 0.5) -> Finish:
        """Report an error: tried again later if that can help, else the job fails.

        `jitter` in [0, 1] spreads the delay between half of it and the whole.
        """
        outcome = self._scripts(
            "fail",
            claim.job,
            claim.unit,
            claim.attempt,
            _dump(error_info(error).dump()),
            int(error.retryable),
            self._max_attempts,
            RETRY_BASE_MS,
            RETRY_CAP_MS,
            0.5 + jitter / 2,
        )
        return Finish(outcome)

    def release(self, claim: Claim, delay_s: float = 0.0) -> Finish:
        """Hand a unit back without charging it for the attempt."""
        outcome = self._scripts(
            "release", claim.job, claim.unit, claim.attempt, int(1000 * delay_s)
        )
        return Finish(outcome)

    def results(
        self, job_id: str, total: int, first: int = 0
    ) -> Iterator[tuple[SegmentSpec, SegmentResult]]:
        """A job's segments from `first` on with their results, in order, read in bounded pieces.

        Ends before the first one that has none.
        """
        client, key = self._scripts.client, self._scripts.key
        for start in range(first, total, RESULTS_AT_ONCE):
            units = [segment_unit(i) for i in range(start, min(total, start + RESULTS_AT_ONCE))]
            with state_store():
                pipe = client.pipeline(transaction=False)
                pipe.hmget(key("job", job_id, "specs"), units)
                pipe.hmget(key("job", job_id, "results"), units)
                specs, results = pipe.execute()
            for spec, result in zip(specs, results, strict=True):
                if spec is None or result is None:
                    return  # the job was deleted meanwhile; its assembly will be refused
                yield SegmentSpec.load(json.loads(spec)), SegmentResult.load(json.loads(result))
