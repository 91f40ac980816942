"""Audio as an HTTP answer while its job is still rendered; past that, the same bytes as before."""

from contextlib import ExitStack

from flask import Response, request

from api.farm import Farm
from api.listening import FinishedStream, Line, Listener
from api.objects import ONE_RANGE, Download, range_applies, send_object
from api.recordings import Recording
from shared.errors import Unavailable
from shared.numbers import LARGEST, read_count
from shared.schemas import MEDIA_TYPES, Job
from shared.states import JobStatus

# A stream's last byte is not known yet. RFC 8673 then names one that is out of reach.
ENDLESS = LARGEST


def send_stream(farm: Farm, job: Job, first: int) -> Response:
    """Answer with a job's stream from segment `first` on, whole or from the byte asked for.

    Raises `TooManyStreams`, `Unavailable` when there is no sound in time, and why a job that is
    over has none.
    """
    if job.status is JobStatus.SUCCEEDED and first == 0:
        return _send_finished(farm, job)
    if request.method == "HEAD":
        return _described(Response(iter(())), job)  # of no length: an empty one has a length of 0
    with ExitStack() as ends:
        farm.slots.acquire(job.tenant)
        ends.callback(farm.slots.release, job.tenant)
        recording = farm.recordings.join(job, first)
        ends.callback(farm.recordings.leave, recording)
        listener = _listener(farm, recording)
        if listener.begun():
            response = _send_live(listener)
            response.call_on_close(ends.pop_all().close)
            return response
        if not recording.superseded:
            raise recording.error or Unavailable(
                "There is no sound yet; ask again.", retry_after_s=1
            )
    return _send_finished(farm, farm.jobs.job(job.tenant, job.id))


def _listener(farm: Farm, recording: Recording) -> Listener:
    job = recording.job
    return Listener(
        recording=recording,
        line=Line(request.environ.get("gunicorn.socket")),
        idle_s=farm.settings.stream_idle_s,
        stopping=farm.stopping,
        finished=lambda: _finished(farm, farm.jobs.job(job.tenant, job.id)),
    )


def _finished(farm: Farm, job: Job) -> FinishedStream:
    if job.audio is None:  # retried meanwhile: only a job that did not succeed is
        raise Unavailable("The job is not finished any more.", retry_after_s=1)
    return FinishedStream(store=farm.store, audio=job.audio)


def _send_finished(farm: Farm, job: Job) -> Response:
    stream = _finished(farm, job)
    download = Download(
        key=stream.audio.key,
        size_bytes=stream.size_bytes,
        media_type=MEDIA_TYPES[stream.audio.format],
        filename=f"{job.id}.{stream.audio.format}",
        etag=f"{stream.audio.sha256}-stream",
    )
    return _described(send_object(stream, download), job)


def _send_live(listener: Listener) -> Response:
    start, last = _asked()
    end = None if last == ENDLESS else last + 1
    response = _described(Response(listener.hear(start, end)), listener.recording.job)
    if (start, last) != (0, ENDLESS):
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{last}/*"
    return response


def _asked() -> tuple[int, int]:
    """The first and last byte asked for. The end of a stream is not known, so none counts back."""
    heeded = request.method == "GET" and range_applies(None)
    match = ONE_RANGE.match(request.headers.get("Range", "")) if heeded else None
    first, last = map(read_count, match.groups()) if match else (None, None)
    last = ENDLESS if last is None else last
    return (first, last) if first is not None and first <= last else (0, ENDLESS)


def _described(response: Response, job: Job) -> Response:
    response.content_type = MEDIA_TYPES[job.request.format]
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the sound back
    response.headers.setdefault("Cache-Control", "no-store")
    return response
