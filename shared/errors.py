"""Every error the farm answers with: a stable code, an HTTP status, whether a retry can help.

FarmError
├── RequestError                 the caller can mend it
│   ├── InvalidRequest           one or more fields are wrong
│   ├── MalformedBody            not JSON, not UTF-8
│   ├── HeadTooLarge, BodyTooLarge
│   ├── SlowCaller               its request did not come in time
│   ├── TextTooLong
│   ├── UnsupportedMediaType
│   ├── UnknownVoice, UnknownEmotion
│   ├── UnknownModel             a model of another service's dialect
│   ├── ForbiddenAddress         a webhook address the farm will not call
│   ├── NotFound, MethodNotAllowed, LinkExpired, RangeNotSatisfiable
│   ├── Unauthorized             no key or token, or one that does not work
│   ├── Forbidden                the key or token does not allow this call
│   ├── TooManyRequests          a limit of the tenant or key leaves no room now
│   ├── IdempotencyConflict      same key or id, other body
│   └── WrongState               the job's state does not allow it
├── Unavailable                  the farm can not serve this now
│   ├── StateStoreUnavailable    Redis
│   ├── NotReplicated            too few replicas of Redis have a new job
│   ├── ObjectStoreUnavailable   S3 or the local directory
│   ├── StateStoreFull, ObjectStoreFull
│   ├── TooManyStreams           as many callers listen as may
│   ├── FarmCrowded              the job would wait for too long
│   ├── NoVoiceReady             no worker has ever offered a voice
│   └── EngineUnavailable        files or libraries of an engine are missing or unfit
├── SynthesisError               the text could not be spoken
│   ├── BadAudio                 the audio gate refused the wave
│   ├── SegmentLost              its worker died several times
│   ├── TextRefused              the voice can not speak this text, now or later
│   └── EmptyAudio               nothing in the text can be spoken
├── DeadlineExceeded             the job was not done in time
├── ObjectMissing                an object that a record points at is not there
├── StreamingMissing             the API lacks the libraries that streams take
├── WaitTimeout                  a call that had to wait for its audio waited too long
└── InternalError                a fault of ours
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self


class FarmError(Exception):
    """An error with a stable code. `details` is shown to the caller, so no text or keys in it."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or self.title
        self.details = details
        super().__init__(self.message)


class InternalError(FarmError):
    """A fault of ours; the log has the cause under the request's id."""

    retryable = True


class RequestError(FarmError):
    """The caller can mend it."""

    code = "invalid_request"
    status = 400
    title = "The request is not valid"


class InvalidRequest(RequestError):
    """One or more fields are wrong; `details["errors"]` names every one of them."""

    status = 422


class InvalidMarkup(InvalidRequest):
    """SSML the farm does not read; `details["errors"]` has the fault's code, line and column."""

    code = "invalid_markup"
    title = "The SSML can not be read"

    def __init__(
        self,
        fault: str = "unreadable",
        message: str = title,
        *,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        self.fault, self.line, self.column = fault, line, column
        where = f" (line {line}, column {column})" if line else ""
        error = {"field": "ssml", "code": fault, "message": message, "line": line, "column": column}
        super().__init__(f"{message}{where}", errors=[error])


class MalformedBody(RequestError):
    """The body is not what its content type says."""

    code = "malformed_body"
    title = "The body could not be read"


class HeadTooLarge(RequestError):
    """The address or the headers are over the limit."""

    code = "head_too_large"
    status = 431
    title = "The address or the headers are too large"


class SlowCaller(RequestError):
    """The request did not arrive in time, or its body came too slowly."""

    code = "slow_caller"
    status = 408
    retryable = True
    title = "The request did not arrive in time"


class BodyTooLarge(RequestError):
    """The body is over the limit."""

    code = "body_too_large"
    status = 413
    title = "The body is too large"


class TextTooLong(RequestError):
    """The text is over the limit."""

    code = "text_too_long"
    status = 413
    title = "The text is too long"


class UnsupportedMediaType(RequestError):
    """The body's content type is not one this call reads."""

    code = "unsupported_media_type"
    status = 415
    title = "This content type is not read here"


class UnknownVoice(RequestError):
    """No worker offers this voice; `details["voices"]` lists those that are."""

    code = "unknown_voice"
    status = 422
    title = "No worker offers this voice"


class UnknownEmotion(RequestError):
    """The voice does not have this emotion; `details["emotions"]` lists those it has."""

    code = "unknown_emotion"
    status = 422
    title = "The voice does not have this emotion"

    @classmethod
    def of(cls, voice: str, emotion: str, emotions: Iterable[str], advice: str = "") -> Self:
        """That `voice` has not `emotion` but `emotions`; `advice` says what to do about it."""
        known = [*emotions]
        message = f"The voice {voice} has no emotion {emotion!r}; it has {', '.join(known)}"
        return cls(message + (f": {advice}" if advice else ""), emotions=known)


class ForbiddenAddress(RequestError):
    """The webhook address is private, malformed or does not resolve."""

    code = "forbidden_address"
    status = 422
    title = "The farm does not call this address"


class NotFound(RequestError):
    """There is nothing under this address."""

    code = "not_found"
    status = 404
    title = "There is nothing here"


class UnknownModel(RequestError):
    """A dialect's call names a model there is not; `details["models"]` lists those there are."""

    code = "model_not_found"
    status = 404
    title = "There is no such model"


class MethodNotAllowed(RequestError):
    """The address exists, the method does not."""

    code = "method_not_allowed"
    status = 405
    title = "This method is not allowed here"


class LinkExpired(RequestError):
    """A signed link is past its time or was changed."""

    code = "link_expired"
    status = 403
    title = "The link has expired or was changed"


class RangeNotSatisfiable(RequestError):
    """The asked range lies outside the audio."""

    code = "range_not_satisfiable"
    status = 416
    title = "The range lies outside the audio"


class Unauthorized(RequestError):
    """There is no key or token, or it does not work: unknown, revoked, past its time, changed."""

    code = "unauthorized"
    status = 401
    title = "This call needs a key"


class Forbidden(RequestError):
    """The key or token does not allow this call; `details["scope"]` is the one it lacks."""

    code = "forbidden"
    status = 403
    title = "The key does not allow this call"


class TooManyRequests(RequestError):
    """A limit of the tenant or key leaves no room now; `details["limit"]` says which."""

    code = "too_many_requests"
    status = 429
    retryable = True
    title = "A limit leaves no room now"


class IdempotencyConflict(RequestError):
    """The same key or id was used before with another body."""

    code = "idempotency_conflict"
    status = 409
    title = "This key was used before with another body"


class WrongState(RequestError):
    """The job's state does not allow it."""

    code = "wrong_state"
    status = 409
    title = "The job's state does not allow this"


class Unavailable(FarmError):
    """The farm can not serve this now; the same call may work later."""

    code = "unavailable"
    status = 503
    retryable = True
    title = "The farm can not serve this now"


class StateStoreUnavailable(Unavailable):
    """Redis does not answer."""

    code = "state_store_unavailable"
    title = "Redis does not answer"


class NotReplicated(Unavailable):
    """Fewer replicas of Redis than `TTSFARM_REDIS_WAIT_REPLICAS` have the job; it may run yet."""

    code = "not_replicated"
    title = "Too few replicas of Redis have the job yet"


FULL_RETRY_S = 30  # room comes when jobs' retention ends, not at once


class StateStoreFull(Unavailable):
    """Redis refuses writes: its memory or disk is full."""

    code = "state_store_full"
    title = "Redis has no room for more"


class ObjectStoreUnavailable(Unavailable):
    """The object store does not answer."""

    code = "object_store_unavailable"
    title = "The object store does not answer"


class ObjectStoreFull(Unavailable):
    """The object store has no room for more."""

    code = "object_store_full"
    title = "The object store has no room for more"


class TooManyStreams(Unavailable):
    """As many callers listen to running jobs as `TTSFARM_MAX_STREAMS` allows, or a tenant may."""

    code = "too_many_streams"
    title = "Too many callers listen at once"


class FarmCrowded(Unavailable):
    """The job would wait for too long; `expected_wait_s` and `limit_s` say how long."""

    code = "farm_crowded"
    status = 429
    title = "Too much work waits before this job"


class NoVoiceReady(Unavailable):
    """No worker has ever offered a voice."""

    code = "no_voice_ready"
    title = "No worker has offered a voice yet"


class EngineUnavailable(Unavailable):
    """An engine's files or libraries are missing or unfit."""

    code = "engine_unavailable"
    title = "The speech engine can not run here"


class SynthesisError(FarmError):
    """The text could not be spoken."""

    code = "synthesis_failed"
    status = 422
    retryable = True
    title = "The text could not be spoken"


class BadAudio(SynthesisError):
    """The audio gate refused the wave; the message says why."""

    code = "bad_audio"
    title = "The engine made unusable audio"


class SegmentLost(SynthesisError):
    """Every worker that took this segment died."""

    code = "segment_lost"
    title = "Every worker that took this piece of the text died"


class TextRefused(SynthesisError):
    """The voice can not speak this text; trying again changes nothing."""

    code = "text_refused"
    retryable = False
    title = "The voice can not speak this text"


class EmptyAudio(SynthesisError):
    """Nothing in the text can be spoken."""

    code = "empty_audio"
    retryable = False
    title = "Nothing in the text can be spoken"


class DeadlineExceeded(FarmError):
    """The job was not done by its deadline."""

    code = "deadline_exceeded"
    status = 504
    title = "The job was not done by its deadline"


class ObjectMissing(FarmError):
    """An object that a record points at is not in the store."""

    code = "object_missing"
    status = 410
    title = "The audio is no longer in the store"


class StreamingMissing(FarmError):
    """This API was installed without what streams take; the finished audio is there as ever."""

    code = "streaming_missing"
    status = 501
    title = "This API can not stream"


class WaitTimeout(Unavailable):
    """A call that had to wait for its audio waited too long; the job goes on."""

    code = "wait_timeout"
    status = 504
    title = "The audio was not ready in time"


def all_errors() -> list[type[FarmError]]:
    """Every error class, parents before children."""
    found: list[type[FarmError]] = [FarmError]
    for cls in found:
        found.extend(sub for sub in cls.__subclasses__() if sub not in found)
    return found
