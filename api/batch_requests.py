"""What a batch may ask: its head, its inputs with the defaults, every fault with its number.

Inputs wait in temporary files, so that all are judged before the first is stored.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from api.batch_bodies import Head, Piece, RawInput
from api.requests import (
    Fault,
    JobBody,
    Rules,
    describe,
    examine,
    metadata_faults,
    no_such_field,
    raise_faults,
    retention_faults,
    webhook_faults,
)
from shared.batches import BatchInput
from shared.errors import BodyTooLarge, InvalidRequest, MalformedBody
from shared.schemas import JobRequest

MAX_FAULTS = 1000  # told of one batch; all are counted
IN_MEMORY_BYTES = 1_000_000
MAX_NAME_CHARS = 100
MAX_NAME_BYTES = 200
FORBIDDEN = frozenset('/\\:*?"<>|')
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
NOT_IN_INPUTS = {"id": "give a name; the farm makes the ids", "retention_s": "give it once, beside"}
NOT_IN_DEFAULTS = {**NOT_IN_INPUTS, **dict.fromkeys(("text", "ssml", "name"), "give it per input")}
SAMPLE = {"text": "."}


def _job_fields(*left_out: str) -> dict[str, Any]:
    fields = JobBody.model_fields
    return {name: (one.annotation, one) for name, one in fields.items() if name not in left_out}


STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
BatchInputBody = create_model(
    "BatchInputBody",
    __config__=STRICT,
    name=(
        str | None,
        Field(
            default=None, description="Its name in the batch and the archive; its number if none"
        ),
    ),
    **_job_fields("id", "retention_s"),
)
BatchDefaults = create_model(
    "BatchDefaults", __config__=STRICT, **_job_fields("id", "text", "ssml", "retention_s")
)


class BatchHeadBody(BaseModel):
    """A batch without its inputs, the first line of JSON lines."""

    model_config = STRICT

    id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="A name of your own; the same id and inputs again answer the same batch",
    )
    defaults: dict[str, Any] = Field(
        default={}, description="What holds for inputs that say nothing"
    )
    accept: Literal["all", "valid"] = Field(
        default="all", description="valid: leave out inputs at fault instead of refusing the batch"
    )
    webhook_url: str | None = Field(default=None, max_length=2000, description="Told of its end")
    metadata: dict[str, str] = Field(default={})
    retention_s: int | None = Field(default=None, ge=60, description="Counted from its end")


class BatchBody(BatchHeadBody):
    """The body of `POST /v1/batches`; or JSON lines, see docs/batches.md."""

    defaults: BatchDefaults = Field(default=BatchDefaults())  # type: ignore[assignment]  # as shown
    inputs: list[BatchInputBody | str] = Field(
        description="Objects like the body of POST /v1/jobs, or texts; jobs get priority low"
    )


@dataclass(frozen=True, kw_only=True)
class Received:
    """A body that was read whole: its head, and its inputs in a file, still to be judged."""

    head: dict[str, Any]
    inputs: SpooledTemporaryFile[str]
    n_inputs: int
    fingerprint: str


@dataclass(kw_only=True)
class Judged:
    """Inputs that may be stored, in a file, and the faults of the others."""

    inputs: SpooledTemporaryFile[str]
    n_valid: int = 0
    n_chars: int = 0  # of the valid ones
    n_rejected: int = 0
    n_told_short: int = 0  # faults there was no room for
    voices: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def __iter__(self) -> Iterator[BatchInput]:
        self.inputs.seek(0)
        for line in self.inputs:
            number, name, text, request, digest = json.loads(line)
            request["webhook_events"] = tuple(request["webhook_events"])
            yield BatchInput(
                number=number,
                name=name,
                text=text,
                request=JobRequest.load(request),
                fingerprint=digest,
            )


def open_spool() -> SpooledTemporaryFile[str]:
    """A file for lines of ASCII, on disk when it is large."""
    return SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, mode="w+", encoding="ascii")


def check_count(n_inputs: int, max_inputs: int) -> None:
    """Raises `BodyTooLarge` for more inputs than a batch may have."""
    if n_inputs > max_inputs:
        raise BodyTooLarge(
            f"The batch has more than {max_inputs} inputs; send several.", limit=max_inputs
        )


def receive(
    pieces: Iterable[Piece], max_inputs: int, inputs: SpooledTemporaryFile[str]
) -> Received:
    """Read the body to its end, its inputs into a file; `BodyTooLarge` for too many of them."""
    head: dict[str, Any] = {}
    digest, n_inputs = hashlib.sha256(), 0
    for piece in pieces:
        if isinstance(piece, Head):
            head = piece.values
            continue
        n_inputs = piece.number
        check_count(n_inputs, max_inputs)
        digest.update(json.dumps([piece.value, piece.problem], sort_keys=True).encode())
        row = [piece.number, piece.line, piece.value, piece.problem]
        inputs.write(json.dumps(row) + "\n")
    kept = {name: value for name, value in head.items() if name != "id"}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    if not n_inputs:
        raise_faults([Fault(field="inputs", given="none", expected="must hold at least one input")])
    return Received(head=head, inputs=inputs, n_inputs=n_inputs, fingerprint=digest.hexdigest())


def parse_head(values: dict[str, Any], rules: Rules) -> BatchHeadBody:
    """The batch's own fields; raises one error that names every fault, its defaults' too."""
    try:
        head = BatchHeadBody.model_validate(values)
    except ValidationError as error:
        raise_faults(map(_head_fault, error.errors(include_url=False)))
        raise InvalidRequest from error
    own = head.model_dump()
    told = [_misplaced(name, NOT_IN_DEFAULTS) for name in head.defaults if name in NOT_IN_DEFAULTS]
    rest = {name: value for name, value in head.defaults.items() if name not in NOT_IN_DEFAULTS}
    told += examine({**rest, **SAMPLE}, rules)[1]
    in_defaults = [
        Fault(field=f"defaults.{f.field}", given=f.given, expected=f.expected, error=f.error)
        for f in told
    ]
    raise_faults(
        chain(
            metadata_faults(own),
            webhook_faults(own, rules),
            retention_faults(own, rules.settings),
            in_defaults,
        )
    )
    return head


def _head_fault(detail: Any) -> Fault:
    path = ".".join(str(part)[:80] for part in detail["loc"])
    expected = detail["msg"].replace("Input should be", "must be")
    if detail["type"] == "extra_forbidden":
        expected = no_such_field(BatchBody)
    return Fault(field=path, given=describe(path, detail["input"]), expected=expected)


def _misplaced(name: str, advice: dict[str, str]) -> Fault:
    return Fault(field=name, given="a value", expected=f"does not belong here; {advice[name]}")


def judge(
    received: Received, head: BatchHeadBody, rules: Rules, inputs: SpooledTemporaryFile[str]
) -> Judged:
    """Every input with the defaults filled in, into a file, and what is wrong with the others."""
    judged, names = Judged(inputs=inputs), set[str]()
    received.inputs.seek(0)
    retention_s = head.retention_s or rules.settings.retention_s
    for row in received.inputs:
        number, line, value, problem = json.loads(row)
        raw = RawInput(number=number, line=line, value=value, problem=problem)
        name, values, faults = _input_values(raw, head.defaults, names)
        asked = None
        if values is not None:
            asked, found = examine(values, rules)
            faults += found
        if faults or asked is None:
            judged.n_rejected += 1
            room = MAX_FAULTS - len(judged.faults)
            judged.faults += [_numbered(fault, raw) for fault in faults[:room]]
            judged.n_told_short += max(0, len(faults) - room)
            continue
        judged.n_valid += 1
        judged.n_chars += len(asked.text)
        judged.voices[asked.request.voice] += 1
        request = {**asked.request.dump(), "retention_s": retention_s}
        kept = [number, name, asked.text, request, asked.fingerprint]
        judged.inputs.write(json.dumps(kept) + "\n")
    return judged


def _input_values(
    raw: RawInput, defaults: dict[str, Any], names: set[str]
) -> tuple[str, dict[str, Any] | None, list[Fault]]:
    """The input's name and its values over the defaults, None if it is none; and its faults."""
    if raw.problem:
        error = MalformedBody(raw.problem)
        fault = Fault(field="line", given="a line", expected="must be one JSON value", error=error)
        return "", None, [fault]
    value = {"text": raw.value} if isinstance(raw.value, str) else raw.value
    if not isinstance(value, dict):
        expected = "must be an object or a text"
        return "", None, [Fault(field="input", given=describe("input", value), expected=expected)]
    faults = [_misplaced(field, NOT_IN_INPUTS) for field in value if field in NOT_IN_INPUTS]
    name = value.get("name")
    if name is None:
        name = f"{raw.number:05d}"
    faults += check_name(name, names)
    left_out = {"name", *NOT_IN_INPUTS}
    own = {field: given for field, given in value.items() if field not in left_out}
    return str(name), {"priority": "low", **defaults, **own}, faults


def check_name(name: object, taken: set[str]) -> list[Fault]:
    """What keeps `name` from being a file's name on any system; else it counts as taken."""
    expected = None
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        expected = f"must be a string of 1 to {MAX_NAME_CHARS} characters"
    elif not name.isprintable() or FORBIDDEN & set(name):
        expected = "must be a file's name: no control characters, none of / \\ : * ? \" < > |"
    elif len(name.encode()) > MAX_NAME_BYTES:
        expected = f"must have at most {MAX_NAME_BYTES} bytes in UTF-8"
    elif name[0] in " .-" or name[-1] in " .":
        expected = "must not begin with a space, a dot or a dash, nor end with a space or a dot"
    elif name.partition(".")[0].casefold() in DEVICES:
        expected = "is a device's name on Windows; choose another"
    elif name.casefold() in taken:
        expected = "stands twice in this batch; names differ in more than case"
    else:
        taken.add(name.casefold())
    return (
        [Fault(field="name", given=describe("name", name), expected=expected)] if expected else []
    )


def _numbered(fault: Fault, raw: RawInput) -> dict[str, Any]:
    place: dict[str, Any] = {"input": raw.number}
    if raw.line is not None:
        place["line"] = raw.line
    return {**place, **fault.view()}
