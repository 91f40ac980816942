"""The OpenAPI 3.1 document, made from the routes themselves and the pydantic models they name."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from api.answers import Operation, operation_of
from api.bodies import FORM_TYPES
from api.errors import PROBLEM_TYPE
from api.views import ProblemView
from shared.errors import (
    FarmError,
    Forbidden,
    HeadTooLarge,
    MalformedBody,
    SlowCaller,
    StateStoreUnavailable,
    TooManyRequests,
    Unauthorized,
)

Mode = Literal["validation", "serialization"]
Document = dict[str, Any]
COMPONENT = "#/components/schemas/{model}"
# Refused before a route is looked for, so that every operation may be.
AT_THE_DOOR: tuple[type[FarmError], ...] = (MalformedBody, SlowCaller, HeadTooLarge)
WITH_A_KEY: tuple[type[FarmError], ...] = (
    Unauthorized,
    Forbidden,
    TooManyRequests,
    StateStoreUnavailable,
)
PLACEHOLDER = re.compile(r"<(?:\w+:)?(\w+)>")
SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key or a JWT with the scope a call names; none where TTSFARM_AUTH is none",
}
TAGS = {
    "jobs": "Text in, audio out",
    "batches": "Many texts as one",
    "farm": "Voices, lanes and workers",
    "webhooks": "Deliveries and secrets",
    "health": "Probes and numbers",
    "article": "The calls of the article this farm grew from",
    "openai": "For clients of OpenAI's speech; see docs/dialects.md",
    "replicate": "For clients of Replicate; see docs/dialects.md",
    "azure": "For clients of Azure's batch synthesis; see docs/dialects.md",
}


def described_routes(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    """Every route that belongs to the API, with its method and description."""
    for rule in app.url_map.iter_rules():
        operation = operation_of(app.view_functions[rule.endpoint])
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if operation:
                yield rule, method.lower(), operation


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": COMPONENT.format(model=model.__name__)}


def _content(answer: type[BaseModel] | str | tuple[str, ...] | None) -> Document:
    if answer is None:
        return {}
    if isinstance(answer, str | tuple):
        media = (answer,) if isinstance(answer, str) else answer
        return {"content": {one: _media(one) for one in media}}
    return {"content": {"application/json": {"schema": _ref(answer)}}}


def _media(media: str) -> Document:
    # 3.1 has no schema for the events of a stream.
    return {} if media == "text/event-stream" else {"schema": {"type": "string"}}


def _problem(errors: Iterable[type[FarmError]]) -> Document:
    codes = ", ".join(f"`{error.code}`" for error in errors)
    return {
        "description": f"Problem details with code {codes}",
        "content": {PROBLEM_TYPE: {"schema": _ref(ProblemView)}},
    }


def _responses(operation: Operation) -> Document:
    found: Document = {
        str(status): {"description": HTTPStatus(status).phrase, **_content(answer)}
        for status, answer in operation.answers.items()
    }
    raised = (*operation.errors, *(WITH_A_KEY if operation.scope else ()), *AT_THE_DOOR)
    for status in dict.fromkeys(error.status for error in raised):
        same = dict.fromkeys(error for error in raised if error.status == status)
        found.setdefault(str(status), _problem(same))
    return found


def _parameters(rule: Rule, operation: Operation) -> list[Document]:
    path: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PLACEHOLDER.findall(rule.rule)
    ]
    for spec, given in operation.parameters.items():
        place, _, name = spec.partition(":")
        schema = {k: v for k, v in given.items() if k != "description"}
        parameter: Document = {"name": name, "in": place, "schema": schema}
        if "description" in given:
            parameter["description"] = given["description"]
        path.append(parameter)
    return path


def _request_body(operation: Operation) -> Document | None:
    content: Document = {media: _media(media) for media in operation.lines}
    if operation.body:
        content["application/json"] = {"schema": _ref(operation.body)}
    if operation.form:
        fields = {name: {"type": "string"} for name in operation.form}
        schema = {"type": "object", "properties": fields, "required": ["text"]}
        content |= {media: {"schema": schema} for media in FORM_TYPES}
    return {"required": True, "content": content} if content else None


def _operation(rule: Rule, operation: Operation) -> Document:
    made: Document = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if operation.scope:
        made["security"] = [{"key": [operation.scope.value]}]
    if parameters := _parameters(rule, operation):
        made["parameters"] = parameters
    if body := _request_body(operation):
        made["requestBody"] = body
    return made


def _schemas(operations: Iterable[Operation]) -> Document:
    modes: dict[type[BaseModel], Mode] = {ProblemView: "serialization"}
    for operation in operations:
        if operation.body:
            modes[operation.body] = "validation"
        for answer in operation.answers.values():
            if isinstance(answer, type):
                modes[answer] = "serialization"
    _, document = models_json_schema(list(modes.items()), ref_template=COMPONENT)
    return dict(document["$defs"])


def build_document(app: Flask, version: str) -> Document:
    """The whole document as JSON-ready values."""
    routes = list(described_routes(app))
    paths: dict[str, Document] = {}
    for rule, method, operation in routes:
        path = PLACEHOLDER.sub(r"{\1}", rule.rule)
        paths.setdefault(path, {})[method] = _operation(rule, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ttsfarm",
            "version": version,
            "summary": "Chinese text in, speech out, in volume",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _schemas(operation for _, _, operation in routes),
            "securitySchemes": {"key": SECURITY},
        },
    }
