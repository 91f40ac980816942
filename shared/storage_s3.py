"""Objects in a bucket of an S3 server, through the `minio` client."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.deleteobjects import DeleteObject
from minio.error import (
    InvalidResponseError,
    MinioAdminException,
    MinioException,
    S3Error,
    ServerError,
)
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    Rule,
)
from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from shared.errors import ObjectMissing, ObjectStoreFull, ObjectStoreUnavailable
from shared.settings import Settings
from shared.storage import (
    CHUNK_BYTES,
    ObjectInfo,
    check_key,
    check_range,
    content_disposition,
)

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 10.0
PART_BYTES = 8 * 1024 * 1024
RULE_ID = "ttsfarm-lifetime"
LONGEST_LINK = timedelta(days=7)  # S3's own limit

# `UnicodeDecodeError` and `ParseError`: the client decodes and parses answers that are not S3's.
LIBRARY_ERRORS = (
    MinioException,
    MinioAdminException,
    HTTPError,
    ParseError,
    UnicodeDecodeError,
    OSError,
)
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
_FULL = frozenset(
    {"QuotaExceeded", "EntityTooLarge", "InsufficientCapacity", "XMinioStorageFull"}
    | {"XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull"}
)
_FULL_STATUS = 507
_NO_RULES = frozenset({"NotImplemented", "MethodNotAllowed"})


def translate(
    error: Exception, key: str | None = None
) -> ObjectMissing | ObjectStoreFull | ObjectStoreUnavailable:
    """Our error for one of `LIBRARY_ERRORS`."""
    reason, status = _reason(error)
    if key is not None and reason in _MISSING:
        return ObjectMissing(f"No object is stored under {key!r}.")
    if reason in _FULL or status == _FULL_STATUS:
        return ObjectStoreFull(f"The S3 store has no room ({reason}).", retry_after_s=30)
    return ObjectStoreUnavailable(
        f"The S3 store did not do what was asked ({reason}): check that it runs, its address, "
        "its keys and the bucket.",
        retry_after_s=5,
    )


def _reason(error: Exception) -> tuple[str, int | None]:
    if isinstance(error, S3Error):
        return error.code or "no code", error.response.status
    if isinstance(error, ServerError):
        return f"status {error.status_code}", error.status_code
    if isinstance(error, InvalidResponseError):
        return "an answer that is not S3", None
    return type(error).__name__, None


@contextmanager
def _s3(key: str | None = None) -> Iterator[None]:
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, key) from error


class _Pool(PoolManager):
    """Sends large bodies piece by piece.

    A body given as bytes goes out in one send, which has only the connect timeout for all of it.
    """

    def urlopen(  # type: ignore[override]  # as in PoolManager, which narrows it too
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> BaseHTTPResponse:
        body = kw.get("body")
        if isinstance(body, bytes) and len(body) > CHUNK_BYTES:
            kw["body"] = io.BytesIO(body)
        return super().urlopen(method, url, redirect, **kw)


def pool() -> PoolManager:
    """Connections with bounded waits."""
    return _Pool(
        timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
        maxsize=16,
        blocksize=CHUNK_BYTES,
        retries=Retry(
            total=2,
            read=1,
            backoff_factor=0.2,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,  # the answer itself says more
            redirect=0,
        ),
    )


def split_endpoint(settings: Settings, endpoint: str) -> tuple[str, bool]:
    """Host with port, and whether to speak TLS to it."""
    scheme, _, host = endpoint.rpartition("://")
    return host, scheme == "https" if scheme else settings.s3_secure


def client_of(settings: Settings, endpoint: str) -> Minio:
    """A client of the store at `endpoint`, with the settings' keys."""
    host, secure = split_endpoint(settings, endpoint)
    return Minio(
        host,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
        secure=secure,
        http_client=pool(),
    )


class S3Store:
    """Objects in `settings.s3_bucket`; endpoints may carry `http://` or `https://`."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.s3_bucket
        self._region = settings.s3_region
        self._lifetime_days = settings.object_lifetime_days
        self._client = client_of(settings, settings.s3_endpoint)
        self._linker = client_of(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    def ensure(self) -> None:
        with _s3():
            if not self._client.bucket_exists(self._bucket):
                self._make_bucket()
            try:
                self._set_lifetime()
            except S3Error as error:
                # A store without such rules does; the janitor clears up by itself.
                if error.code not in _NO_RULES:
                    raise

    def check(self) -> None:
        with _s3():
            there = self._client.bucket_exists(self._bucket)
        if not there:
            raise ObjectStoreUnavailable(
                f"The S3 store has no bucket {self._bucket!r}: start the farm once, which makes "
                "it, or make it yourself.",
                retry_after_s=5,
            )

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._upload(key, io.BytesIO(data), len(data), content_type)

    def put_file(self, key: str, path: Path, content_type: str) -> None:
        with path.open("rb") as file:
            self._upload(key, file, path.stat().st_size, content_type)

    def stat(self, key: str) -> ObjectInfo:
        with _s3(key):
            found = self._client.stat_object(self._bucket, check_key(key))
        return ObjectInfo(
            key=key,
            size_bytes=found.size or 0,
            content_type=found.content_type or "application/octet-stream",
        )

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_range(start, length)
        if length == 0:  # S3 has no range of no bytes
            self.stat(key)
            return iter(())
        chunks = self._chunks(check_key(key), start, length or 0)
        next(chunks)  # opens the object, and has it closed even when no chunk is ever asked
        return chunks

    def list(self, prefix: str) -> Iterator[str]:
        with _s3():
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield found.object_name or ""

    def delete(self, keys: Iterable[str]) -> None:
        with _s3():
            refused = self._client.remove_objects(
                self._bucket, (DeleteObject(check_key(key)) for key in keys)
            )
            codes = {error.code for error in refused} - _MISSING
        if codes:
            raise ObjectStoreUnavailable(
                f"The S3 store refused to delete ({', '.join(sorted(map(str, codes)))}): check "
                "what its keys may do.",
                retry_after_s=5,
            )

    def link(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        with _s3(key):
            return self._linker.presigned_get_object(
                self._bucket,
                check_key(key),
                expires=min(lifetime, LONGEST_LINK),
                response_headers={"response-content-disposition": content_disposition(filename)},
            )

    def _upload(self, key: str, data: io.BufferedIOBase, size_bytes: int, kind: str) -> None:
        with _s3():
            self._client.put_object(
                self._bucket,
                check_key(key),
                data,  # type: ignore[arg-type]  # only read() is called
                size_bytes,
                content_type=kind,
                part_size=PART_BYTES,
                num_parallel_uploads=1,  # one part in memory at a time
            )

    def _chunks(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """An empty chunk once the object is open, then its content."""
        try:
            response = self._client.get_object(self._bucket, key, offset=start, length=length)
        except LIBRARY_ERRORS as error:
            if not (isinstance(error, S3Error) and error.code == "InvalidRange"):
                raise translate(error, key) from error
            yield b""  # the range begins at or past the end
            return
        try:
            yield b""
            with _s3():
                yield from response.stream(CHUNK_BYTES)
        finally:
            response.close()
            response.release_conn()

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(self._bucket, self._region)
        except S3Error as error:
            # Another process of the farm was faster.
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _set_lifetime(self) -> None:
        """One rule of ours beside those of others; written only when it differs."""
        ours = Rule(
            ENABLED,
            rule_filter=Filter(prefix=""),
            rule_id=RULE_ID,
            expiration=Expiration(days=self._lifetime_days),
            abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(
                days_after_initiation=1
            ),
        )
        config = self._client.get_bucket_lifecycle(self._bucket)
        rules = config.rules if config else []
        # A server may leave an empty filter out of its answer, and refuse a rule without one.
        others = [
            rule if rule.rule_filter else replace(rule, rule_filter=Filter(prefix=""))
            for rule in rules
            if rule.rule_id != RULE_ID
        ]
        if not any(
            rule.rule_id == RULE_ID
            and rule.status == ENABLED
            and rule.expiration == ours.expiration
            for rule in rules
        ):
            self._client.set_bucket_lifecycle(self._bucket, LifecycleConfig([*others, ours]))
