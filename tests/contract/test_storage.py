"""One suite over every object store: what the protocol promises, on real parts."""

import errno
import io
import os
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from shared.errors import ObjectMissing, ObjectStoreUnavailable
from shared.settings import Settings
from shared.storage import MAX_NAME_BYTES, ObjectStore, open_store

KEYS = [
    "jobs/1/audio.wav",
    "segments/0f" * 10,
    "语音/你好 世界.wav",
    "a/b c+d%20&e=f?g#h/i'j\"k.wav",
    "emoji/🎵.mp3",
    "dots/..hidden/.x",
    "长" * (MAX_NAME_BYTES // 3),
]
BAD_KEYS = ["", "/", "a//b", "../a", "a/../b", "a/./b", "/etc/passwd", "a/", "a\\b", "a\x00b"]
BAD_KEYS += ["a\nb", "x" * (MAX_NAME_BYTES + 1), "\ud800", "a/" * 450 + "a"]


def content(store: ObjectStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join(store.read(key, start, length))


@pytest.mark.parametrize("key", KEYS)
def test_an_object_comes_back_as_it_was_put(store: ObjectStore, key: str) -> None:
    store.put(key, b"hello", "audio/wav")
    info = store.stat(key)
    assert (info.key, info.size_bytes, info.content_type) == (key, 5, "audio/wav")
    assert content(store, key) == b"hello"
    assert list(store.list("")) == [key]
    store.delete([key])
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_could_leave_the_store_is_refused(store: ObjectStore, key: str) -> None:
    for use in (
        lambda: store.put(key, b"", "audio/wav"),
        lambda: store.stat(key),
        lambda: store.read(key),
        lambda: store.delete([key]),
        lambda: store.link(key, timedelta(minutes=1), "a.wav"),
    ):
        with pytest.raises(ValueError, match="No object can have the key"):
            use()


@pytest.mark.parametrize("kind", ["audio/ogg; codecs=opus", "application/json", "text/x-odd"])
def test_the_type_is_kept_whatever_the_name_says(store: ObjectStore, kind: str) -> None:
    for key in ("a.wav", "a", "a.json"):
        store.put(key, b"x", kind)
        assert store.stat(key).content_type == kind


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("a", b"", "audio/wav")
    assert store.stat("a").size_bytes == 0
    assert content(store, "a") == b""


def test_an_object_can_be_replaced(store: ObjectStore) -> None:
    store.put("a.wav", b"first, and longer", "audio/wav")
    store.put("a.wav", b"second", "audio/flac")
    assert content(store, "a.wav") == b"second"
    assert store.stat("a.wav").content_type == "audio/flac"
    store.put("a.wav", b"third", "audio/wav")
    assert store.stat("a.wav").content_type == "audio/wav"


@pytest.mark.parametrize("missing", ["nothing", "folder", "folder/file/below"])
def test_what_is_not_there_is_missing(store: ObjectStore, missing: str) -> None:
    store.put("folder/file", b"x", "audio/wav")
    with pytest.raises(ObjectMissing, match="No object"):
        store.stat(missing)
    with pytest.raises(ObjectMissing, match="No object"):
        store.read(missing)
    with pytest.raises(ObjectMissing, match="No object"):
        store.read(missing, 0, 0)


def test_deleting_twice_is_no_error(store: ObjectStore) -> None:
    store.put("a/b", b"x", "audio/wav")
    store.delete(["a/b", "a/b", "never"])
    store.delete(["a/b"])
    store.delete([])
    with pytest.raises(ObjectMissing):
        store.stat("a/b")


def test_a_folder_emptied_takes_objects_again(store: ObjectStore) -> None:
    for turn in range(3):
        store.put("deep/down/below/a", b"%d" % turn, "audio/wav")
        assert content(store, "deep/down/below/a") == b"%d" % turn
        store.delete(["deep/down/below/a"])


def test_a_list_holds_what_begins_with_the_prefix(store: ObjectStore) -> None:
    keys = {"jobs/1/audio.wav", "jobs/1/segments/0", "jobs/10/audio.wav", "jobs/2/a", "other"}
    for key in keys:
        store.put(key, b"x", "audio/wav")
    for prefix in ("", "jobs/", "jobs/1", "jobs/1/", "jobs/1/segments/", "o", "nothing/", "jobs/3"):
        assert sorted(store.list(prefix)) == sorted(k for k in keys if k.startswith(prefix))


@pytest.mark.s3
def test_more_objects_than_a_page_are_listed_and_deleted(s3_settings: Settings) -> None:
    store = open_store(s3_settings)
    store.ensure()
    keys = {f"many/{n:04}" for n in range(1010)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"", "audio/wav"), keys))
    assert set(store.list("many/")) == keys
    store.delete(store.list("many/"))
    assert list(store.list("")) == []


@rules(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 700_000), length=st.none() | st.integers(0, 700_000))
def test_a_range_is_a_slice(store: ObjectStore, start: int, length: int | None) -> None:
    data = bytes(range(251)) * 2400  # over two chunks
    try:
        store.stat("ranges")
    except ObjectMissing:
        store.put("ranges", data, "audio/wav")
    end = None if length is None else start + length
    assert content(store, "ranges", start, length) == data[start:end]


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1), (-5, 5)])
def test_a_negative_range_is_refused(store: ObjectStore, start: int, length: int | None) -> None:
    with pytest.raises(ValueError, match="Range"):
        store.read("a", start, length)


def test_a_large_file_comes_back_in_chunks(store: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20
    path = tmp_path / "large.wav"
    path.write_bytes(data)
    store.put_file("large.wav", path, "audio/wav")
    assert store.stat("large.wav").size_bytes == len(data)
    chunks = list(store.read("large.wav"))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= 1 << 20
    assert content(store, "large.wav", len(data) - 3) == data[-3:]


def test_a_read_that_is_never_begun_leaves_nothing_open(store: ObjectStore) -> None:
    store.put("a", b"x" * 100, "audio/wav")
    for _ in range(40):
        store.read("a")
    assert content(store, "a") == b"x" * 100


def test_an_object_read_while_it_is_replaced_is_one_of_the_two(store: ObjectStore) -> None:
    versions = [bytes([letter]) * 300_000 for letter in b"ab"]
    store.put("a", versions[0], "audio/wav")
    done = threading.Event()

    def replace() -> None:
        for turn in range(20):
            store.put("a", versions[turn % 2], "audio/wav")
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not done.is_set():
        assert content(store, "a") in versions
    writer.join()


def test_an_upload_is_visible_only_whole(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(b"x" * 20_000_000)
    upload = threading.Thread(target=store.put_file, args=("a.wav", path, "audio/wav"))
    upload.start()
    seen = []
    while upload.is_alive():
        seen += [store.stat(key).size_bytes for key in store.list("")]
    upload.join()
    assert set(seen) <= {20_000_000}
    assert store.stat("a.wav").size_bytes == 20_000_000


def test_an_upload_that_fails_leaves_nothing_behind(
    store: ObjectStore, tmp_path: Path, store_settings: Settings
) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file("a.wav", tmp_path / "missing.wav", "audio/wav")
    with pytest.raises(ObjectStoreUnavailable):
        # A folder opens where a file is expected, and can not be read.
        store.put_file("a.wav", _Unreadable(tmp_path), "audio/wav")
    assert list(store.list("")) == []
    leftovers = store_settings.storage_dir / "incoming"
    assert not leftovers.exists() or list(leftovers.iterdir()) == []


class _Unreadable(type(Path())):
    """A file that breaks off while it is read, as one on a lost network mount does."""

    def open(self, *_: object, **__: object) -> "_Broken":
        return _Broken()

    def stat(self, **_: object) -> os.stat_result:
        return os.stat_result((0o100600, 0, 0, 1, 0, 0, 100, 0, 0, 0))


class _Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise OSError(errno.EIO, "lost")


def test_parallel_uploads_of_the_same_content_coincide(store: ObjectStore) -> None:
    def upload(turn: int) -> None:
        store.put(f"shared/{turn % 5}/a", b"same" * 1000, "audio/wav")
        store.put(f"shared/{turn % 5}/own/{turn}", b"", "audio/wav")
        store.delete([f"shared/{turn % 5}/own/{turn}"])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(upload, range(30)))
    assert sorted(store.list("")) == [f"shared/{turn}/a" for turn in range(5)]
    assert content(store, "shared/4/a") == b"same" * 1000


def test_ensure_may_be_repeated_and_keeps_what_is_there(
    store: ObjectStore, store_settings: Settings
) -> None:
    store.put("a", b"x", "audio/wav")
    open_store(store_settings).ensure()
    open_store(store_settings).ensure()
    open_store(store_settings).check()
    assert content(store, "a") == b"x"


def test_a_store_that_was_never_made_says_so(store_settings: Settings) -> None:
    unmade = open_store(store_settings)
    with pytest.raises(ObjectStoreUnavailable):
        unmade.check()
    with pytest.raises(ObjectStoreUnavailable):
        unmade.put("a", b"x", "audio/wav")


@pytest.fixture
def dead_store(store_settings: Settings, tmp_path: Path) -> ObjectStore:
    """The same kind of store with nothing behind it."""
    blocked = tmp_path / "a file, not a directory"
    blocked.write_bytes(b"")
    changes = {"s3_endpoint": "127.0.0.1:1", "storage_dir": blocked / "objects"}
    return open_store(store_settings.model_copy(update=changes))


def test_a_dead_store_is_unavailable_in_seconds(dead_store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"x")
    for use in (
        dead_store.ensure,
        dead_store.check,
        lambda: dead_store.put("a", b"x", "audio/wav"),
        lambda: dead_store.put_file("a", file, "audio/wav"),
    ):
        with pytest.raises(ObjectStoreUnavailable) as caught:
            use()
        assert caught.value.__cause__ is not None
        assert caught.value.retryable


@pytest.mark.s3
def test_a_dead_s3_server_is_not_a_missing_object(s3_settings: Settings) -> None:
    dead = open_store(s3_settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
    for use in (
        lambda: dead.stat("a"),
        lambda: dead.read("a"),
        lambda: list(dead.list("")),
        lambda: dead.delete(["a"]),
    ):
        with pytest.raises(ObjectStoreUnavailable):
            use()


@pytest.mark.s3
def test_a_server_that_dies_while_an_object_is_read_is_unavailable(s3_settings: Settings) -> None:
    real = open_store(s3_settings)
    real.ensure()
    real.put("a", b"x" * 3_000_000, "audio/wav")
    with Relay(s3_settings.s3_endpoint, cut_after_bytes=1_000_000) as endpoint:
        store = open_store(s3_settings.model_copy(update={"s3_endpoint": endpoint}))
        with pytest.raises(ObjectStoreUnavailable):
            content(store, "a")


class Relay:
    """Passes TCP on to a server and cuts the connection after so many bytes of answer."""

    def __init__(self, endpoint: str, cut_after_bytes: int) -> None:
        host, _, port = endpoint.rpartition(":")
        self._there = (host, int(port))
        self._left = cut_after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with near, socket.create_connection(self._there) as far:
                forth = threading.Thread(target=self._forward, args=(near, far))
                forth.start()
                while self._left > 0 and (data := far.recv(65536)):
                    near.sendall(data)
                    self._left -= len(data)
                near.shutdown(socket.SHUT_RDWR)
                far.shutdown(socket.SHUT_RDWR)
                forth.join()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
        except OSError:
            return


@pytest.mark.s3
def test_a_presigned_link_downloads_the_object_under_its_name(s3_settings: Settings) -> None:
    store = open_store(s3_settings)
    store.ensure()
    store.put("语音/a b.wav", b"sound", "audio/wav")
    link = store.link("语音/a b.wav", timedelta(minutes=1), '你好".wav')
    assert link is not None
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"sound"
        assert answer.headers["Content-Type"] == "audio/wav"
        disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment;")
    assert "filename*=UTF-8''%E4%BD%A0%E5%A5%BD%22.wav" in disposition
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(link.replace("a%20b", "a%20c"))
    assert refused.value.code == 403
    refused.value.close()


@pytest.mark.s3
@pytest.mark.parametrize(
    ("public", "begins"),
    [
        ("audio.example:8443", "http://audio.example:8443/"),
        ("https://audio.example", "https://audio.example/"),
    ],
)
def test_links_name_the_endpoint_that_clients_reach(
    s3_settings: Settings, public: str, begins: str
) -> None:
    store = open_store(s3_settings.model_copy(update={"s3_public_endpoint": public}))
    link = store.link("a", timedelta(days=30), "a.wav")
    assert link is not None
    assert link.startswith(begins + s3_settings.s3_bucket)


@pytest.mark.s3
def test_the_bucket_gets_one_lifetime_rule_and_keeps_those_of_others(
    s3_settings: Settings,
) -> None:
    from minio import Minio
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    store = open_store(s3_settings)
    store.ensure()
    client = Minio(
        s3_settings.s3_endpoint,
        access_key=s3_settings.s3_access_key.get_secret_value(),
        secret_key=s3_settings.s3_secret_key.get_secret_value(),
        secure=False,
    )
    theirs = Rule(
        ENABLED, rule_filter=Filter(prefix="t/"), rule_id="t", expiration=Expiration(days=9)
    )
    client.set_bucket_lifecycle(s3_settings.s3_bucket, LifecycleConfig([theirs]))
    store.ensure()
    assert len(client.get_bucket_lifecycle(s3_settings.s3_bucket).rules) == 2
    open_store(s3_settings.model_copy(update={"object_lifetime_days": 5})).ensure()
    rules_now = client.get_bucket_lifecycle(s3_settings.s3_bucket).rules
    assert {rule.rule_id: rule.expiration.days for rule in rules_now} == {
        "t": 9,
        "ttsfarm-lifetime": 5,
    }


def test_a_local_link_is_left_to_the_api(tmp_path: Path) -> None:
    store = open_store(Settings(storage_dir=tmp_path / "objects"))
    assert store.link("a", timedelta(minutes=1), "a.wav") is None
