"""PresenceStore: which workers live, which voices they offer, how each lane stands."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.bells import lane_queue
from shared.connection import Scripts, state_store
from shared.schemas import Plain, Voice

VOICE_MEMORY_S = 86_400  # so long a voice may be without a worker before it is unknown
PRESENCE_S = 10.0  # a worker unheard of for this long counts as gone
KEPT_FOR_ACCEPTED = 0.1  # of Redis's memory: plans, results and bells of accepted work


@dataclass(frozen=True, kw_only=True)
class WorkerPresence(Plain):
    """A worker as it last announced itself. Times are milliseconds since the epoch.

    `audio_ms` is how much audio its engine has made since it started, `synthesis_ms` in what time.
    """

    id: str
    host: str
    pid: int
    voices: tuple[Voice, ...]
    ready: bool
    started_ms: int
    seen_ms: int = 0
    holding: tuple[str, ...] = ()
    rss_bytes: int = 0
    audio_ms: int = 0
    synthesis_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class KnownVoice:
    """A voice some worker has offered, and how many offer it now."""

    voice: Voice
    ready_workers: int


@dataclass(frozen=True, kw_only=True)
class StoreMemory:
    """What Redis holds, and where it begins to refuse: its own limit, else the machine's."""

    used_bytes: int
    limit_bytes: int

    @property
    def full(self) -> bool:
        """Whether writes are refused; False where no limit is known."""
        return 0 < self.limit_bytes <= self.used_bytes

    @property
    def crowded(self) -> bool:
        """Whether only what is kept for accepted work is left; False where no limit is known."""
        return 0 < self.limit_bytes * (1 - KEPT_FOR_ACCEPTED) <= self.used_bytes


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """One voice's lane: units due by class, age of the oldest head, units claimed."""

    voice: str
    depth_interactive: int
    depth_bulk: int
    waiting_s: float
    claimed: int
    bells: int
    workers: int

    @property
    def depth(self) -> int:
        return self.depth_interactive + self.depth_bulk


def _read_voice(values: dict[str, Any]) -> Voice:
    return Voice.load({**values, "emotions": tuple(values["emotions"])})


def _read_worker(text: str, seen_ms: float) -> WorkerPresence:
    values = json.loads(text)
    values["voices"] = tuple(_read_voice(v) for v in values["voices"])
    values["holding"] = tuple(values["holding"])
    values["seen_ms"] = int(seen_ms)
    return WorkerPresence.load(values)


class PresenceStore:
    """Announcements of workers and the views made of them."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def announce(self, presence: WorkerPresence, ttl_s: float = PRESENCE_S) -> None:
        """Say that a worker is here; forgotten after `ttl_s` unless said again."""
        flat: list[str] = []
        for voice in presence.voices if presence.ready else ():
            flat += [voice.name, json.dumps(voice.dump(), ensure_ascii=False)]
        record = json.dumps(presence.dump(), ensure_ascii=False)
        self._scripts("announce", presence.id, record, int(ttl_s * 1000), *flat)

    def leave(self, worker_id: str, voices: Sequence[str]) -> None:
        """Say that a worker has stopped."""
        self._scripts("leave", worker_id, *voices)

    def workers(self) -> list[WorkerPresence]:
        """Every live worker, by id."""
        client, key = self._scripts.client, self._scripts.key
        with state_store():
            seen = client.zrange(key("workers"), 0, -1, withscores=True)
            records = client.mget([key("worker", name) for name, _ in seen]) if seen else []
        live = [
            _read_worker(record, seen_ms)
            for (_, seen_ms), record in zip(seen, records, strict=True)
            if record
        ]
        return sorted(live, key=lambda worker: worker.id)

    def voices(self) -> list[KnownVoice]:
        """Every voice that some worker offered within the last day, by name."""
        client, key = self._scripts.client, self._scripts.key
        with state_store():
            since_ms = (client.time()[0] - VOICE_MEMORY_S) * 1000
            names = client.zrangebyscore(key("voices", "seen"), since_ms, "+inf")
            texts = client.hmget(key("voices"), names) if names else []
        records = {name: text for name, text in zip(names, texts, strict=True) if text}
        ready: dict[str, int] = {}
        for worker in self.workers():
            for voice in worker.voices if worker.ready else ():
                ready[voice.name] = ready.get(voice.name, 0) + 1
        return [
            KnownVoice(voice=_read_voice(json.loads(text)), ready_workers=ready.get(name, 0))
            for name, text in sorted(records.items())
        ]

    def memory(self) -> StoreMemory:
        """How full Redis is."""
        with state_store():
            found = self._scripts.client.info("memory")
        limit_bytes = found.get("maxmemory") or found.get("total_system_memory", 0)
        return StoreMemory(used_bytes=found["used_memory"], limit_bytes=limit_bytes)

    def lanes(self) -> list[LaneState]:
        """Every lane that ever had work or a worker, by voice."""
        rows = self._scripts("lanes", int(PRESENCE_S * 1000), lane_queue(""))
        states = [
            LaneState(
                voice=voice,
                depth_interactive=interactive,
                depth_bulk=bulk,
                waiting_s=waiting_ms / 1000,
                claimed=claimed,
                bells=bells,
                workers=workers,
            )
            for voice, interactive, bulk, waiting_ms, claimed, bells, workers in rows
        ]
        return sorted(states, key=lambda lane: lane.voice)
