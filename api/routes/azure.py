"""Azure's dialect: batch syntheses, which are batches of ours, and their results."""

import re
import time
from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, jsonify, request

from api.answers import POLL_S, Operation, current_farm, documented
from api.batch_submission import Named, submit_pieces
from api.bodies import read_json
from api.dialects.azure.bodies import ID, SynthesisBody, parse_definition
from api.dialects.azure.results import results, summary
from api.dialects.azure.views import (
    API_VERSION,
    PATH,
    RESULT,
    SUMMARY,
    AzureFailure,
    OperationView,
    SynthesisList,
    SynthesisView,
    list_view,
    operation_address,
    operation_id,
    operation_view,
    synthesis_view,
)
from api.guards import current_tenant
from api.queries import check_known
from api.requests import Fault, describe, raise_faults
from shared.batches import Batch
from shared.errors import NotFound, WrongState
from shared.tenants import Scope

azure = Blueprint("azure", __name__)

MOST_LISTED = 100
FARTHEST = 10_000  # syntheses a list may skip: each of them is read
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}\Z")
VERSION: dict[str, dict[str, object]] = {
    "query:api-version": {"type": "string", "enum": [API_VERSION], "default": API_VERSION}
}
SIGNED: dict[str, dict[str, object]] = {
    f"query:{name}": {"type": "string"} for name in ("tenant", "expires", "signature")
}
REFUSED = {401: AzureFailure, 403: AzureFailure, 429: AzureFailure, 503: AzureFailure}
MISSING = {400: AzureFailure, 404: AzureFailure, **REFUSED}


def _check_query(*known: str) -> None:
    """Refuse parameters the call does not know, and other versions than the one there is."""
    check_known(request.args, "api-version", *known)
    version = request.args.get("api-version", API_VERSION)
    if version != API_VERSION:
        given, expected = describe("api-version", version), f"must be {API_VERSION}"
        raise_faults([Fault(field="api-version", given=given, expected=expected)])


def _synthesis(tenant: str, synthesis_id: str) -> Batch:
    """A batch that was asked for in this dialect; raises `NotFound`."""
    found = current_farm().batches.batch(tenant, synthesis_id)
    if not found.definition:
        raise NotFound(
            f"There is no batch synthesis {synthesis_id!r}; /v1/batches has batches of other calls"
        )
    return found


def _answer(batch: Batch, status: int = 200) -> Response:
    response = jsonify(synthesis_view(batch, current_farm().links))
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    if not batch.finished:
        response.headers["Retry-After"] = str(POLL_S)
    return response


@azure.put(f"{PATH}/<synthesis_id>")
@documented(
    Operation(
        summary="Azure: create a batch synthesis",
        tag="azure",
        scope=Scope.SUBMIT,
        body=SynthesisBody,
        answers={
            201: SynthesisView,
            200: SynthesisView,
            409: AzureFailure,
            413: AzureFailure,
            415: AzureFailure,
            **MISSING,
        },
        parameters={
            **VERSION,
            "header:Operation-Id": {
                "type": "string",
                "pattern": ID.pattern.replace("\\Z", "$"),
                "description": "A name for this call, to be followed under /operations",
            },
        },
    )
)
def create_synthesis(synthesis_id: str) -> Response:
    farm = current_farm()
    _check_query()
    operation = request.headers.get("Operation-Id") or operation_id(synthesis_id)
    if not ID.match(operation):
        given, expected = describe("Operation-Id", operation), "3 to 64 letters, digits, . _ and -"
        raise_faults([Fault(field="Operation-Id", given=given, expected=expected)])
    asked = parse_definition(synthesis_id, read_json(request), farm.voices, farm.settings)
    named = Named(id=synthesis_id, fingerprint=asked.fingerprint, definition=asked.kept)
    batch, created = submit_pieces(farm, asked.pieces, _key(operation), named)
    response = _answer(batch, 201 if created else 200)
    response.headers["Operation-Id"] = operation
    response.headers["Operation-Location"] = operation_address(operation, farm.links)
    return response


def _key(operation: str) -> str:
    return f"azure:{operation}"


@azure.get(PATH)
@documented(
    Operation(
        summary="Azure: list batch syntheses, newest first",
        tag="azure",
        scope=Scope.READ,
        answers={200: SynthesisList, 400: AzureFailure, **REFUSED},
        parameters={
            **VERSION,
            "query:skip": {"type": "integer", "minimum": 0, "maximum": FARTHEST, "default": 0},
            "query:maxpagesize": {"type": "integer", "minimum": 1, "default": MOST_LISTED},
        },
    )
)
def list_syntheses() -> Response:
    farm = current_farm()
    _check_query("skip", "maxpagesize")
    skip = _whole(request.args, "skip", 0, (0, FARTHEST))
    size = min(_whole(request.args, "maxpagesize", MOST_LISTED, (1, 10**9)), MOST_LISTED)
    shown: list[Batch] = []
    following = None
    for place, batch in enumerate(_syntheses(current_tenant())):
        if len(shown) == size:
            following = (skip + size, size)
            break
        if place >= skip:
            shown.append(batch)
    return jsonify(list_view(shown, farm.links, following))


def _syntheses(tenant: str) -> Iterator[Batch]:
    """The tenant's syntheses, newest first; its other batches are passed over."""
    batches, cursor = current_farm().batches, None
    while True:
        page = batches.page(tenant, cursor=cursor, limit=MOST_LISTED)
        yield from (batch for batch in page.batches if batch.definition)
        cursor = page.next_cursor
        if cursor is None:
            return


def _whole(args: Mapping[str, str], name: str, default: int, limits: tuple[int, int]) -> int:
    given, (low, high) = args.get(name, str(default)), limits
    if not WHOLE_NUMBER.match(given) or not low <= int(given) <= high:
        expected = f"must be a whole number from {low} to {high}"
        raise_faults([Fault(field=name, given=describe(name, given), expected=expected)])
    return int(given)


@azure.get(f"{PATH}/<synthesis_id>")
@documented(
    Operation(
        summary="Azure: show a batch synthesis",
        tag="azure",
        scope=Scope.READ,
        answers={200: SynthesisView, **MISSING},
        parameters=VERSION,
    )
)
def show_synthesis(synthesis_id: str) -> Response:
    _check_query()
    return _answer(_synthesis(current_tenant(), synthesis_id))


@azure.delete(f"{PATH}/<synthesis_id>")
@documented(
    Operation(
        summary="Azure: remove a batch synthesis and its results; cancels one under way",
        tag="azure",
        scope=Scope.SUBMIT,
        answers={204: None, **MISSING},
        parameters=VERSION,
    )
)
def delete_synthesis(synthesis_id: str) -> Response:
    _check_query()
    batch = _synthesis(current_tenant(), synthesis_id)
    current_farm().batches.delete(batch.tenant, batch.id)
    return Response(status=204)


@azure.get("/texttospeech/operations/<operation_id>")
@documented(
    Operation(
        summary="Azure: how far the creation of a batch synthesis has come",
        tag="azure",
        scope=Scope.READ,
        answers={200: OperationView, **MISSING},
        parameters=VERSION,
    )
)
def show_operation(operation_id: str) -> Response:
    _check_query()
    batch = current_farm().batches.keyed(current_tenant(), _key(operation_id))
    return jsonify(operation_view(_synthesis(batch.tenant, batch.id), operation_id))


def _ended(synthesis_id: str, name: str) -> Batch:
    """The synthesis a signed link is for; raises `LinkExpired`, `NotFound`, `WrongState`."""
    given = request.args
    check_known(given, "tenant", "expires", "signature")
    tenant = given.get("tenant", "")
    expires, signature = given.get("expires", ""), given.get("signature", "")
    current_farm().links.verify_results(tenant, synthesis_id, name, expires, signature)
    batch = _synthesis(tenant, synthesis_id)
    if not batch.finished:
        raise WrongState("The batch synthesis goes on again; its results come with its end")
    return batch


def _stream(batch: Batch, name: str, chunks: Iterator[bytes], content_type: str) -> Response:
    response = Response(chunks, content_type=content_type)  # a HEAD takes none of them
    response.headers["Content-Disposition"] = f'attachment; filename="{batch.id}-{name}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep a copy of it all
    return response


@azure.get(f"{PATH}/<synthesis_id>/{RESULT}")
@documented(
    Operation(
        summary="Azure: the results as one archive, under the signed link of `outputs.result`",
        tag="azure",
        answers={200: "application/zip", 409: AzureFailure, **MISSING},
        parameters=SIGNED,
    )
)
def get_results(synthesis_id: str) -> Response:
    farm, batch = current_farm(), _ended(synthesis_id, RESULT)
    chunks = results(batch, farm.batches.texts(batch), farm.store, time.time())
    return _stream(batch, RESULT, chunks, "application/zip")


@azure.get(f"{PATH}/<synthesis_id>/{SUMMARY}")
@documented(
    Operation(
        summary="Azure: what became of each input, under the signed link of `outputs.summary`",
        tag="azure",
        answers={200: "application/json", 409: AzureFailure, **MISSING},
        parameters=SIGNED,
    )
)
def get_summary(synthesis_id: str) -> Response:
    farm, batch = current_farm(), _ended(synthesis_id, SUMMARY)
    return _stream(batch, SUMMARY, summary(batch, farm.batches.texts(batch)), "application/json")
