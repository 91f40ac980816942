"""A batch's body in pieces, so that memory does not grow with it: its head and its inputs.

Two forms: JSON lines, an input a line, the head in a first line `{"batch": {...}}`; or one JSON
object whose `inputs` may stand before or after the rest. What the values must mean is left to
`batch_requests.py`.
"""

import codecs
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from flask import Request

from api.bodies import MOST_FIELDS, STRICT
from shared.errors import MalformedBody, UnsupportedMediaType

LINE_TYPES = frozenset(
    {"application/jsonl", "application/x-jsonl", "application/x-ndjson", "application/json-lines"}
)
READ_CHARS = 65_536
NUMBER = "0123456789+-.eE"


@dataclass(frozen=True, kw_only=True)
class Head:
    """Everything of a batch but its inputs."""

    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RawInput:
    """One input as it was given, or the `problem` that kept it from being read."""

    number: int
    line: int | None
    value: Any = None
    problem: str | None = None


Piece = Head | RawInput


def read_pieces(request: Request, max_bytes: int, max_input_bytes: int) -> Iterator[Piece]:
    """The body of a request for a batch; raises `UnsupportedMediaType`, `MalformedBody`."""
    request.max_content_length = max_bytes
    # Werkzeug's limited stream is raw: it would read a line byte by byte.
    stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, request.stream), READ_CHARS))
    if request.mimetype in LINE_TYPES:
        return _read_lines(stream, max_input_bytes)
    if request.is_json:
        return JsonReader(stream, max_input_bytes).pieces()
    raise UnsupportedMediaType(
        f"The content type is {request.mimetype or 'missing'}; send application/json, or "
        "application/jsonl with an input a line."
    )


def _read_lines(stream: BinaryIO, max_input_bytes: int) -> Iterator[Piece]:
    number, headed = 0, False
    for line, data in enumerate(_lines(stream, max_input_bytes), start=1):
        if data is not None and not data.strip():
            continue
        problem, value = None, None
        try:
            value = _value_of(data, max_input_bytes)
        except MalformedBody as error:
            problem = error.message
        first = number == 0 and not headed
        if first and isinstance(value, dict) and value.keys() == {"batch"}:
            headed = True
            yield Head(values=_object(value["batch"]))
            continue
        number += 1
        yield RawInput(number=number, line=line, value=value, problem=problem)


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes | None]:
    """Each line, None where it is longer than `max_bytes`."""
    first = True
    while data := stream.readline(max_bytes + 1):
        too_long = len(data) > max_bytes
        while too_long and data and not data.endswith(b"\n"):
            data = stream.readline(max_bytes)
        yield None if too_long else data.removeprefix(codecs.BOM_UTF8) if first else data
        first = False


def _value_of(data: bytes | None, max_bytes: int) -> Any:
    if data is None:
        raise MalformedBody(f"The line is longer than {max_bytes} bytes; split the text.")
    try:
        return STRICT.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The line is not UTF-8: byte {error.start} does not fit.") from error
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The line is not JSON: {error.msg} at column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The line has numbers or nesting out of all measure.") from error


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedBody('The batch\'s settings must be an object, such as {"accept": "all"}.')
    return value


class JsonReader:
    """Reads one JSON object, its `inputs` one by one; holds one value and what was read ahead."""

    def __init__(self, stream: BinaryIO, max_value_bytes: int) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._max_chars = max_value_bytes
        self._text = ""
        self._at = 0  # in the text held
        self._before = 0  # characters dropped from its front
        self._ended = False

    def pieces(self) -> Iterator[Piece]:
        head: dict[str, Any] = {}
        seen = False
        self._take("{", "The body must be a JSON object")
        more = self._peek() != "}"
        while more:
            name = self._value()
            if not isinstance(name, str) or name in head or (name == "inputs" and seen):
                raise self._fault("a field's name, given once, should stand here")
            self._take(":", "a colon should stand here")
            if name == "inputs":
                seen = True
                yield from self._inputs()
            else:
                head[name] = self._value()
                if len(head) > MOST_FIELDS:
                    raise MalformedBody(f"The batch has more than {MOST_FIELDS} fields.")
            more = self._goes_on("}")
        self._take("}", "the object should end here")
        if self._peek():
            raise self._fault("nothing may follow the object")
        yield Head(values=head)

    def _inputs(self) -> Iterator[Piece]:
        self._take("[", "inputs must be a list")
        number = 0
        more = self._peek() != "]"
        while more:
            number += 1
            yield RawInput(number=number, line=None, value=self._value())
            more = self._goes_on("]")
        self._take("]", "the list should end here")

    def _goes_on(self, end: str) -> bool:
        """Whether a comma stands here, which is passed, and not the end."""
        if self._peek() == end:
            return False
        self._take(",", f"a comma or {end} should stand here")
        return True

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = STRICT.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > self._max_chars:
                    self._at = error.pos
                    raise self._fault(error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self._fault("numbers or nesting out of all measure") from error
            else:
                # A number may go on in what is not read yet: 1 as 1.5, 1e as 1e9.
                if self._ended or self._text[end : end + 3].lstrip(NUMBER):
                    self._at = end
                    return value
            self._fill()

    def _peek(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._fill()

    def _take(self, char: str, otherwise: str) -> None:
        if self._peek() != char:
            raise self._fault(otherwise)
        self._at += 1

    def _fill(self) -> None:
        """Read on, at least as much as is held, so that a long value is not tried too often."""
        held = self._text[self._at :]
        data = self._stream.read(max(READ_CHARS, len(held)))
        self._ended = not data
        try:
            fresh = self._decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._fault("what follows is not UTF-8") from error
        if self._before == 0 and not held:
            fresh = fresh.removeprefix("\ufeff")
        self._before += self._at
        self._text, self._at = held + fresh, 0

    def _fault(self, what: str) -> MalformedBody:
        return MalformedBody(f"The body is not JSON: {what}, character {self._before + self._at}.")
