"""Query strings and `Prefer` to values; a parameter the call does not know is a fault."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from api.requests import Fault, describe, raise_faults
from shared.jobs import JobFilter
from shared.numbers import read_count, read_decimal
from shared.states import DeliveryStatus, JobStatus

PAGE_LIMIT = 50
MAX_PAGE_LIMIT = 200
METADATA = "metadata."
LIMIT_SCHEMA: dict[str, object] = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_PAGE_LIMIT,
    "default": PAGE_LIMIT,
}


PREFERRED_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:[,;]|$)', re.I | re.ASCII)
SEGMENT = re.compile(r"\d{1,6}\Z", re.ASCII)
CURSOR = re.compile(r"\d{1,15}\.[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
DELIVERY_CURSOR = re.compile(r"\d{1,15}:[A-Za-z0-9._-]{1,100}\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PageQuery:
    """Which jobs to list, and from where on."""

    cursor: str | None
    limit: int
    only: JobFilter


def check_known(args: Mapping[str, str], *known: str) -> None:
    """Raise `InvalidRequest` when `args` holds a parameter that is not among `known`."""
    raise_faults(_unknown(args, known))


def _unknown(args: Mapping[str, str], known: tuple[str, ...]) -> list[Fault]:
    expected = f"no such parameter; known are {', '.join(known) or 'none'}"
    return [
        Fault(field=name[:80], given=describe(name, args[name]), expected=expected)
        for name in args
        if name not in known and not (METADATA in known and name.startswith(METADATA))
    ]


def read_stream(args: Mapping[str, str]) -> int | None:
    """The segment a stream is to begin with, None where the finished audio is asked for."""
    check_known(args, "stream", "from_segment")
    stream, first = args.get("stream", "0"), args.get("from_segment")
    faults = []
    if stream not in ("0", "1"):
        faults.append(Fault(field="stream", given=describe("stream", stream), expected="0 or 1"))
    if first is not None and not SEGMENT.match(first):
        given = describe("from_segment", first)
        faults.append(Fault(field="from_segment", given=given, expected="a whole number from 0 up"))
    elif first is not None and stream != "1":
        given = describe("from_segment", first)
        faults.append(Fault(field="from_segment", given=given, expected="stream=1 beside it"))
    raise_faults(faults)
    return (read_count(first) or 0) if stream == "1" else None


def wants_stream(args: Mapping[str, str]) -> bool:
    """Whether `stream` asks for the audio while it is made; other values are a fault."""
    return read_stream({"stream": args.get("stream", "0")}) is not None


def read_wait(args: Mapping[str, str], max_wait_s: int) -> float:
    """Seconds of `?wait=`, 0 without it; anything but 0 to `max_wait_s` is a fault."""
    check_known(args, "wait")
    given = args.get("wait")
    if given is None:
        return 0.0
    seconds = read_decimal(given)
    if seconds is None or not 0 <= seconds <= max_wait_s:
        expected = f"must be a number of seconds from 0 to {max_wait_s}"
        raise_faults([Fault(field="wait", given=describe("wait", given), expected=expected)])
    return seconds or 0.0


def read_prefer(header: str | None, max_wait_s: int) -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), `max_wait_s` at most; None where there is none.

    A preference that can not be read is ignored, as the standard asks.
    """
    found = PREFERRED_WAIT.search(header or "")
    return min(int(found.group(1)), max_wait_s) if found else None


def _limit_faults(given: str) -> list[Fault]:
    if 1 <= (read_count(given) or 0) <= MAX_PAGE_LIMIT:
        return []
    expected = f"must be a whole number from 1 to {MAX_PAGE_LIMIT}"
    return [Fault(field="limit", given=describe("limit", given), expected=expected)]


def read_deliveries(args: Mapping[str, str]) -> tuple[str | None, int, DeliveryStatus | None]:
    """Cursor, limit and status of a list of deliveries; every fault is reported at once."""
    limit, cursor = args.get("limit", str(PAGE_LIMIT)), args.get("cursor")
    given, states = args.get("status"), [status.value for status in DeliveryStatus]
    faults = _unknown(args, ("cursor", "limit", "status")) + _limit_faults(limit)
    if given is not None and given not in states:
        expected = f"must be one of {', '.join(states)}"
        faults.append(Fault(field="status", given=describe("status", given), expected=expected))
    raise_faults(faults + _cursor_faults(cursor, DELIVERY_CURSOR))
    return cursor, read_count(limit) or PAGE_LIMIT, DeliveryStatus(given) if given else None


def _cursor_faults(cursor: str | None, form: re.Pattern[str] = CURSOR) -> list[Fault]:
    if cursor is None or form.match(cursor):
        return []
    expected = "must be the next_cursor of an earlier page"
    return [Fault(field="cursor", given=describe("cursor", cursor), expected=expected)]


def read_plain_page(args: Mapping[str, str]) -> tuple[str | None, int]:
    """Cursor and limit of a list without filters; every fault is reported at once."""
    limit, cursor = args.get("limit", str(PAGE_LIMIT)), args.get("cursor")
    faults = _unknown(args, ("cursor", "limit"))
    raise_faults(faults + _limit_faults(limit) + _cursor_faults(cursor))
    return cursor, read_count(limit) or PAGE_LIMIT


def _status_faults(args: "MultiDict[str, str]") -> list[Fault]:
    states = [status.value for status in JobStatus]
    wrong = [name for name in _statuses(args) if name not in states]
    expected = f"must be among {', '.join(states)}"
    given = [describe("status", name) for name in wrong[:1]]
    return [Fault(field="status", given=one, expected=expected) for one in given]


def _statuses(args: "MultiDict[str, str]") -> list[str]:
    return [name for value in args.getlist("status") for name in value.split(",")]


def read_statuses(args: "MultiDict[str, str]") -> frozenset[JobStatus]:
    """The job states of `?status=`, repeated or with commas; empty without it."""
    raise_faults(_unknown(args, ("status",)) + _status_faults(args))
    return frozenset(JobStatus(name) for name in _statuses(args))


def read_page(args: "MultiDict[str, str]") -> PageQuery:
    """Which page of jobs is asked for; every fault is reported at once."""
    faults = _unknown(args, ("cursor", "limit", "status", "voice", "batch", METADATA))
    limit, cursor = args.get("limit", str(PAGE_LIMIT)), args.get("cursor")
    raise_faults(faults + _limit_faults(limit) + _status_faults(args) + _cursor_faults(cursor))
    only = JobFilter(
        statuses=frozenset(JobStatus(name) for name in _statuses(args)),
        voice=args.get("voice"),
        batch=args.get("batch"),
        metadata={k.removeprefix(METADATA): v for k, v in args.items() if k.startswith(METADATA)},
    )
    return PageQuery(cursor=cursor, limit=read_count(limit) or PAGE_LIMIT, only=only)
