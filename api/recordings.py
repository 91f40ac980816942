"""Jobs recorded while they are rendered: what listeners hear before the finished audio is there.

One recording serves all who listen to a job from the same segment on, and outlasts them a little,
so that who reconnects finds it. Each has a thread that follows the job and encodes its segments.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from api.waiting import Places
from shared.audio.tape import Tape
from shared.errors import (
    BadAudio,
    FarmError,
    InternalError,
    ObjectMissing,
    ObjectStoreFull,
    StreamingMissing,
    TooManyStreams,
    Unavailable,
    WrongState,
)
from shared.jobs import JobStore
from shared.logs import bound
from shared.schemas import Job, SegmentSpec
from shared.states import JobStatus
from shared.storage import ObjectStore
from shared.watch import Watcher
from shared.work import WorkStore

if TYPE_CHECKING:
    from shared.audio.wave import Samples, Wave

logger = logging.getLogger(__name__)
T = TypeVar("T")

LIBRARIES = ("numpy", "soundfile", "soxr")
LINGER_S = 30.0  # how long a recording waits for its last listener to come back
LOOK_AGAIN_S = 1.0
RESULTS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where recordings come from."""

    jobs: JobStore
    work: WorkStore
    store: ObjectStore
    watcher: Watcher
    stopping: Callable[[], bool]


class _Abandoned(Exception):
    """Nobody listens any more."""


class _Superseded(Exception):
    """The finished audio is there; what is still missing is read from it."""


class Recording:
    """A job's stream from segment `first` on, as far as it is made.

    When the tape has ended, `error` says why it broke off; `superseded` that the rest is in the
    job's finished audio; neither, that it is whole. `rate_hz` is set before the first byte.
    """

    def __init__(self, sources: Sources, job: Job, first: int) -> None:
        self.job, self.first = job, first
        self.tape = Tape()
        self.rate_hz = 0
        self.error: FarmError | None = None
        self.superseded = False
        self.listeners = 0
        self.idle_since_s = monotonic()
        self._s = sources
        self._abandoned: Callable[[], bool] = lambda: False

    def run(self, abandoned: Callable[[], bool]) -> None:
        """Record until the job ends; keep the tape until `abandoned`."""
        self._abandoned = abandoned
        with bound(action="stream", job=self.job.id):
            try:
                self._record()
            except _Superseded:
                self.superseded = True
            except _Abandoned:
                self.error = Unavailable("nobody listened")
            except FarmError as error:
                logger.info("a stream breaks off: %s", error.code)
                self.error = error
            except OSError as error:
                logger.error("a stream can not be kept in the temporary directory: %s", error)
                self.error = ObjectStoreFull("The API's temporary directory has no room.")
            except Exception as error:  # noqa: BLE001  # outermost loop of this thread
                trace = "".join(traceback.format_tb(error.__traceback__))
                logger.error("a fault of ours: %s", type(error).__name__, extra={"trace": trace})
                self.error = InternalError()
        self.tape.end()
        while not abandoned():
            threading.Event().wait(LOOK_AGAIN_S)
        self.tape.close()

    def _record(self) -> None:
        # Imported here: an API nobody listens to never loads them.
        from shared.audio.assembly import sound_of
        from shared.audio.encode import encode

        request = self.job.request
        sound = sound_of(self._segments(), request)
        self.rate_hz = sound.rate_hz
        encode(self._unbroken(sound.chunks), sound.rate_hz, request.format, self.tape)

    def _unbroken(self, chunks: Iterator["Samples"]) -> Iterator["Samples"]:
        """The chunks; where they break off, the tape does, so that it can be taken up there."""
        try:
            yield from chunks
        except BaseException:
            self.tape.seal()
            raise

    def _segments(self) -> Iterator[tuple[SegmentSpec, "Wave"]]:
        """The job's segments in order, each as soon as it is finished."""
        at = self.first
        while True:
            job = self._until_answered(lambda: self._s.jobs.job(self.job.tenant, self.job.id))
            self._check(job)
            total = job.segments_total
            if total is not None and at >= total:
                return
            start = at
            for spec, key in self._found(start, total):
                wave = self._wave(key, job)
                if wave is None:
                    break
                yield spec, wave
                at += 1
            if at == start:
                self._s.watcher.wait(job.id, job.version, LOOK_AGAIN_S)

    def _check(self, job: Job) -> None:
        if job.status is JobStatus.SUCCEEDED:
            if self.first == 0:
                raise _Superseded
        elif job.finished:
            reason = f": {job.error.message}" if job.error else ""
            raise WrongState(f"The job is {job.status}{reason}", job_status=job.status.value)

    def _found(self, start: int, total: int | None) -> list[tuple[SegmentSpec, str]]:
        """The next finished segments without a gap, with the keys of their audio."""
        stop = start + RESULTS_AT_ONCE
        stop = stop if total is None else min(stop, total)
        results = self._s.work.results
        return self._until_answered(
            lambda: [(spec, found.key) for spec, found in results(self.job.id, stop, start)]
        )

    def _wave(self, key: str, job: Job) -> "Wave | None":
        """A segment's sound; None where the store lost or damaged it: it is rendered again."""
        from shared.audio.encode import decode_segment

        try:
            data = self._until_answered(lambda: b"".join(self._s.store.read(key)))
            return decode_segment(data)[0]
        except (ObjectMissing, BadAudio):
            if job.finished:
                raise
            return None

    def _until_answered(self, call: Callable[[], T]) -> T:
        """Repeat a call while Redis or the store is away, as long as somebody listens."""
        while True:
            if self._abandoned():
                raise _Abandoned
            try:
                return call()
            except Unavailable:
                threading.Event().wait(LOOK_AGAIN_S)


class Recordings:
    """The recordings of this process; at most `limit` listeners at once.

    Tenants share these places as they share those of long polls, where `fair` is on.
    """

    def __init__(self, sources: Sources, limit: int, *, fair: bool = False) -> None:
        self._sources = sources
        self._limit = limit
        self._places = Places(limit, fair=fair)
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Recording] = {}
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._places.taken

    def join(self, job: Job, first: int) -> Recording:
        """The recording of a job from segment `first` on; `leave` it in any case.

        Raises `TooManyStreams`, and `StreamingMissing` where the libraries are not installed.
        """
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            raise StreamingMissing(
                f"This API can not stream: install ttsfarm[stream] ({', '.join(missing)} missing)."
            )
        with self._lock:
            if not self._places.take(job.tenant):
                raise TooManyStreams(
                    "Too many callers listen at once already; ask again, or take the finished "
                    "audio.",
                    retry_after_s=5,
                )
            recording = self._running.get((job.id, first))
            if recording is None or recording.error:  # the job may have been retried since
                recording = self._start(job, first)
            recording.listeners += 1
            return recording

    def leave(self, recording: Recording) -> None:
        """One listener less."""
        with self._lock:
            recording.listeners -= 1
            self._places.release(recording.job.tenant)
            recording.idle_since_s = monotonic()

    def close(self) -> None:
        """End the recordings nobody listens to, and the others once they are left."""
        self._closed = True

    def _start(self, job: Job, first: int) -> Recording:
        idle = [one for one in self._running.values() if not one.listeners]
        if len(self._running) >= self._limit and idle:  # a tape takes room: the oldest goes
            oldest = min(idle, key=lambda one: one.idle_since_s)
            oldest.idle_since_s = float("-inf")
        recording = Recording(self._sources, job, first)
        self._running[job.id, first] = recording
        threading.Thread(
            target=recording.run,
            args=(lambda: self._abandoned(recording),),
            name="recording",
            daemon=True,
        ).start()
        return recording

    def _abandoned(self, recording: Recording) -> bool:
        """Whether nobody wants a recording any more; from then on nobody can join it."""
        with self._lock:
            ending = self._closed or self._sources.stopping()
            linger_s = 0.0 if ending or recording.error else LINGER_S
            left_s = monotonic() - recording.idle_since_s
            key = recording.job.id, recording.first
            if recording.listeners or left_s < linger_s:
                return False
            if self._running.get(key) is recording:
                del self._running[key]
            return True
