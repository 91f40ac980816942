"""No error of the storage libraries or the system passes a store untranslated."""

import errno
import inspect
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3.exceptions
from hypothesis import given
from hypothesis import strategies as st
from minio.error import S3Error, ServerError
from urllib3 import HTTPResponse

from shared.errors import ObjectMissing, ObjectStoreFull, ObjectStoreUnavailable
from shared.settings import Settings
from shared.storage import check_key, content_disposition
from shared.storage_local import LocalStore
from shared.storage_local import translate as translate_local
from shared.storage_s3 import LIBRARY_ERRORS, S3Store, split_endpoint
from shared.storage_s3 import translate as translate_s3

# Raised while a proxy is set up; no proxy is ever.
NEVER_RAISED = {urllib3.exceptions.ProxySchemeUnsupported}


def errors_of(module: ModuleType) -> list[type[Exception]]:
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Exception)
        and not issubclass(cls, Warning)
        and cls.__module__ == module.__name__
        and cls not in NEVER_RAISED
    ]


@pytest.mark.parametrize(
    "cls",
    [*errors_of(minio.error), *errors_of(urllib3.exceptions), ParseError, ConnectionResetError],
)
def test_every_error_of_the_s3_libraries_is_mapped(cls: type[Exception]) -> None:
    assert issubclass(cls, LIBRARY_ERRORS)
    bare = cls.__new__(cls)
    if not isinstance(bare, S3Error | ServerError):
        assert type(translate_s3(bare)) is ObjectStoreUnavailable


@pytest.mark.parametrize(
    ("endpoint", "s3_secure", "expected"),
    [
        ("store:9000", True, ("store:9000", True)),
        ("store:9000", False, ("store:9000", False)),
        ("https://store", False, ("store", True)),
        ("http://store", True, ("store", False)),
    ],
)
def test_a_store_is_met_by_tls_as_its_address_says_or_else_the_setting(
    endpoint: str, s3_secure: bool, expected: tuple[str, bool]
) -> None:
    assert split_endpoint(Settings(s3_secure=s3_secure), endpoint) == expected


def s3_error(code: str, status: int) -> S3Error:
    return S3Error(
        response=HTTPResponse(status=status),
        code=code,
        message="",
        resource="",
        request_id=None,
        host_id=None,
    )


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, ObjectMissing),
        ("NoSuchBucket", 404, ObjectStoreUnavailable),
        ("AccessDenied", 403, ObjectStoreUnavailable),
        ("SlowDown", 503, ObjectStoreUnavailable),
        ("RequestTimeTooSkewed", 403, ObjectStoreUnavailable),
        ("QuotaExceeded", 403, ObjectStoreFull),
        ("XMinioStorageFull", 507, ObjectStoreFull),
        ("Anything", 507, ObjectStoreFull),
    ],
)
def test_the_servers_codes_are_told_apart(code: str, status: int, expected: type) -> None:
    assert type(translate_s3(s3_error(code, status), "key")) is expected


def test_a_status_without_a_body_is_told_apart() -> None:
    assert type(translate_s3(ServerError("no room", 507))) is ObjectStoreFull
    assert type(translate_s3(ServerError("down", 500))) is ObjectStoreUnavailable


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_mapped(number: int) -> None:
    full = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    expected = ObjectStoreFull if number in full else ObjectStoreUnavailable
    assert type(translate_local(OSError(number, "text"), None)) is expected


def test_a_full_disk_is_full(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, timedelta(days=1))
    store.ensure()
    with pytest.raises(ObjectStoreFull):
        store.put_file("a", FullDevice(), "audio/wav")
    assert list(store.list("")) == []
    assert list((tmp_path / "incoming").iterdir()) == []


class FullDevice(type(Path())):
    """A file whose reading fails as writing to a full disk does."""

    def __new__(cls) -> "FullDevice":
        return super().__new__(cls, "/dev/full")

    def open(self, *_: object, **__: object) -> "FullDevice":
        return self

    def __enter__(self) -> "FullDevice":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read(self, _: int) -> bytes:
        raise OSError(errno.ENOSPC, "no space")


def test_objects_past_their_lifetime_are_removed_by_ensure(tmp_path: Path) -> None:
    import os

    store = LocalStore(tmp_path, timedelta(days=2))
    store.ensure()
    store.put("jobs/old/audio.wav", b"old", "text/plain")
    store.put("jobs/new/audio.wav", b"new", "text/plain")
    old = tmp_path / "objects/jobs/old/audio.wav"
    os.utime(old, (0, old.stat().st_mtime - 3 * 86_400))
    abandoned = tmp_path / "incoming/abandoned"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    store.ensure()
    assert list(store.list("")) == ["jobs/new/audio.wav"]
    assert not old.parent.exists()
    assert not (tmp_path / "types/jobs/old").exists()
    assert store.stat("jobs/new/audio.wav").content_type == "text/plain"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_folder_that_others_empty_costs_no_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the waits would hide the race
    store = LocalStore(tmp_path / "store", timedelta(days=1))
    store.ensure()

    def upload(turn: int) -> None:
        key = f"shared/own/{turn}"
        store.put(key, b"", "audio/wav")
        store.delete([key])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(upload, range(2000)))
    assert list(store.list("")) == []


class _RuleHandler(BaseHTTPRequestHandler):
    """A store with a bucket that answers to lifecycle rules with `code`."""

    code = ""

    def do_HEAD(self) -> None:
        self._answer(200, b"")

    def do_GET(self) -> None:
        fault = f"<Error><Code>{self.code}</Code></Error>"
        self._answer(501 if self.code == "NotImplemented" else 403, fault.encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def a_store_that_says(code: str) -> Iterator[S3Store]:
    handler = type("Handler", (_RuleHandler,), {"code": code})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield S3Store(Settings(s3_endpoint=f"127.0.0.1:{server.server_address[1]}"))
        server.shutdown()
        thread.join()


def test_a_store_without_lifecycle_rules_does() -> None:
    with a_store_that_says("NotImplemented") as store:
        store.ensure()


def test_keys_that_may_not_read_the_lifecycle_rules_are_told() -> None:
    with (
        a_store_that_says("AccessDenied") as store,
        pytest.raises(ObjectStoreUnavailable, match="AccessDenied"),
    ):
        store.ensure()


@given(st.text(st.characters()))
def test_a_key_that_is_accepted_stays_in_its_folder(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    root = Path("/root/objects")
    assert (root / key).is_relative_to(root)
    assert ".." not in (root / key).parts


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_download_name_never_breaks_the_header(filename: str) -> None:
    header = content_disposition(filename)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
