"""Bytes that are JSON or forms, and bytes that are not."""

import pytest
from flask import request
from flask.testing import FlaskClient

from api.bodies import STRICT, parse_json, read_form
from shared.errors import MalformedBody


def test_an_object_is_read() -> None:
    assert parse_json('{"text": "你好", "a": [1, 2.5, null]}'.encode()) == {
        "text": "你好",
        "a": [1, 2.5, None],
    }


def test_the_mark_that_windows_puts_before_a_file_is_passed_over() -> None:
    assert parse_json(b'\xef\xbb\xbf{"text": "a"}') == {"text": "a"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "line 1, column 1"),
        (b'{"text": ', "line 1, column 10"),
        (b'{"text": "a"} x', "column 15"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"speed": NaN}', "NaN is not JSON"),
        (b'{"speed": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"\\ud800": 1}', "holds a lone surrogate"),
        (b'{"x": {"a": 1, "a": 2}}', "'a' stands twice"),
        (b'{"text": "\xff"}', "byte 10 (0xff)"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "out of all measure"),
        (b'{"a": ' + b"9" * 5000 + b"}", "out of all measure"),
        (b'{"text": "a\nb"}', "control character"),
    ],
)
def test_what_is_not_a_json_object_is_told_with_the_place(data: bytes, told: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        parse_json(data)
    assert told in caught.value.message


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a": ', "}")])
def test_what_is_nested_deeper_than_any_body_is_refused(opens: str, closes: str) -> None:
    """The deepest the parser has room for is too deep for who would show or store it."""

    def nested(depth: int) -> bytes:
        return ('{"a": ' + opens * depth + "1" + closes * depth + "}").encode()

    assert parse_json(nested(90))
    for depth in (100, 900, 940, 100_000):
        with pytest.raises(MalformedBody, match="nesting out of all measure"):
            parse_json(nested(depth))


@pytest.mark.parametrize("data", ["{%s}", '{"metadata": {%s}}', '{"inputs": [{%s}]}'])
def test_an_object_of_more_fields_than_any_has_is_refused(data: str) -> None:
    def fields(count: int) -> bytes:
        return (data % ", ".join(f'"f{n}": 1' for n in range(count))).encode()

    assert parse_json(fields(10_000))
    with pytest.raises(MalformedBody, match="has 100000 fields; give at most 10000"):
        parse_json(fields(100_000))


def test_a_field_that_stands_twice_is_found_without_comparing_each_with_each() -> None:
    compared = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return str.__eq__(self, other)

    names = [*(Name(f"f{n}") for n in range(198)), Name("last"), Name("last")]
    with pytest.raises(MalformedBody, match="'last' stands twice"):
        STRICT.object_pairs_hook([(name, 1) for name in names])
    assert len(compared) < 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", None])
def test_another_content_type_is_refused(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post("/v1/jobs", data=b"{}", content_type=content_type)
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_malformed_json_over_http_is_a_400(client: FlaskClient) -> None:
    answer = client.post("/v1/jobs", data=b"{", content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("path", ["/v1/jobs", "/api/tts"])
def test_a_body_over_the_limit_is_a_413(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={"text": "好" * 20_000})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "form", [b"text=%FF%FE", b"text=\xe4\xbd", b"&".join(b"f%d=1" % i for i in range(200))]
)
def test_a_form_that_can_not_be_read_is_a_400(client: FlaskClient, form: bytes) -> None:
    answer = client.post("/synthesize", data=form, content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json["code"]) == (400, 400)


def test_a_multipart_form_that_is_not_utf8_is_a_400(client: FlaskClient) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\r\n--x--\r\n'
    answer = client.post("/synthesize", data=body, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.json) == (
        400,
        {"code": 400, "msg": "请求格式不正确: The form is not UTF-8."},
    )


@pytest.mark.parametrize("text", [None, "", "  ", "\u3000"])
def test_the_articles_calls_answer_400_to_an_empty_text(
    client: FlaskClient, text: str | None
) -> None:
    given = {} if text is None else {"text": text}
    answer = client.post("/api/tts", json=given)
    assert (answer.status_code, answer.json) == (400, {"code": 400, "msg": "Missing text"})
    told = {"code": 400, "msg": "请输入要合成的文本"}
    for form in ({"data": given or {"other": "x"}}, {"json": given}):
        answer = client.post("/synthesize", **form)
        assert (answer.status_code, answer.json) == (400, told)


@pytest.mark.parametrize("form", ["text=你好&speed=1".encode(), b"text=%E4%BD%A0%E5%A5%BD&speed=1"])
def test_a_form_is_read_percent_encoded_or_plain(client: FlaskClient, form: bytes) -> None:
    kind = "application/x-www-form-urlencoded"
    with client.application.test_request_context(
        "/synthesize", method="POST", data=form, content_type=kind
    ):
        assert read_form(request) == {"text": "你好", "speed": "1"}
