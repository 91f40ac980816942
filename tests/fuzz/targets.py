"""What strangers' bytes meet first, each as a function that lets pass only the errors it may raise.

One that raises another, or never ends, is a fault of ours. `python -m tests.fuzz` feeds them.
"""

import io
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import parse_qsl

from flask import Request
from gunicorn.config import Config
from werkzeug.datastructures import MultiDict

from api.arrival import Arrival
from api.batch_bodies import read_pieces
from api.batch_requests import judge, open_spool, parse_head, receive
from api.bodies import parse_json, read_form
from api.dialects import replicate
from api.dialects.openai import SpeechBody
from api.objects import select_range
from api.queries import read_page, read_plain_page, read_prefer, read_wait
from api.requests import Rules, check_idempotency_key, parse_body, parse_job
from api.tokens import TokenVerifier, usable_keys
from api.voices import Offer, VoiceDirectory
from shared.addresses import AddressGuard, check_url
from shared.captions import HEAD, TAIL, rendered
from shared.errors import FarmError, RequestError
from shared.links import Links
from shared.presence import KnownVoice
from shared.schemas import Voice
from shared.settings import Settings
from worker.courier import Deadline, read_answer, read_retry_after
from worker.text.frontend import Frontend, Options

FAKE = Voice(
    name="fake", engine="fake", language="zh", emotions=("neutral", "happy"),
    sample_rate_hz=16000, revision="1",
)  # fmt: skip
SETTINGS = Settings(
    default_voice="fake", auth="jwt", jwt_algorithm="HS256",
    jwt_secret="0123456789abcdef0123456789abcdef",
)  # fmt: skip
GUARD = AddressGuard.parse("hooks.example")
OFFER = Offer(voices={"fake": KnownVoice(voice=FAKE, ready_workers=1)}, aliases={})
RULES = Rules(
    settings=SETTINGS,
    find_voice=VoiceDirectory(lambda: OFFER, "fake").find,
    check_address=lambda url: check_url(url, GUARD),
)
FRONTEND = Frontend()
TOKENS = TokenVerifier(SETTINGS)
LINKS = Links(SETTINGS, b"s" * 32)
MOST_BATCH_BYTES = 100_000


def text_of(data: bytes) -> str:
    """As WSGI gives a header: every byte a character."""
    return data.decode("latin-1")


def markup(data: bytes) -> None:
    with suppress(FarmError):
        source = data.decode("utf-8", "surrogateescape")
        for one in FRONTEND.segments(source, Options(markup="ssml")):
            assert len(one.text) <= 10_000


def plain_text(data: bytes) -> None:
    with suppress(FarmError):
        list(FRONTEND.segments(data.decode("utf-8", "replace"), Options()))


def job(data: bytes) -> None:
    with suppress(RequestError):
        asked = parse_job(parse_json(data), RULES)
        assert asked.text
        json.dumps(asked.request.dump()).encode("ascii")


def speech(data: bytes) -> None:
    with suppress(RequestError):
        parse_body(SpeechBody, parse_json(data))


def prediction(data: bytes) -> None:
    with suppress(RequestError):
        parse_body(replicate.PredictionBody, parse_json(data))


def batch(data: bytes) -> None:
    kind, body = ("application/jsonl", data[1:]) if data[:1] < b"A" else ("application/json", data)
    request = Request({
        "wsgi.input": io.BytesIO(body), "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)),
        "REQUEST_METHOD": "POST",
    })  # fmt: skip
    with suppress(RequestError), open_spool() as given, open_spool() as kept:
        received = receive(read_pieces(request, MOST_BATCH_BYTES, 10_000), 50, given)
        judge(received, parse_head(received.head, RULES), RULES, kept)


def form(data: bytes) -> None:
    boundary = "multipart/form-data; boundary=x"
    kind = boundary if data[:2] == b"--" else "application/x-www-form-urlencoded"
    request = Request({
        "wsgi.input": io.BytesIO(data), "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(data)),
        "REQUEST_METHOD": "POST",
    })  # fmt: skip
    with suppress(RequestError):
        read_form(request)


def byte_range(data: bytes) -> None:
    for header in (text_of(data), "bytes=" + text_of(data)):
        with suppress(RequestError):
            start, end = select_range(header, 1000) or (0, 1000)
            assert 0 <= start < end <= 1000


def query(data: bytes) -> None:
    args = MultiDict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True))
    for read in (read_page, read_plain_page, lambda given: read_wait(given, 60)):
        with suppress(RequestError):
            read(args)


def preference(data: bytes) -> None:
    header = text_of(data)
    for seconds in (read_prefer(header, 60), replicate.read_wait(header, 60)):
        assert seconds is None or 0 <= seconds <= 60
    with suppress(RequestError):
        replicate.read_cancel_after(header)
    with suppress(RequestError):
        check_idempotency_key(header)


def retry_after(data: bytes) -> None:
    seconds = read_retry_after(text_of(data))
    assert seconds is None or seconds >= 0


def webhook_answer(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            theirs.send(b"HTTP/1.1 200 OK\r\n" + data if data[:1] == b"H" else data)
        theirs.shutdown(socket.SHUT_WR)
        with suppress(OSError, HTTPException, ValueError):  # `attempt` makes them its reason
            _, seconds = read_answer(ours, Deadline(5.0))
            assert seconds is None or seconds >= 0


def token(data: bytes) -> None:
    with suppress(FarmError):
        TOKENS.verify(text_of(data))
    with suppress(ValueError):
        usable_keys(json.loads(data), "RS256")


def address(data: bytes) -> None:
    for url in (text_of(data), "http://" + data.decode("utf-8", "replace")):
        with suppress(RequestError):
            target = check_url(url, GUARD)
            assert target.authority.isascii()
            assert target.path.startswith("/")


def captions(data: bytes) -> None:
    """A sentence's words come from what was submitted; none may end its cue or begin another."""
    text = data.decode("utf-8", "replace")
    parts = [part for part in re.split(r"(?<=.)(?=.)", text)[:200] if part]
    words = [
        {"start_ms": 100 * at, "end_ms": 100 * at + 90, "text": part}
        for at, part in enumerate(parts)
    ]
    if not words:
        return
    sentence = {"start_ms": 0, "end_ms": 100 * len(words), "text": text, "words": words}
    stored = HEAD + json.dumps(sentence) + TAIL
    for form_ in ("srt", "vtt", "lrc"):
        shown = b"".join(rendered([stored.encode()], form_, 100 * len(words))).decode()
        assert "\r" not in shown


def arrival(data: bytes) -> None:
    made = Arrival(Config(), ("127.0.0.1", 1), 100_000)
    with suppress(RequestError):
        for at in range(0, len(data), 7):
            made.feed(data[at : at + 7])
            if made.complete:
                body, n_bytes = made.body()
                assert not made.whole or len(body.read()) == n_bytes
                break
    made.close()


def link(data: bytes) -> None:
    given = text_of(data)
    for expires in ("0", given):
        with suppress(RequestError):
            LINKS.verify(given, expires, given, given)
            raise AssertionError("a link nobody signed is taken")


TARGETS: dict[str, Callable[[bytes], None]] = {
    found.__name__: found
    for found in (
        address, arrival, batch, byte_range, captions, form, job, link, markup, plain_text,
        prediction, preference, query, retry_after, speech, token, webhook_answer,
    )
}  # fmt: skip

# Where each begins; a fuzzer finds more by itself.
SEEDS: dict[str, tuple[bytes, ...]] = {
    "address": (
        b"https://hooks.example/a?b=1",
        b"http://[::ffff:127.0.0.1]:80/",
        b"http://0x7f.1/",
    ),
    "arrival": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    "batch": (
        b'{"inputs":[{"text":"a"}],"defaults":{"speed":1.5}}',
        b'1{"text":"a"}\n{"text":"b"}',
    ),
    "byte_range": (b"bytes=0-99", b"-5", b"7-"),
    "captions": ("你好，world。<b>&amp; --> 1".encode(),),
    "form": (
        b"text=%E4%BD%A0&speed=1",
        b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\na\r\n--x--',
    ),
    "job": (
        '{"text":"你好","speed":1.5,"metadata":{"a":"b"}}'.encode(),
        b'{"ssml":"<speak>a</speak>"}',
    ),
    "markup": (
        '<speak><prosody rate="80%">好<break time="1s"/></prosody></speak>'.encode(),
        b'<speak><say-as interpret-as="date">2026-11-26</say-as></speak>',
    ),
    "plain_text": ("2026年11月26日，GDP增长3.5%。".encode(),),
    "prediction": (b'{"input":{"text":"a"},"webhook":"https://hooks.example/"}',),
    "preference": (b"respond-async, wait=5", b"1h30m"),
    "query": (b"cursor=12.a&limit=5&status=queued", b"wait=2.5", b"metadata.a=b"),
    "retry_after": (b"120", b"Wed, 21 Oct 2026 07:28:00 GMT"),
    "speech": (b'{"model":"tts-1","input":"a","voice":"alloy","instructions":"not angry"}',),
    "token": (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", b'{"keys":[{"kty":"RSA"}]}'),
    "webhook_answer": (
        b"H\r\nContent-Length: 2\r\n\r\nok",
        b"H\r\nRetry-After: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ),
}
