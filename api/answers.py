"""Successful answers that several routes share, and how a route is described for OpenAPI."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from flask import Flask, Response, current_app, jsonify
from pydantic import BaseModel

from api.farm import Farm
from shared.errors import FarmError
from shared.schemas import Job
from shared.tenants import Scope
from shared.views import job_view

POLL_S = 1

View = TypeVar("View", bound=Callable[..., object])


Parameters = dict[str, dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the OpenAPI document says of one route beyond its path and methods.

    `answers` maps a status to a model, or to the media type, or types, of what is not JSON.
    A request's body is JSON of the model `body`, or else one of the `lines`' media types, with a
    JSON object a line, or a form of these fields. `parameters` maps a name, `query:` or `header:`
    before it, to its JSON schema. `scope` is what the caller's key must have; a route without one
    is closed unless `guards.PUBLIC` names it.
    """

    summary: str
    tag: str
    answers: dict[int, type[BaseModel] | str | tuple[str, ...] | None]
    body: type[BaseModel] | None = None
    lines: tuple[str, ...] = ()
    form: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    errors: tuple[type[FarmError], ...] = ()
    scope: Scope | None = None


ATTRIBUTE = "ttsfarm_operation"
IDEMPOTENCY: Parameters = {
    "header:Idempotency-Key": {
        "type": "string",
        "maxLength": 255,
        "description": "The same key and body again answers what the first call made",
    }
}


def documented(operation: Operation) -> Callable[[View], View]:
    """Attach `operation` to a view function."""

    def attach(view: View) -> View:
        setattr(view, ATTRIBUTE, operation)
        return view

    return attach


def operation_of(view: Callable[..., object]) -> Operation | None:
    """What was attached to a view function, None where it is not part of the API."""
    found = getattr(view, ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None


def current_farm() -> Farm:
    """The farm this app serves."""
    return farm_of(current_app)


def farm_of(app: Flask) -> Farm:
    """The farm an app serves."""
    return cast(Farm, app.extensions["ttsfarm"])


def job_answer(job: Job, status: int = 200) -> Response:
    """A job as JSON; one still under way says when to ask again."""
    farm = current_farm()
    response = jsonify(job_view(job, farm.links))
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    if not job.finished:
        response.headers["Retry-After"] = str(POLL_S)
    return response
