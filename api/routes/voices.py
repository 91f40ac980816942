"""/v1/voices: what callers may name, with who is ready to speak it."""

from flask import Blueprint, Response, jsonify, request

from api.answers import Operation, current_farm, documented
from api.queries import check_known
from api.views import VoiceList, voice_view
from api.voices import default_voice
from shared.tenants import Scope

voices = Blueprint("voices", __name__)


@voices.get("/v1/voices")
@documented(Operation(summary="The voices", tag="farm", scope=Scope.READ, answers={200: VoiceList}))
def list_voices() -> Response:
    farm = current_farm()
    check_known(request.args)
    known = farm.presence.voices()
    default = default_voice(known, farm.settings.default_voice)
    return jsonify(voices=[voice_view(voice, default).model_dump() for voice in known])
