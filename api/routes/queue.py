"""/v1/queue and /v1/workers: how the lanes stand, and who holds what."""

from flask import Blueprint, Response, jsonify, request

from api.answers import Operation, current_farm, documented
from api.queries import check_known
from api.views import LaneList, WorkerList, lane_view, worker_view
from shared.tenants import Scope

queue = Blueprint("queue", __name__)


@queue.get("/v1/queue")
@documented(
    Operation(
        summary="Every lane's depth and wait",
        tag="farm",
        scope=Scope.ADMIN,
        answers={200: LaneList},
    )
)
def list_lanes() -> Response:
    check_known(request.args)
    lanes = current_farm().presence.lanes()
    return jsonify(lanes=[lane_view(lane).model_dump() for lane in lanes])


@queue.get("/v1/workers")
@documented(
    Operation(
        summary="The live workers",
        tag="farm",
        scope=Scope.ADMIN,
        answers={200: WorkerList},
    )
)
def list_workers() -> Response:
    check_known(request.args)
    workers = current_farm().presence.workers()
    return jsonify(workers=[worker_view(worker).model_dump() for worker in workers])
