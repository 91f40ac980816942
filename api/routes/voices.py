"""/v1/voices: what callers may name, with who is ready to speak it."""

from flask import Blueprint, Response, jsonify, request

from api.answers import Operation, current_farm, documented
from api.queries import check_known
from api.views import VoiceList, voice_view
from shared.tenants import Scope

voices = Blueprint("voices", __name__)


@voices.get("/v1/voices")
@documented(Operation(summary="The voices", tag="farm", scope=Scope.READ, answers={200: VoiceList}))
def list_voices() -> Response:
    farm = current_farm()
    check_known(request.args)
    farm.voices.refresh()
    offer, default = farm.voices.offer, farm.voices.default
    return jsonify(voices=[voice_view(name, offer, default).model_dump() for name in offer.names])
