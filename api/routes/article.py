"""The article's own calls: a form that answers with a WAV, and JSON that answers with its link."""

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel

from api.answers import Operation, current_farm, documented
from api.bodies import read_form, read_json
from api.guards import current_tenant
from api.ids import JOB_ID
from api.objects import send_object
from api.requests import JobBody, parse_job
from api.routes.audio import download_of
from api.submission import finish_or_raise, rules_of, submit
from api.views import ArticleFailure, ArticleSuccess
from shared.errors import InvalidRequest, NotFound
from shared.numbers import read_decimal
from shared.schemas import Job
from shared.tenants import Scope

article = Blueprint("article", __name__)

MISSING_TEXT = "Missing text"
MISSING_TEXT_CHINESE = "请输入要合成的文本"
FIELDS = ("text", "voice", "emotion")
NUMBERS = ("speed", "pitch", "volume")
FAILED: dict[int, type[BaseModel] | str | None] = dict.fromkeys(
    (400, 401, 403, 409, 413, 415, 429, 500, 503, 504), ArticleFailure
)


def _is_blank(text: object) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


def _speak(values: dict[str, object]) -> Job:
    farm = current_farm()
    asked = parse_job({**values, "format": "wav"}, rules_of(farm))
    return finish_or_raise(farm, submit(farm, asked).job)


def _form_values(form: dict[str, str]) -> dict[str, object]:
    values: dict[str, object] = {name: form[name] for name in form if name in FIELDS and form[name]}
    for name in NUMBERS:
        if given := form.get(name):
            values[name] = read_decimal(given)
            if values[name] is None:
                raise InvalidRequest(f"{name} 必须是数字: {given[:40]!r}")
    return values


@article.post("/synthesize")
@documented(
    Operation(
        summary="Speak a form's text and answer with the WAV",
        tag="article",
        scope=Scope.SUBMIT,
        form=(*FIELDS, *NUMBERS),
        body=JobBody,
        answers={200: "audio/wav", **FAILED},
    )
)
def synthesize() -> Response:
    # JSON does as well, as in `/api/tts`.
    values = read_json(request) if request.is_json else _form_values(read_form(request))
    if _is_blank(values.get("text")):
        raise InvalidRequest(MISSING_TEXT_CHINESE)
    job = _speak(values)
    return send_object(current_farm().store, download_of(job, attachment=True))


@article.post("/api/tts")
@documented(
    Operation(
        summary="Speak a JSON object's text and answer with a link to the WAV",
        tag="article",
        scope=Scope.SUBMIT,
        body=JobBody,
        answers={200: ArticleSuccess, **FAILED},
    )
)
def api_tts() -> Response:
    values = read_json(request)
    if _is_blank(values.get("text")):
        raise InvalidRequest(MISSING_TEXT)
    job = _speak(values)
    return jsonify(code=200, msg="Success", data={"audio_url": f"/download/{job.id}.wav"})


@article.get("/download/<name>")
@documented(
    Operation(
        summary="The WAV a call of the article made",
        tag="article",
        scope=Scope.READ,
        answers={
            **dict.fromkeys((200, 206), "audio/wav"),
            304: None,
            **dict.fromkeys((401, 403, 404, 410, 416, 429, 503), ArticleFailure),
        },
    )
)
def download(name: str) -> Response:
    farm = current_farm()
    job_id = name.removesuffix(".wav")
    if job_id == name or not JOB_ID.match(job_id):
        raise NotFound
    job = farm.jobs.job(current_tenant(), job_id)
    if job.audio is None or job.request.format != "wav":
        raise NotFound
    return send_object(farm.store, download_of(job, attachment=True))
