"""Heartbeat: the thread that keeps a worker's leases while it renders, and says it is here."""

import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, time

from shared.errors import FarmError
from shared.presence import PresenceStore, WorkerPresence
from shared.schemas import Claim, Voice
from shared.work import WorkStore
from worker.loop import Loop
from worker.metrics import Spoken, resident_bytes
from worker.pulse import Pulse

log = logging.getLogger(__name__)

ANNOUNCE_EVERY_S = 2.0


@dataclass
class _Hold:
    """Claims held together, by job and unit, and when they are given up."""

    claims: dict[tuple[str, str], Claim]
    limit_s: float
    give_up_s: float


class Heartbeat:
    """Extends leases every quarter of a lease, but never past what the work may take."""

    def __init__(
        self,
        worker: str,
        voices: Sequence[Voice],
        *,
        work: WorkStore,
        presence: PresenceStore,
        pulse: Pulse,
        lease_s: float,
    ) -> None:
        self._worker = worker
        self._voices = tuple(voices)
        self._work = work
        self._presence = presence
        self._pulse = pulse
        self._started_ms = int(time() * 1000)
        self.spoken = Spoken()  # what the announcements tell of; whoever counts puts its own here
        self._lock = threading.Lock()
        self._holds: list[_Hold] = []  # the last one is what is worked on now
        self._lost: set[tuple[str, str, int]] = set()
        self._loop = Loop("heartbeat", min(ANNOUNCE_EVERY_S, lease_s / 4), self._beat)

    def start(self) -> None:
        """Announce the worker as ready and go on doing so."""
        self._beat()
        self._loop.start()

    def close(self) -> None:
        """Stop and say that the worker has left."""
        self._loop.close()
        try:
            self._presence.leave(self._worker, [voice.name for voice in self._voices])
        except FarmError as error:  # who is not heard of is soon forgotten
            log.warning("leave not told: %s", error.message, extra={"action": "beat"})

    @contextmanager
    def holding(self, claims: Sequence[Claim], limit_s: float) -> Iterator[None]:
        """Keep the leases of `claims` inside this block, until `limit_s` pass without `got_on`.

        Such blocks may stand in one another; the outer one's leases are kept too.
        """
        give_up_s = monotonic() + limit_s
        with self._lock:
            if not self._holds:
                self._lost.clear()
            self._holds.append(
                _Hold({(claim.job, claim.unit): claim for claim in claims}, limit_s, give_up_s)
            )
        self._pulse.holds_until(give_up_s)
        try:
            yield
        finally:
            with self._lock:
                self._holds.pop()
                outer_s = self._holds[-1].give_up_s if self._holds else 0.0
            self._pulse.holds_until(outer_s)
            self._pulse.asked()

    def got_on(self) -> None:
        """The innermost block is a step further: its limit counts from now."""
        with self._lock:
            hold = self._holds[-1]
            hold.give_up_s = monotonic() + hold.limit_s
        self._pulse.holds_until(hold.give_up_s)

    def unsettled(self) -> list[Claim]:
        """What the innermost block holds and has not reported yet."""
        with self._lock:
            return list(self._holds[-1].claims.values()) if self._holds else []

    def reported(self, claim: Claim) -> None:
        """`claim` is settled: its lease is no longer ours to keep."""
        with self._lock:
            for hold in self._holds:
                hold.claims.pop((claim.job, claim.unit), None)

    def lost(self, claim: Claim) -> bool:
        """Whether the farm has taken `claim` away: canceled, deleted or given to another."""
        with self._lock:
            return (claim.job, claim.unit, claim.attempt) in self._lost

    def _beat(self) -> None:
        with self._lock:
            now_s = monotonic()
            live = [hold.claims.values() for hold in self._holds if now_s < hold.give_up_s]
            held = [claim for claims in live for claim in claims]
        try:
            gone = self._work.beat(held)
            self._presence.announce(self._describe(held))
            self._pulse.healthy()
        except FarmError as error:
            log.warning("no beat: %s", error.message, extra={"action": "beat"})
            return
        with self._lock:
            self._lost.update((claim.job, claim.unit, claim.attempt) for claim in gone)

    def _describe(self, held: Sequence[Claim]) -> WorkerPresence:
        return WorkerPresence(
            id=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            voices=self._voices,
            ready=True,
            started_ms=self._started_ms,
            holding=tuple(f"{claim.job}:{claim.unit}" for claim in held),
            rss_bytes=resident_bytes(),
            audio_ms=round(self.spoken.audio_s * 1000),
            synthesis_ms=round(self.spoken.synthesis_s * 1000),
        )
