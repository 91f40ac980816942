"""Job records as the scripts keep them, read into the values the code uses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from shared.connection import Scripts, state_store
from shared.schemas import AudioResult, CaptionsResult, ErrorInfo, Job, JobRequest
from shared.states import JobStatus

SCAN = 100  # names read at once from an index


def read_request(text: str) -> JobRequest:
    """A stored request; lists become the tuples the dataclass holds."""
    values = json.loads(text)
    values["webhook_events"] = tuple(values.get("webhook_events", ()))
    return JobRequest.load(values)


def _number(record: Mapping[str, str], name: str) -> int | None:
    return int(float(record[name])) if name in record else None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A job's place among those not yet started, and when it is expected to start and be done."""

    position: int | None = None
    starts_in_ms: int | None = None
    done_in_ms: int | None = None

    @classmethod
    def read(cls, position: int, starts_in_ms: int, done_in_ms: int) -> Self:
        """From what the scripts answer, where -1 is unknown."""
        return cls(
            position=position if position > 0 else None,
            starts_in_ms=starts_in_ms if starts_in_ms >= 0 else None,
            done_in_ms=done_in_ms if done_in_ms >= 0 else None,
        )


def read_job(record: Mapping[str, str], outlook: Outlook | None = None) -> Job:
    """A job from its Redis hash."""
    outlook = outlook or Outlook()
    audio, error, captions = map(record.get, ("audio", "error", "captions"))
    return Job(
        id=record["id"],
        tenant=record["tenant"],
        status=JobStatus(record["status"]),
        request=read_request(record["request"]),
        n_chars=int(record["n_chars"]),
        segments_total=_number(record, "segments_total"),
        segments_done=int(record["segments_done"]),
        audio_ms=int(record["audio_ms"]),
        synthesis_ms=int(record["synthesis_ms"]),
        cached_segments=int(record.get("cached_segments", 0)),
        position=outlook.position,
        starts_in_ms=outlook.starts_in_ms,
        done_in_ms=outlook.done_in_ms,
        created_ms=int(float(record["created_ms"])),
        started_ms=_number(record, "started_ms"),
        first_audio_ms=_number(record, "first_audio_ms"),
        finished_ms=_number(record, "finished_ms"),
        expires_ms=_number(record, "expires_ms"),
        audio=AudioResult.load(json.loads(audio)) if audio else None,
        captions=CaptionsResult.load(json.loads(captions)) if captions else None,
        error=ErrorInfo.load(json.loads(error)) if error else None,
        substitutions=tuple(json.loads(record.get("substitutions") or "[]")),
        version=int(record["version"]),
        batch=record.get("batch"),
        name=record.get("name"),
    )


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A flat `field, value, ...` answer as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def newest(scripts: Scripts, index: str, cursor: str | None) -> Iterator[list[tuple[str, int]]]:
    """Names of a sorted set with their scores, the highest first, in pieces; after `cursor`.

    The cursor is `<score>.<name>`; names of one score come in falling order. A piece goes on from
    the last name before it, so what comes or goes meanwhile moves nothing.
    """
    ceiling, _, after = (cursor or "+inf.").partition(".")
    start = 0
    while True:
        with state_store():
            rows = scripts.client.zrevrangebyscore(
                index, ceiling, "-inf", start=start, num=SCAN, withscores=True
            )
        yield [
            (name, int(score))
            for name, score in rows
            if not (after and f"{score:.0f}" == ceiling and name >= after)
        ]
        if len(rows) < SCAN:
            return
        name, score = rows[-1]
        last = f"{score:.0f}"
        if last == ceiling:
            start += SCAN
        else:
            ceiling, after, start = last, name, 0


def read_each(scripts: Scripts, keys: Sequence[str]) -> list[dict[str, str]]:
    """The hashes under `keys`, empty where there is none."""
    with state_store():
        pipe = scripts.client.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        return list(pipe.execute())
