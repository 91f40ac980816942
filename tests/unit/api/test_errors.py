"""Errors as callers see them, and the document that names them."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from api.errors import refusal
from api.openapi import PLACEHOLDER, described_routes
from shared.errors import FarmError, SlowCaller, Unavailable, all_errors

PLACEHOLDERS = re.compile(r"\{\w+\}")
PAGES = {"/", "/farm", "/docs", "/openapi.json", "/static/<path:filename>"}


def test_an_unknown_path_is_a_problem_with_a_code_and_the_requests_id(client: FlaskClient) -> None:
    answer = client.get("/nowhere", headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.json["code"] == "not_found"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"] == "abc-1"


def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: FlaskClient) -> None:
    answer = client.get("/livez", headers={"X-Request-Id": 'x" y'})
    assert answer.headers["X-Request-Id"] != 'x" y'


def test_a_wrong_method_says_which_are_right(client: FlaskClient) -> None:
    answer = client.put("/v1/voices")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_a_refusal_before_the_app_says_when_to_come_back() -> None:
    head, _, body = refusal(Unavailable("No room.", retry_after_s=7), "r-1").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 7" in head
    assert json.loads(body)["request_id"] == "r-1"
    assert b"Retry-After" not in refusal(SlowCaller(), "r-2")


def test_every_error_of_the_tree_is_answered_with_its_status_and_code(client: FlaskClient) -> None:
    app = client.application
    handler = app.error_handler_spec[None][None][FarmError]
    for error in all_errors():
        with app.test_request_context("/v1/jobs"):
            answer = handler(error())
        assert (answer.status_code, answer.json["code"]) == (error.status, error.code)
        assert answer.json["detail"]
        assert ("Retry-After" in answer.headers) == (
            error.status in (429, 503, 504) and error.code != "deadline_exceeded"
        )


def test_an_unforeseen_fault_is_a_500_that_tells_nothing(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("secret")

    client.application.view_functions["health.livez"] = fail
    answer = client.get("/livez")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text, "its words may be a caller's"
    told = next(one for one in caplog.records if hasattr(one, "trace"))
    assert "in fail" in told.trace
    assert told.request_id == answer.json["request_id"]


@pytest.mark.parametrize("path", ["/", "/farm", "/docs"])
def test_pages_allow_only_the_farms_own_files(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text
    assert "<script>" not in answer.text
    assert " style=" not in answer.text


@pytest.mark.parametrize("path", ["/", "/farm", "/docs", "/static/docs.js"])
def test_pages_work_behind_a_prefix_of_paths(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        text = answer.text
    assert re.findall(r"""(?:href=|src=|fetch\()["'`]/.*""", text) == []


def test_the_openapi_document_is_valid_and_names_every_route(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    validate(document)
    rules = {rule.rule for rule in client.application.url_map.iter_rules()}
    described = {rule.rule for rule, _, _ in described_routes(client.application)}
    assert rules - described == PAGES
    assert set(document["paths"]) == {PLACEHOLDER.sub(r"{\1}", rule) for rule in described}


def test_the_document_tells_the_scope_of_every_call_that_needs_one(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    submit, livez = document["paths"]["/v1/jobs"]["post"], document["paths"]["/livez"]["get"]
    assert submit["security"] == [{"key": ["submit"]}]
    assert {"401", "403", "429"} <= submit["responses"].keys()
    assert "security" not in livez
    assert "401" not in livez["responses"]
    for operation in (submit, livez):  # the door refuses what it can not read for any of them
        assert {"400", "408", "431"} <= operation["responses"].keys()


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("post", "/v1/audio/speech", {"data": {"input": "好"}}, 415),
        ("post", "/v1/audio/speech", {"json": {"input": "好" * 9_000}}, 413),
        ("get", "/v1/jobs/{job_id}/events", {"query_string": {"x": "1"}}, 422),
        ("get", "/v1/batches/{batch_id}/events", {"query_string": {"x": "1"}}, 422),
    ],
)
def test_the_document_names_what_is_refused_before_redis_is_asked(
    client: FlaskClient, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    answer = client.open(PLACEHOLDERS.sub("any", path), method=method, **sent)
    assert answer.status_code == status
    told = client.get("/openapi.json").json["paths"][path][method]["responses"]
    assert answer.mimetype in told[str(status)]["content"]


@pytest.mark.parametrize(
    ("method", "path", "status", "codes"),
    [
        ("post", "/v1/jobs", "429", {"farm_crowded", "too_many_requests"}),
        ("post", "/v1/jobs", "503", {"no_voice_ready", "state_store_full", "not_replicated"}),
        ("post", "/v1/batches", "413", {"body_too_large", "text_too_long"}),
        ("post", "/v1/batches", "429", {"farm_crowded", "too_many_requests"}),
        ("get", "/v1/files/{key}", "503", {"object_store_unavailable"}),
        ("get", "/v1/jobs/{job_id}/captions.{caption_format}", "416", {"range_not_satisfiable"}),
    ],
)
def test_the_document_names_every_code_of_a_status(
    client: FlaskClient, method: str, path: str, status: str, codes: set[str]
) -> None:
    told = client.get("/openapi.json").json["paths"][path][method]["responses"][status]
    assert codes <= set(re.findall(r"`(\w+)`", told["description"]))


def test_the_document_names_both_forms_of_speech_and_every_filter(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    speech = paths["/v1/audio/speech"]["post"]["responses"]
    assert set(speech["200"]["content"]) == {"audio/*", "text/event-stream"}
    assert "504" in speech
    assert "batch" in {one["name"] for one in paths["/v1/jobs"]["get"]["parameters"]}


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("/v1/jobs", ("application/json",)),
        ("/v1/batches", ("application/json", "application/jsonl", "application/x-ndjson")),
        (
            "/synthesize",
            ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"),
        ),
    ],
)
def test_the_document_names_every_form_a_body_may_have(
    client: FlaskClient, path: str, types: tuple[str, ...]
) -> None:
    told = client.get("/openapi.json").json["paths"][path]["post"]["requestBody"]["content"]
    assert set(types) <= set(told)
    for media in told:
        answer = client.post(path, data=b"text=%FF", content_type=media)
        assert answer.status_code != 415, media
    assert client.post(path, data=b"x", content_type="text/csv").status_code == 415


def test_the_document_names_the_key_of_every_call_that_takes_one(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    for path in ("/v1/jobs", "/v1/batches", "/v1/audio/speech", "/v1/predictions"):
        assert "Idempotency-Key" in {one["name"] for one in paths[path]["post"]["parameters"]}


def test_the_document_holds_the_bodys_limits(client: FlaskClient) -> None:
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    body = schemas["JobBody"]["properties"]
    assert (body["speed"]["minimum"], body["speed"]["maximum"]) == (0.5, 2)
    assert schemas["JobBody"]["additionalProperties"] is False
    assert set(body["format"]["enum"]) == {"wav", "mp3", "flac", "ogg", "opus", "pcm"}
