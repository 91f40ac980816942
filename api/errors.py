"""The only place that makes error responses: RFC 9457 problem details, or a dialect's own form.

A problem's `code` is stable; its `request_id` finds the line in the log.
"""

import json
import logging
import re
import traceback
from http import HTTPStatus
from types import TracebackType
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from api.bodies import drain
from api.dialects.failures import azure_failure, openai_failure, told
from api.headers import CONTENT_POLICY, FIXED
from api.quotas import note_quotas
from shared.errors import (
    BodyTooLarge,
    EmptyAudio,
    FarmError,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    RequestError,
    SynthesisError,
    TextRefused,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    WaitTimeout,
)

logger = logging.getLogger(__name__)

Raised = tuple[type, BaseException, TracebackType] | tuple[None, None, None]

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
UNSHOWN = ("retry_after_s", "quotas")  # told in headers
ARTICLE_PATHS = ("/api/", "/synthesize", "/download/")
OPENAI_PATHS = re.compile(r"/v1/(audio/|models(/[^/]+)?/?\Z)")
AZURE_PATH = "/texttospeech/"
REPLICATE_PATHS = re.compile(r"/v1/(predictions|models/)")  # its clients show `detail` alone
HTTP_ERRORS: dict[int, type[FarmError]] = {
    400: MalformedBody,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}
# The article's calls speak Chinese; what is in neither table keeps its message.
CHINESE: dict[str, str] = {
    "body_too_large": "请求体过大",
    "text_too_long": "文本过长",
    "unsupported_media_type": "不支持的内容类型",
    "not_found": "找不到该音频",
    "unauthorized": "缺少访问密钥, 或密钥无效",
    "forbidden": "该密钥无权进行此操作",
    "too_many_requests": "已达到使用上限, 请稍后重试",
    "method_not_allowed": "不支持该请求方法",
    "state_store_unavailable": "任务存储暂时不可用, 请稍后重试",
    "object_store_unavailable": "音频存储暂时不可用, 请稍后重试",
    "farm_crowded": "排队任务过多, 请稍后重试",
    "idempotency_conflict": "该任务编号已被其他请求使用",
    "not_replicated": "任务尚未写入足够的副本, 可能仍会执行",
    "no_voice_ready": "暂无可用的合成服务, 请稍后重试",
    "wait_timeout": "合成超时, 任务仍在进行",
    "object_missing": "该音频已被删除",
    "object_store_full": "音频存储空间已满, 请稍后重试",
    "state_store_full": "任务存储空间已满, 请稍后重试",
    "unavailable": "服务暂时不可用, 请稍后重试",
    "range_not_satisfiable": "请求的范围超出音频长度",
}
# Of these the message follows, since it names what is wrong.
CHINESE_BEFORE: dict[str, str] = {
    "malformed_body": "请求格式不正确",
    "forbidden_address": "回调地址不可用",
    "unknown_voice": "没有该音色",
    "unknown_emotion": "该音色没有此情感",
    "invalid_markup": "SSML 标记不正确",
}
FAULTY_FIELDS = "参数不正确"


def problem_of(error: FarmError, request_id: str | None = None) -> dict[str, Any]:
    """The members of a problem details object; an error's details are its extension members."""
    request_id = request_id or g.get("request_id")
    details = {k: v for k, v in error.details.items() if k not in UNSHOWN}
    return {
        "type": f"urn:ttsfarm:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        "retryable": error.retryable,
        "request_id": request_id,
        **details,
    }


def _article_form(error: FarmError) -> tuple[dict[str, Any], int]:
    if isinstance(error, SynthesisError | InternalError):
        status = 400 if isinstance(error, TextRefused | EmptyAudio) else 500
        return {"code": status, "msg": f"Synthesis failed: {error.message}"}, status
    status = 400 if error.status == InvalidRequest.status else error.status
    message = CHINESE.get(error.code, error.message)
    if before := CHINESE_BEFORE.get(error.code):
        message = f"{before}: {error.message}"
    elif "errors" in error.details:
        message = f"{FAULTY_FIELDS}: {told(error)}"
    return {"code": status, "msg": message}, status


def _problem_form(error: FarmError) -> tuple[dict[str, Any], int]:
    problem = problem_of(error)
    if REPLICATE_PATHS.match(request.path):
        problem["detail"] = told(error)
    return problem, error.status


def answer(error: FarmError) -> Response:
    """The response for `error`, in the form the called path speaks."""
    form = _problem_form
    if request.path.startswith(ARTICLE_PATHS):
        form = _article_form
    elif OPENAI_PATHS.match(request.path):
        form = openai_failure
    elif request.path.startswith(AZURE_PATH):
        form = azure_failure
    body, status = form(error)
    response = jsonify(body)
    response.status_code = status
    if form is azure_failure:
        response.headers["x-ms-error-code"] = body["error"]["code"]
    if form is _problem_form:
        response.content_type = PROBLEM_TYPE
    if isinstance(error, RangeNotSatisfiable) and "size_bytes" in error.details:
        response.headers["Content-Range"] = f"bytes */{error.details['size_bytes']}"
    note_quotas(error.details.get("quotas", ()))
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="ttsfarm"'
    response.headers.update(_when_to_return(error, status))
    return response


def _when_to_return(error: FarmError, status: int) -> dict[str, str]:
    """`Retry-After`, where the same call may work later."""
    if status not in (429, 503) and not isinstance(error, WaitTimeout):
        return {}
    return {"Retry-After": str(error.details.get("retry_after_s", RETRY_AFTER_S))}


def refusal(error: FarmError, request_id: str) -> bytes:
    """The whole HTTP answer to a request that did not get as far as the app; the last of its line.

    Without the app nobody knows what its path speaks, so it is a problem always.
    """
    body = json.dumps(problem_of(error, request_id), ensure_ascii=False).encode()
    fields = {
        "Connection": "close",
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Content-Security-Policy": CONTENT_POLICY,
        "X-Request-Id": request_id,
        **FIXED,
        **_when_to_return(error, error.status),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    phrase = HTTPStatus(error.status).phrase
    return f"HTTP/1.1 {error.status} {phrase}\r\n{head}\r\n".encode("ascii") + body


def _answer_farm_error(error: FarmError) -> Response:
    if not isinstance(error, RequestError):
        level = logging.WARNING if isinstance(error, Unavailable) else logging.ERROR
        logger.log(level, error.title, extra={"action": "http.error", "code": error.code})
    return answer(error)


def _answer_http_error(error: HTTPException) -> Response:
    """Werkzeug's own errors: no such route, wrong method, body too large, unforeseen faults."""
    kind = HTTP_ERRORS.get(error.code or 500, InternalError)
    message = None
    if kind is NotFound:
        message = f"There is nothing at {request.path[:200]!r}; /docs lists every call."
    if kind is BodyTooLarge:
        drain(request)
        limit = request.max_content_length
        message = f"The body is larger than {limit} bytes; split the text into several jobs."
    response = answer(kind(message))
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _log_fault(exc_info: Raised) -> None:
    """Say where it happened; an error's own words may hold a caller's."""
    kind, _, place = exc_info
    extra = {
        "action": "http.error",
        "request_id": g.get("request_id"),
        "trace": "".join(traceback.format_tb(place)),
    }
    logger.error("a fault of ours: %s", kind.__name__ if kind else None, extra=extra)


def register_errors(app: Flask) -> None:
    """Answer every error of `app` from here."""
    app.register_error_handler(FarmError, _answer_farm_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.log_exception = _log_fault  # type: ignore[method-assign]  # Flask would write its words
