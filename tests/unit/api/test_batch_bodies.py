"""Bodies of batches in pieces: the same values as a whole reading, faults with their place."""

import io
import json
import tracemalloc
from typing import Any, BinaryIO, cast

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from api.batch_bodies import Head, JsonReader, Piece, RawInput, read_pieces
from api.batch_requests import open_spool, receive
from shared.errors import MalformedBody, UnsupportedMediaType

LINES, JSON = "application/jsonl", "application/json"


class Dripping(io.BytesIO):
    """Gives a few bytes a read, wherever that cuts."""

    step = 3

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(self.step, size) if size and size > 0 else self.step)


def pieces(data: bytes, kind: str, max_input_bytes: int = 1000) -> list[Piece]:
    environ = EnvironBuilder(method="POST", data=data, content_type=kind).get_environ()
    return list(read_pieces(Request(environ), 1_000_000, max_input_bytes))


def inputs(found: list[Piece]) -> list[Any]:
    return [one.value for one in found if isinstance(one, RawInput)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(
    values=st.lists(VALUES, max_size=5),
    before=st.dictionaries(st.text().filter(lambda name: name != "inputs"), VALUES, max_size=2),
    ascii_only=st.booleans(),
    indent=st.sampled_from((None, 2)),
    step=st.integers(1, 7),
)
def test_any_object_is_read_as_it_would_be_whole(
    values: list[Any], before: dict[str, Any], ascii_only: bool, indent: int | None, step: int
) -> None:
    body = {**before, "inputs": values, **({"after": 1} if "after" not in before else {})}
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)
    stream = Dripping(text.encode("utf-8", "surrogatepass"))
    stream.step = step
    found = list(JsonReader(cast(BinaryIO, stream), 100_000).pieces())
    assert inputs(found) == values
    expected = {name: value for name, value in json.loads(text).items() if name != "inputs"}
    assert [one.values for one in found if isinstance(one, Head)] == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "1", '{"inputs"', '{"inputs":}', '{"inputs":["a"', '{"inputs":["a",]}',
        '{"inputs":["a"]', '{"inputs":["a"]} x', '{"inputs":["a"],"inputs":["b"]}', '{"inputs":{}}',
        '{"a":1,"a":2}', '{"inputs":[{"a":1,"a":2}]}', '{"inputs":[NaN]}', '{1:2}', '{"a":1,}',
        '{"inputs":["' + "x" * 200_000 + "]}",
    ],
)  # fmt: skip
def test_a_broken_object_is_refused_with_its_place(body: str) -> None:
    with pytest.raises(MalformedBody):
        pieces(body.encode(), JSON)


def test_an_object_of_more_fields_than_any_has_is_refused() -> None:
    fields = ", ".join(f'"f{n}": 1' for n in range(10_001))
    with pytest.raises(MalformedBody, match="more than 10000 fields"):
        pieces(f'{{{fields}, "inputs": []}}'.encode(), JSON)
    (found,) = pieces(f"{{{fields}}}".encode(), LINES, 1_000_000)
    assert isinstance(found, RawInput)
    assert "has 10001 fields" in (found.problem or "")


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(MalformedBody, match="UTF-8"):
        pieces('{"inputs":["你好"]}'.encode("gb18030"), JSON)


def test_lines_have_a_head_blank_lines_and_numbers() -> None:
    body = '\ufeff{"batch": {"accept": "valid"}}\n\n"一"\r\n  \n{"text": "二"}'
    found = pieces(body.encode(), LINES)
    assert found == [
        Head(values={"accept": "valid"}),
        RawInput(number=1, line=3, value="一"),
        RawInput(number=2, line=5, value={"text": "二"}),
    ]


def test_each_bad_line_is_told_with_its_number_and_the_rest_is_read() -> None:
    long = json.dumps("x" * 3000).encode()
    body = b"\n".join([b'"a"', b"nope", long, "你".encode("gb18030"), b'{"a":1,"a":2}', b'"b"'])
    found = [one for one in pieces(body, LINES) if isinstance(one, RawInput)]
    assert [(one.line, one.value) for one in found if not one.problem] == [(1, "a"), (6, "b")]
    bad = {one.line: one.problem or "" for one in found if one.problem}
    assert {line: word in bad[line] for line, word in
            {2: "column 1", 3: "longer", 4: "UTF-8", 5: "twice"}.items()} == dict.fromkeys(
        (2, 3, 4, 5), True)  # fmt: skip


def test_a_second_head_is_an_input_like_any_other() -> None:
    found = pieces(b'"a"\n{"batch": {}}\n', LINES)
    assert inputs(found) == ["a", {"batch": {}}]


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_another_kind_of_body_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="jsonl"):
        pieces(b'"a"', kind)


@pytest.mark.parametrize("kind", [LINES, JSON])
def test_memory_does_not_grow_with_the_body(kind: str) -> None:
    texts = ["x" * 20_000] * 500
    data = (
        "\n".join(map(json.dumps, texts)) if kind == LINES else json.dumps({"inputs": texts})
    ).encode()
    environ = EnvironBuilder(method="POST", data=data, content_type=kind).get_environ()
    with open_spool() as spool:
        tracemalloc.start()
        read = receive(read_pieces(Request(environ), 20_000_000, 100_000), 1000, spool)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert read.n_inputs == 500
    assert peak < len(data) / 3
