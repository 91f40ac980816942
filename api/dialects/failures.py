"""The farm's errors as clients of other services read them."""

from typing import Any

from shared.errors import EmptyAudio, FarmError, RequestError, SynthesisError, TextRefused

# What is named otherwise in OpenAI's body.
PARAMS = {"text": "input", "format": "response_format", "emotion": "instructions"}
PARAM_OF_CODE = {
    "unknown_voice": "voice",
    "unknown_emotion": "instructions",
    "text_too_long": "input",
    "model_not_found": "model",
}
OPENAI_CODES = {
    "unauthorized": "invalid_api_key",
    "too_many_requests": "rate_limit_exceeded",
    "text_too_long": "string_above_max_length",
}
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# OpenAI's client repeats what it gets a 409 or 500 for; a wrong body is a 400 there.
KEPT_STATUSES = frozenset({400, 401, 403, 404, 405, 413, 415, 429})


def told(error: FarmError) -> str:
    """What is wrong, fault by fault: these clients show one line."""
    faults = error.details.get("errors")
    return "; ".join(fault["message"] for fault in faults) if faults else error.message


def _openai_status(error: FarmError) -> int:
    if isinstance(error, TextRefused | EmptyAudio) or error.code == "text_too_long":
        return 400
    if isinstance(error, SynthesisError):
        return 500
    if isinstance(error, RequestError):
        return error.status if error.status in KEPT_STATUSES else 400
    return error.status if error.status >= 500 else 400


def openai_failure(error: FarmError) -> tuple[dict[str, Any], int]:
    """OpenAI's error object with its status; `code` is ours where they have none."""
    status = _openai_status(error)
    faults = error.details.get("errors") or []
    field = str(faults[0]["field"]).split(".")[0] if faults else None
    param = PARAMS.get(field, field) if field else PARAM_OF_CODE.get(error.code)
    message = told(error)
    if field and param and message.startswith(f"{field}:"):
        message = param + message.removeprefix(field)
    fallback = "server_error" if status >= 500 else "invalid_request_error"
    made = {
        "message": message,
        "type": OPENAI_TYPES.get(status, fallback),
        "param": param,
        "code": OPENAI_CODES.get(error.code, error.code),
    }
    return {"error": made}, status
