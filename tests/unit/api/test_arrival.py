"""A request in pieces: whole or refused, however it is cut, and what follows it is kept."""

from contextlib import suppress

import pytest
from gunicorn.config import Config
from hypothesis import given
from hypothesis import strategies as st

from api.arrival import MOST_HEAD_BYTES, READ_BYTES, Arrival
from shared.errors import HeadTooLarge, MalformedBody

NEXT = b"GET /livez HTTP/1.1\r\nHost: b\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def arrival(limit_bytes: int = 10_000_000) -> Arrival:
    return Arrival(Config(), ("127.0.0.1", 1), limit_bytes)


def fed(data: bytes, step: int | None = None, limit_bytes: int = 10_000_000) -> Arrival:
    made = arrival(limit_bytes)
    for at in range(0, len(data), step or len(data)):
        made.feed(data[at : at + (step or len(data))])
    return made


def sized(body: bytes, *headers: str) -> bytes:
    lines = ["POST /v1/jobs HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*parts: bytes) -> bytes:
    return CHUNKS + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def test_a_large_body_is_handed_on_in_pieces() -> None:
    # gunicorn copies what it holds once for every piece: of all at once that is the square.
    made = fed(sized(b"a" * 1_000_000))
    assert len(made.request.unreader.chunk(1_000_000)) <= READ_BYTES
    made.close()


def test_a_body_of_the_limit_is_whole_and_the_length_of_a_longer_one_is_over_it() -> None:
    whole = fed(sized(b"a" * 1000), 64, limit_bytes=1000)
    assert (whole.complete, whole.whole, whole.body()[1]) == (True, True, 1000)
    whole.close()
    for longer in (sized(b"a" * 1001), chunked(b"a" * 2001)):
        made = fed(longer[:-1], limit_bytes=1000)
        assert (made.complete, made.whole) == (True, False)
        assert made.body()[1] > 1000
        made.close()
    in_chunks = fed(chunked(b"a" * 600, b"a" * 600), limit_bytes=1000)
    assert (in_chunks.whole, in_chunks.body()[1]) == (True, 1200)
    in_chunks.close()


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=5), step=st.integers(1, 400),
    in_chunks=st.booleans(),
)  # fmt: skip
def test_a_request_is_whole_however_it_is_cut(
    parts: list[bytes], step: int, in_chunks: bool
) -> None:
    body = b"".join(parts)
    made = fed((chunked(*parts) if in_chunks else sized(body)) + NEXT, step)
    assert (made.complete, made.whole, made.rest) == (True, True, NEXT)
    assert made.body()[0].read() == body
    made.close()


@given(cut=st.integers(1, 80), in_chunks=st.booleans())
def test_what_breaks_off_is_never_complete(cut: int, in_chunks: bool) -> None:
    request = chunked(b"a" * 40, b"b" * 40) if in_chunks else sized(b"a" * 80)
    made = fed(request[:-cut])
    assert not made.complete
    made.close()


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_request_a_part_of_one_or_a_fault(data: bytes) -> None:
    for start in (b"", b"GET / HTTP/1.1\r\n", CHUNKS):
        made = arrival()
        with suppress(HeadTooLarge, MalformedBody):
            made.feed(start + data)
            if made.complete:
                made.body()[0].read()
        made.close()


@pytest.mark.parametrize(
    "chunks",
    [
        *(b"x\r\n", b"-1\r\n", b"\r\n", b" 1\r\na\r\n", b"1\na\r\n", b"0x1\r\na\r\n", b"1_0\r\n"),
        *(b"F" * 16 + b"\r\n", b"9" * 5000, "٣\r\n".encode(), b"0\r\n" + b"X: y\r\n" * 5000),
    ],
)
def test_chunks_that_follow_no_rule_are_a_fault(chunks: bytes) -> None:
    with pytest.raises(MalformedBody):
        fed(CHUNKS + chunks)


def test_a_chunk_longer_than_it_says_is_a_fault_before_the_app_sees_it() -> None:
    made = fed(CHUNKS + b"3\r\nabcde0\r\n\r\n")
    assert made.complete
    with pytest.raises(MalformedBody):
        made.body()
    made.close()


@pytest.mark.parametrize(
    "head",
    [
        *("GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"),
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        *(
            f"POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
            for length in ("-1", "+1", "1_0", "0x1", "9" * 6000, "\xb2", "1 ", "")
            if length != "1 "
        ),
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA\0: b\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\r\n\r\n",
    ],
)
def test_a_head_that_follows_no_rule_is_a_fault(head: str) -> None:
    with pytest.raises(MalformedBody):
        fed(head.encode("latin-1"))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MOST_HEAD_BYTES,
        b"x" * (MOST_HEAD_BYTES + 1),
    ],
)
def test_a_head_out_of_measure_is_a_fault(head: bytes) -> None:
    with pytest.raises(HeadTooLarge):
        fed(head)


@pytest.mark.parametrize("request_", [sized(b"a" * 5000), chunked(*[b"a" * 100] * 50)])
def test_a_body_over_the_limit_goes_on_without_it(request_: bytes) -> None:
    made = fed(request_, limit_bytes=1000, step=600)
    assert (made.complete, made.whole) == (True, False)
    made.close()


def test_who_asks_for_leave_gets_it_once_and_not_for_too_much() -> None:
    asking = sized(b"a" * 500, "Expect: 100-continue")
    made = fed(asking[:-500])
    assert (made.take_leave(), made.take_leave()) == (True, False)
    made.close()
    refused = fed(asking[:-500], limit_bytes=100)
    assert not refused.take_leave()
    refused.close()
