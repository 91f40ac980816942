"""Audio as an HTTP answer: whole or a range of it, streamed in chunks, never read whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from flask import Response, request
from werkzeug.http import quote_etag, unquote_etag

from shared.errors import RangeNotSatisfiable
from shared.numbers import LARGEST, read_count

# One range of bytes; several at once may be ignored (RFC 9110, 14.2), and are.
ONE_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Download:
    """An object as it is to be sent. `etag` is a content hash, None where it is not known."""

    key: str
    size_bytes: int
    media_type: str
    filename: str
    etag: str | None = None
    attachment: bool = False


class Readable(Protocol):
    """What has an object's bytes: a store, or a stream made from it."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As `ObjectStore.read` does."""


def select_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The bytes asked for as (start, end), end exclusive; None means the whole.

    Raises `RangeNotSatisfiable` when none of them exists. What can not be read is ignored.
    """
    match = ONE_RANGE.match(header or "")
    if not match or match.group(1) == match.group(2) == "":
        return None
    first, last = map(read_count, match.groups())
    if first is None:
        start, end = max(0, size_bytes - (last or 0)), size_bytes
    else:
        start = first
        last = LARGEST if last is None else last
        end = min(last + 1, size_bytes)
        if last < start:
            return None
    if start >= size_bytes or start == end:
        raise RangeNotSatisfiable(
            f"The range {match.group()[:80]} lies outside the {size_bytes} bytes there are.",
            size_bytes=size_bytes,
        )
    return start, end


def range_applies(etag: str | None) -> bool:
    """Whether the caller's Range is for what has this tag; None is the tag of nothing."""
    condition = request.headers.get("If-Range")
    return condition is None or (etag is not None and condition == quote_etag(etag))


def _unchanged(etag: str | None) -> bool:
    header = request.headers.get("If-None-Match", "")
    given = [unquote_etag(part.strip())[0] for part in header.split(",") if part.strip()]
    return etag is not None and (etag in given or header.strip() == "*")


def send_object(store: Readable, download: Download) -> Response:
    """Answer with 200, 206 or 304; raises `RangeNotSatisfiable` and what the store raises."""
    asked, unchanged = None, _unchanged(download.etag)  # in this order: RFC 9110, 13.2.2
    if request.method == "GET" and not unchanged and range_applies(download.etag):
        asked = select_range(request.headers.get("Range"), download.size_bytes)
    start, end = asked or (0, download.size_bytes)
    if unchanged:
        response = Response(status=304)
    elif request.method == "HEAD":
        response = Response(content_type=download.media_type)
    else:
        chunks = store.read(download.key, start, end - start)
        response = Response(chunks, status=206 if asked else 200, content_type=download.media_type)
    if response.status_code != 304:
        response.headers["Content-Length"] = str(end - start)
        kind = "attachment" if download.attachment else "inline"
        response.headers["Content-Disposition"] = f'{kind}; filename="{download.filename}"'
    if asked:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.size_bytes}"
    if download.etag:
        response.set_etag(download.etag)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    return response
