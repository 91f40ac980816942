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
AZURE_CODES = {
    401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    415: "UnsupportedMediaType", 429: "TooManyRequests", 503: "ServiceUnavailable",
    504: "ServiceUnavailable",
}  # fmt: skip
# Where a fault of a job lies in a body of Azure's.
AZURE_TARGETS = {
    "text": "content",
    "ssml": "content",
    "voice": "synthesisConfig.voice",
    "emotion": "synthesisConfig.style",
    "format": "properties.outputFormat",
    "sample_rate": "properties.outputFormat",
    "retention_s": "properties.timeToLiveInHours",
}
MOST_DETAILS = 50
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


def azure_failure(error: FarmError) -> tuple[dict[str, Any], int]:
    """Azure's error object with its status; a wrong body is a 400, `innererror` has our code."""
    wrong = isinstance(error, RequestError) and error.status not in KEPT_STATUSES | {409, 416}
    status = 400 if wrong else error.status
    fallback = "InternalServerError" if status >= 500 else "BadRequest"
    details = [_azure_detail(fault) for fault in error.details.get("errors") or []]
    message = details[0]["message"] if details else error.message
    made: dict[str, Any] = {
        "code": AZURE_CODES.get(status, fallback),
        "message": message,
        "innererror": {"code": error.code, "message": message},
    }
    if details:
        made["target"] = details[0]["target"]
        made["details"] = details[:MOST_DETAILS]
    return {"error": made}, status


def _azure_detail(fault: dict[str, Any]) -> dict[str, str]:
    field, message = str(fault["field"]), str(fault["message"])
    target = field.removeprefix("defaults.")
    target = AZURE_TARGETS.get(target, target)
    if "input" in fault and target == "content":
        target = f"inputs[{fault['input'] - 1}].content"
    if message.startswith(f"{field}:"):
        message = target + message.removeprefix(field)
    return {"code": "BadArgument", "target": target, "message": message}
