"""/v1/webhooks: the delivery log, replay, and the secret that signs messages."""

from flask import Blueprint, Response, jsonify, request

from api.answers import Operation, current_farm, documented
from api.guards import current_tenant
from api.queries import LIMIT_SCHEMA, read_deliveries
from api.views import DeliveryList, DeliveryView, SecretView, delivery_view
from shared.errors import InvalidRequest, NotFound
from shared.states import DeliveryStatus
from shared.tenants import Scope

webhooks = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks")


@webhooks.get("/deliveries")
@documented(
    Operation(
        summary="Deliveries, newest first",
        tag="webhooks",
        scope=Scope.READ,
        answers={200: DeliveryList},
        parameters={
            "query:cursor": {"type": "string"},
            "query:limit": LIMIT_SCHEMA,
            "query:status": {"enum": [status.value for status in DeliveryStatus]},
        },
        errors=(InvalidRequest,),
    )
)
def list_deliveries() -> Response:
    cursor, limit, status = read_deliveries(request.args)
    page = current_farm().deliveries.page(
        current_tenant(), cursor=cursor, limit=limit, status=status
    )
    views = [delivery_view(delivery).model_dump(mode="json") for delivery in page.deliveries]
    return jsonify(deliveries=views, next_cursor=page.next_cursor)


@webhooks.get("/deliveries/<delivery_id>")
@documented(
    Operation(
        summary="One delivery with all its tries",
        tag="webhooks",
        scope=Scope.READ,
        answers={200: DeliveryView},
        errors=(NotFound,),
    )
)
def show_delivery(delivery_id: str) -> Response:
    found = current_farm().deliveries.show(current_tenant(), delivery_id)
    return jsonify(delivery_view(found).model_dump(mode="json"))


@webhooks.post("/deliveries/<delivery_id>/replay")
@documented(
    Operation(
        summary="Send a delivery again now, under the same id",
        tag="webhooks",
        scope=Scope.SUBMIT,
        answers={202: DeliveryView},
        errors=(NotFound,),
    )
)
def replay_delivery(delivery_id: str) -> Response:
    farm = current_farm()
    found = farm.deliveries.replay(current_tenant(), delivery_id)
    farm.bells.ring_courier()
    response = jsonify(delivery_view(found).model_dump(mode="json"))
    response.status_code = 202
    return response


def _secret_answer() -> Response:
    secrets = current_farm().keys.webhook_secrets(current_tenant())
    response = jsonify(SecretView(secret=secrets[0], secrets=list(secrets)).model_dump())
    response.headers["Cache-Control"] = "no-store"
    return response


@webhooks.get("/secret")
@documented(
    Operation(
        summary="The secret that signs messages",
        tag="webhooks",
        scope=Scope.SUBMIT,
        answers={200: SecretView},
    )
)
def show_secret() -> Response:
    return _secret_answer()


@webhooks.post("/secret/rotate")
@documented(
    Operation(
        summary="Make a new secret; the old one signs beside it for a day",
        tag="webhooks",
        scope=Scope.SUBMIT,
        answers={200: SecretView},
    )
)
def rotate_secret() -> Response:
    current_farm().keys.rotate_webhook_secret(current_tenant())
    return _secret_answer()
