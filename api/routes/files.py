"""/v1/files/{key}: objects of the local store under signed links that expire."""

from flask import Blueprint, Response, request

from api.answers import Operation, current_farm, documented
from api.objects import Download, send_object
from shared.errors import (
    LinkExpired,
    ObjectMissing,
    ObjectStoreUnavailable,
    RangeNotSatisfiable,
)

files = Blueprint("files", __name__)


@files.get("/v1/files/<path:key>")
@documented(
    Operation(
        summary="Audio under a signed link",
        tag="jobs",
        answers={200: "audio/*", 206: "audio/*"},
        parameters={
            "query:expires": {"type": "string"},
            "query:filename": {"type": "string"},
            "query:signature": {"type": "string"},
            "header:Range": {"type": "string"},
        },
        errors=(LinkExpired, ObjectMissing, ObjectStoreUnavailable, RangeNotSatisfiable),
    )
)
def get_file(key: str) -> Response:
    farm = current_farm()
    filename = request.args.get("filename", "")
    expires, signature = request.args.get("expires", ""), request.args.get("signature", "")
    farm.links.verify(key, expires, signature, filename)
    found = farm.store.stat(key)
    return send_object(
        farm.store,
        Download(
            key=key,
            size_bytes=found.size_bytes,
            media_type=found.content_type,
            filename=filename or "audio",
            attachment=True,
        ),
    )
