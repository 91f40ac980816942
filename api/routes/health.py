"""/health, /livez, /readyz and /metrics: is it alive, can it speak, how does it fare."""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.answers import Operation, current_farm, documented
from api.farm import Farm
from api.views import AliveView, CheckView, HealthView, ReadyView
from shared.errors import NoVoiceReady, Unavailable
from shared.presence import WorkerPresence
from shared.tenants import Scope

health = Blueprint("health", __name__)


def _check_voices(workers: list[WorkerPresence]) -> str:
    """The ready voices; raises `NoVoiceReady` naming those whose workers are all still loading."""
    live = {voice.name for worker in workers for voice in worker.voices}
    ready = {voice.name for worker in workers if worker.ready for voice in worker.voices}
    if not live:
        raise NoVoiceReady("No worker is running; start one with ttsfarm-worker run.")
    if loading := sorted(live - ready):
        raise NoVoiceReady(f"Still loading: {', '.join(loading)}.")
    return ", ".join(sorted(ready))


def _check(probe: Callable[[], str | None]) -> CheckView:
    try:
        return CheckView(ok=True, detail=probe() or "answers")
    except Unavailable as error:
        return CheckView(ok=False, detail=error.message)


def _check_workers(farm: Farm) -> dict[str, CheckView]:
    """Redis and the voices from one reading, so that a silent Redis is waited for once."""
    try:
        workers = farm.presence.workers()
    except Unavailable as error:
        silent = CheckView(ok=False, detail=error.message)
        return {"redis": silent, "voices": silent}
    voices = _check(lambda: _check_voices(workers))
    return {"redis": CheckView(ok=True, detail="answers"), "voices": voices}


@health.get("/livez")
@documented(Operation(summary="This process answers", tag="health", answers={200: AliveView}))
def livez() -> Response:
    return jsonify(status="ok")


@health.get("/readyz")
@documented(
    Operation(
        summary="Redis and storage answer and every live voice has a ready worker",
        tag="health",
        answers={200: ReadyView, 503: ReadyView},
    )
)
def readyz() -> Response:
    farm = current_farm()
    checks = {**_check_workers(farm), "storage": _check(farm.store.check)}
    view = ReadyView(ready=all(check.ok for check in checks.values()), checks=checks)
    response = jsonify(view.model_dump())
    response.status_code = 200 if view.ready else 503
    return response


@health.get("/health")
@documented(
    Operation(
        summary="Whether a voice is loaded, for simple readiness checks",
        tag="health",
        answers={200: HealthView, 503: HealthView},
    )
)
def show_health() -> Response:
    try:
        known = current_farm().presence.voices()
    except Unavailable as error:
        known, status = [], error.message
    else:
        status = "ok"
    ready = {voice.voice.name: voice.ready_workers for voice in known}
    loaded = any(ready.values())
    if status == "ok" and not loaded:
        status = "no voice is ready"
    response = jsonify(HealthView(status=status, model_loaded=loaded, voices=ready).model_dump())
    response.status_code = 200 if loaded else 503
    return response


@health.get("/metrics")
@documented(
    Operation(
        summary="Numbers for Prometheus",
        tag="health",
        scope=Scope.ADMIN,
        answers={200: "text/plain"},
    )
)
def show_metrics() -> Response:
    body = generate_latest(current_farm().metrics.registry)
    return Response(body, content_type=CONTENT_TYPE_LATEST)
