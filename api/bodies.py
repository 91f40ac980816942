"""Bytes to plain values: JSON without its traps, forms without silent replacement.

What the values must mean is left to `requests.py`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import parse_qs

from flask import Request

from shared.errors import MalformedBody, UnsupportedMediaType

MAX_FORM_FIELDS = 100
MOST_FIELDS = 10_000  # of one object, those it should not have among them
MOST_NESTED = 100  # lists and objects in one another; no body needs ten
DRAIN_BYTES = 64_000_000
DRAIN_CHUNK_BYTES = 65_536
REPLACEMENT = "\ufffd"
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON; give a number, or leave the field out.")


def _sound_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise MalformedBody(f"An object has {len(pairs)} fields; give at most {MOST_FIELDS}.")
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        repeated = next(name for name, count in counts.items() if count > 1)
        raise MalformedBody(f"The field {repeated[:80]!r} stands twice; give it once.")
    if odd := [name for name in found if LONE_SURROGATE.search(name)]:
        raise MalformedBody(f"The field name {odd[0][:80]!r} holds a lone surrogate.")
    return found


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(
            f"The body is not UTF-8: byte {error.start} (0x{data[error.start]:02x}) "
            "does not fit; encode the body as UTF-8."
        ) from error


def drain(request: Request) -> None:
    """Read and drop a refused body, so that a client still sending it gets to read the answer.

    Beyond `DRAIN_BYTES` the rest stays unread, and the client may see the connection break.
    """
    if (request.content_length or 0) > DRAIN_BYTES:
        return
    stream = request.environ["wsgi.input"]
    left = DRAIN_BYTES
    while left > 0 and (chunk := stream.read(min(left, DRAIN_CHUNK_BYTES))):
        left -= len(chunk)


class _StrictDecoder(json.JSONDecoder):
    """Refuses what is nested deeper than any body: who shows or stores it would have no room."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        value, end = super().raw_decode(s, idx)
        if s.count("[", idx, end) + s.count("{", idx, end) <= MOST_NESTED:
            return value, end  # most bodies: nothing is nested deeper than it has brackets
        layer, depth = [value], 0
        while layer:
            depth += 1
            if depth > MOST_NESTED:
                raise RecursionError
            layer = [one for held in layer for one in _held_by(held)]
        return value, end


def _held_by(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


STRICT = _StrictDecoder(parse_constant=_refuse_constant, object_pairs_hook=_sound_object)


def parse_json(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; raises `MalformedBody` with what is wrong and where."""
    text = _decode(data).removeprefix("\ufeff")  # files of Windows begin so
    try:
        value = STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; deep nesting
        raise MalformedBody(
            "The body is JSON with numbers or nesting out of all measure."
        ) from error
    if not isinstance(value, dict):
        raise MalformedBody('The body must be a JSON object, such as {"text": "你好"}.')
    return value


def read_json(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body; raises `UnsupportedMediaType`, `MalformedBody`."""
    if not request.is_json:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype or 'missing'}; send application/json."
        )
    return parse_json(request.get_data(cache=False))


def _parse_urlencoded(data: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(
            data.decode("utf-8"),  # `curl -d` sends the characters as they are
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except UnicodeDecodeError as error:
        raise MalformedBody("The form is not UTF-8, percent-encoded or plain.") from error
    except ValueError as error:
        raise MalformedBody(f"The form has more than {MAX_FORM_FIELDS} fields.") from error
    return {name: values[0] for name, values in fields.items()}


FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def read_form(request: Request) -> dict[str, str]:
    """The fields of a submitted form; raises `UnsupportedMediaType`, `MalformedBody`."""
    if request.mimetype == FORM_TYPES[0]:
        return _parse_urlencoded(request.get_data(cache=False))
    if request.mimetype not in FORM_TYPES:
        raise UnsupportedMediaType(
            f"The content type is {request.mimetype or 'missing'}; send a form."
        )
    fields = request.form.to_dict()
    if any(REPLACEMENT in value for value in fields.values()):
        raise MalformedBody("The form is not UTF-8.")
    return fields
