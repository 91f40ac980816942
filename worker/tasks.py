"""What a bell sets in motion: claim due work, do it, store it, report it. Every effect is here.

Each kind of unit has one handler; what they compute is `worker/pipeline.py`'s.
"""

import logging
import os
import random
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

from shared.audio.encode import decode_segment, encode_segment
from shared.audio.wave import TimingRows
from shared.bells import Bells
from shared.captions import CAPTION_TYPES
from shared.errors import (
    BadAudio,
    EngineUnavailable,
    FarmError,
    InternalError,
    ObjectMissing,
    ObjectStoreFull,
    ObjectStoreUnavailable,
    StateStoreFull,
    StateStoreUnavailable,
)
from shared.logs import bound
from shared.presence import PresenceStore
from shared.schemas import (
    MEDIA_TYPES,
    AudioResult,
    CaptionsResult,
    Claim,
    SegmentResult,
    SegmentSpec,
)
from shared.settings import Settings
from shared.states import Finish, UnitKind
from shared.storage import ObjectStore
from shared.work import WorkStore
from worker import pipeline
from worker.captions import CaptionWriter
from worker.heartbeat import Heartbeat
from worker.keeper import missing_bells
from worker.metrics import WorkerMetrics
from worker.pulse import Pulse
from worker.reading import read_ahead
from worker.scratch import ScratchFull, scratch
from worker.text.passages import Traits
from worker.types import Wave
from worker.voices import Voices

log = logging.getLogger(__name__)
T = TypeVar("T")
Stored = tuple[Wave, TimingRows]  # a segment as the store has it

PLAN_CHUNK = 100  # segments stored by one script; the first chunk is small, so speech starts soon
FIRST_CHUNK = 8
MEANWHILE = 4  # claims between two parts of a plan: a greeting's three and one of the book
WHOLE_JOB_LIMIT_S = 3600.0  # one step of planning or assembling; the longest is a book's upload
STORE_PATIENCE_S = 30.0  # how long a finished render waits for the object store to come back
FRESH_SEGMENTS = 16
STORE_PAUSE_S = 1.0
HAND_BACK_DELAY_S = 2.0
REPORT_PATIENCE_S = 60.0  # how long a report waits for Redis to come back


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What one worker process works with."""

    worker: str
    settings: Settings
    work: WorkStore
    presence: PresenceStore
    storage: ObjectStore
    bells: Bells
    voices: Voices
    heartbeat: Heartbeat
    metrics: WorkerMetrics
    pulse: Pulse


class HandedBack(Exception):
    """What is held is handed back: the store stays away, the worker stops, the job changed."""


class Bench:
    """One worker process's place of work."""

    def __init__(self, tools: Tools, *, store_patience_s: float = STORE_PATIENCE_S) -> None:
        self._t = tools
        self._store_patience_s = store_patience_s
        self._store_is_away = True  # until it has answered once
        self._free_since_s = monotonic()  # what came since is the cost of the next report
        self._planning = False
        self._fresh: dict[str, bytes] = {}  # a short job is assembled where it was rendered
        self._handlers: dict[UnitKind, Callable[[str, Sequence[Claim]], None]] = {
            UnitKind.PLAN: self._plan,
            UnitKind.SEGMENT: self._render,
            UnitKind.ASSEMBLE: self._assemble,
        }

    def drain(self, voice: str) -> int:
        """Do a lane's due work for a bounded time, so that Celery can act between tasks.

        Answers how many units were done.
        """
        t, n_done = self._t, 0
        t.pulse.asked()  # the bell was heard, whatever keeps the work from being done
        self._free_since_s = monotonic()
        limit = self._free_since_s + t.settings.drain_s
        batch_size = t.voices.engine(voice).batch_size
        while not t.pulse.stopping.is_set() and self._store_answers():
            t.pulse.asked()
            claims = t.work.claim(t.worker, voice, batch_size)
            if not claims:
                return n_done
            n_done += len(claims)
            self._perform(voice, claims)
            # More may be due: the next bell finds it, here or elsewhere. Without one, here and now.
            if monotonic() > limit and t.bells.ring(voice):
                return n_done
        t.bells.ring(voice)
        return n_done

    def _store_answers(self) -> bool:
        """False, after a pause, while the object store is away: what is rendered then is lost."""
        if not self._store_is_away:
            return True
        try:
            self._t.storage.ensure()
        except (ObjectStoreUnavailable, ObjectStoreFull):
            self._t.pulse.stopping.wait(STORE_PAUSE_S)
            return False
        self._store_is_away = False
        return True

    def _perform(self, voice: str, claims: Sequence[Claim]) -> None:
        kind, started_s = claims[0].kind, monotonic()
        whole_job = kind is not UnitKind.SEGMENT
        limit_s = WHOLE_JOB_LIMIT_S if whole_job else self._t.settings.segment_timeout_s
        with (
            bound(action=str(kind), job=claims[0].job, unit=claims[0].unit),
            self._t.heartbeat.holding(claims, limit_s),
        ):
            self._handle(kind, voice, claims)
        self._t.metrics.unit_seconds.labels(voice, kind).observe(monotonic() - started_s)

    def _handle(self, kind: UnitKind, voice: str, claims: Sequence[Claim]) -> None:
        try:
            self._handlers[kind](voice, claims)
        except (HandedBack, ScratchFull, StateStoreFull) as reason:
            log.warning("handed back: %s", reason)
            self._settle(lambda claim: self._t.work.release(claim, HAND_BACK_DELAY_S))
        except StateStoreUnavailable as error:
            log.warning("not reported: %s", error.message)  # the leases end, others take over
        except EngineUnavailable as error:
            self._settle_failed(error)
            log.critical("this process ends: %s", error.message)  # a new one has a new engine
            self._end()
        except FarmError as error:
            self._settle_failed(error)
        except Exception as error:  # noqa: BLE001  # outermost loop: no fault may lose a unit
            # The message of a library's error may quote the text, so the log has only the trace.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("a fault of ours: %s", type(error).__name__, extra={"trace": trace})
            self._settle_failed(InternalError())

    def _end(self) -> None:
        os._exit(1)

    # Handlers

    def _plan(self, voice: str, claims: Sequence[Claim]) -> None:
        (claim,) = claims
        planned = pipeline.plan(
            claim.request,
            claim.text,
            frontend=self._t.voices.frontend,
            traits=self._traits,
        )
        total, chunk = 0, list[SegmentSpec]()
        for spec in planned.segments():
            chunk.append(spec)
            total += 1
            if len(chunk) >= (PLAN_CHUNK if total > FIRST_CHUNK else FIRST_CHUNK):
                if not self._store_plan(claim, chunk):
                    return
                chunk = []
                self._call_help(voice)
                self._meanwhile(voice, claim)
                self._t.heartbeat.got_on()
        digests = self._digests(claim, chunk)
        done = self._report(
            claim,
            lambda: self._t.work.append_plan(
                claim,
                chunk,
                digests=digests,
                total=total,
                substitutions=planned.substitutions(),
            ),
        )
        if done is Finish.ACCEPTED and total > 1:
            self._call_help(voice)

    def _traits(self, voice: str) -> Traits:
        voices = self._t.voices
        return pipeline.traits_of(voices.voice(voice), symbols=voices.engine(voice).takes_symbols)

    def _store_plan(self, claim: Claim, chunk: Sequence[SegmentSpec]) -> bool:
        if self._t.heartbeat.lost(claim):
            return False
        digests = self._digests(claim, chunk)
        outcome = self._until_answered(
            lambda: self._t.work.append_plan(claim, chunk, digests=digests)
        )
        return outcome is Finish.ACCEPTED

    def _digests(self, claim: Claim, specs: Sequence[SegmentSpec]) -> list[str]:
        """What the cache knows the segments by; empty where it must not be used."""
        if not self._caches(claim):
            return []
        return [pipeline.digest_of(self._t.voices.voice(spec.voice), spec) for spec in specs]

    def _caches(self, claim: Claim) -> bool:
        return claim.request.cache and self._t.settings.cache_limit_bytes > 0

    def _meanwhile(self, voice: str, plan: Claim) -> None:
        """Do a little due work between two parts of a long plan: a segment of it, greetings first.

        Neither the book's first audio nor a greeting then waits for the rest of the plan.
        """
        if self._planning:
            return  # a plan within a plan is not interrupted
        self._planning = True
        try:
            for _ in range(MEANWHILE):
                if self._t.pulse.stopping.is_set():
                    return
                claims = self._t.work.claim(self._t.worker, voice)
                if not claims:
                    return
                self._perform(voice, claims)
                if claims[0].job == plan.job:
                    return
        except (StateStoreUnavailable, StateStoreFull) as error:
            log.info("no work between: %s", error.message)
        finally:
            self._planning = False

    def _busy_s(self) -> float:
        """This worker's time since it last asked, which goes to what is reported now."""
        since_s, self._free_since_s = self._free_since_s, monotonic()
        return self._free_since_s - since_s

    def _call_help(self, voice: str) -> None:
        """Ring for the workers that could take a share of what is due now."""
        for lane in self._t.presence.lanes():
            if lane.voice == voice:
                self._t.bells.ring(voice, max(0, missing_bells(lane) - 1))

    def _render(self, voice: str, claims: Sequence[Claim]) -> None:
        t = self._t
        started_s = monotonic()
        outcomes = pipeline.speak(t.voices, [claim.spec for claim in claims if claim.spec])
        synthesis_s = monotonic() - started_s
        audio_s = sum(o.wave.duration_s for o in outcomes if not isinstance(o, FarmError))
        t.metrics.rendered(voice, synthesis_s, audio_s)
        for claim, outcome in zip(claims, outcomes, strict=True):
            if t.heartbeat.lost(claim):
                continue
            if isinstance(outcome, FarmError):
                self._fail(claim, outcome)
            else:
                share = outcome.wave.duration_s / audio_s if audio_s else 0.0
                self._keep(claim, outcome, synthesis_s * share)

    def _keep(self, claim: Claim, rendered: pipeline.Rendered, synthesis_s: float) -> None:
        digest = rendered.digest if self._caches(claim) else ""
        key = (
            pipeline.cached_key(digest, uuid.uuid4().hex)
            if digest
            else pipeline.segment_key(claim.job, rendered.digest)
        )
        data = encode_segment(rendered.wave, rendered.timings_ms)
        self._patiently(claim, lambda: self._t.storage.put(key, data, MEDIA_TYPES["flac"]))
        self._fresh[key] = data
        while len(self._fresh) > FRESH_SEGMENTS:
            del self._fresh[next(iter(self._fresh))]
        result = SegmentResult(
            key=key,
            size_bytes=len(data),
            duration_ms=round(rendered.wave.duration_s * 1000),
            sample_rate_hz=rendered.wave.rate_hz,
            synthesis_ms=round(synthesis_s * 1000),
            worker=self._t.worker,
        )
        busy_s = self._busy_s()
        self._report(claim, lambda: self._t.work.finish_segment(claim, result, digest, busy_s))

    def _assemble(self, voice: str, claims: Sequence[Claim]) -> None:
        (claim,) = claims
        t = self._t
        audio, captions = self._joined(claim)
        first_audio_s, busy_s = 0.0, self._busy_s()

        def finish() -> Finish:
            nonlocal first_audio_s
            outcome, first_audio_s = t.work.finish_assembly(claim, audio, captions, busy_s)
            return outcome

        done = self._report(claim, finish)
        if done is Finish.ACCEPTED:
            log.info(
                "spoken: %.1f s of audio, segments: %d",
                audio.duration_ms / 1000,
                claim.segments_total,
            )
            t.metrics.first_audio_seconds.labels(voice).observe(first_audio_s)
            if claim.request.webhook_url:
                t.bells.ring_courier()

    def _joined(self, claim: Claim) -> tuple[AudioResult, CaptionsResult | None]:
        """The job's audio, and its captions where they are asked for, both in the store."""
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())
            path, caption_path, writer = folder / "audio", folder / "captions", None
            if claim.request.captions:
                writer = stack.enter_context(CaptionWriter(claim.job, caption_path))
            segments = self._waves(claim, writer)
            audio = pipeline.assemble(segments, claim.request, claim.job, path)
            self._upload(claim, audio.key, path, MEDIA_TYPES[audio.format])
            captions = writer.finish() if writer else None
            if captions:
                self._upload(claim, captions.key, caption_path, CAPTION_TYPES["json"])
        return audio, captions

    def _upload(self, claim: Claim, key: str, path: Path, media_type: str) -> None:
        self._patiently(claim, lambda: self._t.storage.put_file(key, path, media_type))

    def _waves(
        self, claim: Claim, captions: CaptionWriter | None
    ) -> Iterator[tuple[SegmentSpec, Wave]]:
        n_read = 0
        results = self._t.work.results(claim.job, claim.segments_total)
        with read_ahead(results, lambda one: self._stored(claim, one[1].key)) as stored:
            for (spec, result), read in stored:
                n_read += 1
                self._check_on(claim)
                wave, rows = self._present(claim, spec.index, result.key, read)
                if captions:
                    captions.add(spec, wave, rows)
                yield spec, wave
        if n_read != claim.segments_total:
            raise HandedBack("the job was deleted, or not all its segments are done")

    def _check_on(self, claim: Claim) -> None:
        if self._t.pulse.stopping.is_set() or self._t.heartbeat.lost(claim):
            raise HandedBack("this worker stops, or the job was canceled")
        self._t.heartbeat.got_on()

    def _stored(self, claim: Claim, key: str) -> Stored:
        """A finished segment, from this worker's memory if it made it just now."""
        data = self._fresh.get(key)
        if data is None:
            data = self._patiently(claim, lambda: b"".join(self._t.storage.read(key)))
        return decode_segment(data)

    def _present(self, claim: Claim, index: int, key: str, read: Callable[[], Stored]) -> Stored:
        """What was read; when its object is gone or damaged, the segment is rendered again."""
        try:
            return read()
        except (ObjectMissing, BadAudio) as error:
            missing = [(index, key), *self._missing(claim, index + 1)]
            log.warning("gone or damaged in the store, rendering again: %d segments", len(missing))
            self._report(claim, lambda: self._t.work.remake(claim, missing))
            raise HandedBack("segments are to be rendered again") from error

    def _missing(self, claim: Claim, first: int) -> Iterator[tuple[int, str]]:
        """Which segments from `first` on the store has lost too, so that all are made at once."""
        for spec, result in self._t.work.results(claim.job, claim.segments_total, first):
            self._check_on(claim)
            try:
                self._patiently(claim, partial(self._t.storage.stat, result.key))
            except ObjectMissing:
                yield spec.index, result.key

    # Reports and the patience they need

    def _report(self, claim: Claim, report: Callable[[], Finish]) -> Finish:
        outcome = self._until_answered(report)
        self._t.heartbeat.reported(claim)
        self._t.metrics.attempts.labels(claim.request.voice, claim.kind, outcome).inc()
        if outcome is not Finish.ACCEPTED:
            log.info("report answered %s", outcome)
        return outcome

    def _until_answered(self, call: Callable[[], T]) -> T:
        """Repeat a report, which is safe, until Redis answers or the lease is surely lost."""
        limit = monotonic() + REPORT_PATIENCE_S
        while True:
            try:
                return call()
            except (StateStoreUnavailable, StateStoreFull):
                if monotonic() > limit or self._t.pulse.stopping.wait(0.5):
                    raise

    def _patiently(self, claim: Claim, call: Callable[[], T]) -> T:
        """Repeat a call to the object store until it answers; hand the unit back if it does not."""
        limit, wait_s = monotonic() + self._store_patience_s, 0.25
        while True:
            try:
                return call()
            except (ObjectStoreUnavailable, ObjectStoreFull) as error:
                stopping = self._t.pulse.stopping.wait(wait_s)
                if stopping or monotonic() > limit or self._t.heartbeat.lost(claim):
                    self._store_is_away = True
                    raise HandedBack(error.message) from error
                wait_s = min(2.0, wait_s * 2)

    def _fail(self, claim: Claim, error: FarmError) -> None:
        log.warning("failed: %s", error.code, extra={"unit": claim.unit, "job": claim.job})
        self._t.metrics.failed(claim, error.code)
        jitter = random.random()  # noqa: S311  # spreads retries, keeps no secret
        self._report(claim, lambda: self._t.work.fail(claim, error, jitter=jitter))

    def _settle(self, report: Callable[[Claim], Finish]) -> None:
        """Report all that is held and not reported; what Redis does not take, the lease ends."""
        for claim in self._t.heartbeat.unsettled():
            try:
                self._report(claim, partial(report, claim))
            except (StateStoreUnavailable, StateStoreFull) as error:
                log.warning("not reported: %s", error.message)
                return

    def _settle_failed(self, error: FarmError) -> None:
        log.warning("failed: %s", error.code)
        for claim in self._t.heartbeat.unsettled():
            self._t.metrics.failed(claim, error.code)
        jitter = random.random()  # noqa: S311  # spreads retries, keeps no secret
        self._settle(lambda claim: self._t.work.fail(claim, error, jitter=jitter))
