"""results.zip: whole, checked by a reader, the same whatever the size."""

import csv
import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from api.archive import archive
from shared.errors import InternalError, ObjectMissing
from shared.records import read_job
from shared.schemas import AudioResult, ErrorInfo, Job, JobRequest
from shared.storage import CHUNK_BYTES, ObjectInfo
from shared.storage_local import LocalStore

MADE_S = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path, timedelta(days=1))
    store.ensure()
    return store


def job(
    name: str, size_bytes: int | None, error: ErrorInfo | None = None, digest: str | None = None
) -> Job:
    record = {
        "id": f"stem-{name}", "tenant": "default", "status": "failed" if error else "succeeded",
        "request": json.dumps(JobRequest(voice="v").dump()), "n_chars": "2", "segments_done": "1",
        "audio_ms": "100", "synthesis_ms": "1", "created_ms": "1", "finished_ms": "1800000000000",
        "version": "3", "batch": "b", "name": name,
    }  # fmt: skip
    if size_bytes is not None:
        audio = AudioResult(
            key=f"jobs/{name}/audio.wav",
            duration_ms=100,
            size_bytes=size_bytes,
            sha256=hashlib.sha256(bytes(size_bytes)).hexdigest() if digest is None else digest,
            format="wav",
            sample_rate_hz=16000,
        )
        record["audio"] = json.dumps(audio.dump())
    if error:
        record["error"] = json.dumps(error.dump())
    return read_job(record)


def test_the_archive_holds_each_audio_and_what_became_of_the_rest(store: LocalStore) -> None:
    store.put("jobs/第一课/audio.wav", bytes(600_000), "audio/wav")
    failed = ErrorInfo(code="text_refused", message="=no", retryable=False)
    jobs = [job("第一课", 600_000), job("gone", 10), job("bad", None, failed)]
    data = b"".join(archive(jobs, store, MADE_S))
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.testzip() is None
        assert found.namelist() == ["第一课.wav", "manifest.json", "manifest.csv"]
        assert found.read("第一课.wav") == bytes(600_000)
        entry = found.getinfo("第一课.wav")
        assert (entry.compress_type, entry.date_time[:3]) == (zipfile.ZIP_STORED, (2027, 1, 15))
        rows = json.loads(found.read("manifest.json"))
        table = list(csv.DictReader(io.StringIO(found.read("manifest.csv").decode("utf-8-sig"))))
    assert [(row["name"], row["file"], row["error_code"]) for row in rows] == [
        ("第一课", "第一课.wav", ""),
        ("gone", "", "object_missing"),
        ("bad", "", "text_refused"),
    ]
    assert rows[0]["sha256"] == hashlib.sha256(bytes(600_000)).hexdigest()
    assert [row["name"] for row in table] == ["第一课", "gone", "bad"]
    assert table[2]["error"] == "'=no"  # no formula


def test_an_empty_batch_is_an_archive_too(store: LocalStore) -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(archive([], store, MADE_S)))) as found:
        assert json.loads(found.read("manifest.json")) == []


def test_audio_of_another_length_breaks_the_archive_off(store: LocalStore) -> None:
    store.put("jobs/a/audio.wav", bytes(9), "audio/wav")
    with pytest.raises(InternalError):
        b"".join(archive([job("a", 10)], store, MADE_S))


def test_a_reader_that_goes_away_leaves_nothing_open(store: LocalStore) -> None:
    store.put("jobs/a/audio.wav", bytes(3 * CHUNK_BYTES), "audio/wav")
    parts = archive([job("a", 3 * CHUNK_BYTES)], store, MADE_S)
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # a generator


class Endless:
    """A store whose every object is as long as its record says; only reading is used."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def stat(self, key: str) -> ObjectInfo:
        raise ObjectMissing(key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        chunk = bytes(CHUNK_BYTES)
        for at in range(0, self._size_bytes, CHUNK_BYTES):
            yield chunk[: self._size_bytes - at]


def test_memory_does_not_grow_with_the_audio() -> None:
    def peak(n_jobs: int) -> int:
        jobs = (job(f"n{i}", 40 * CHUNK_BYTES, digest="") for i in range(n_jobs))
        tracemalloc.start()
        for _ in archive(jobs, Endless(40 * CHUNK_BYTES), MADE_S):  # type: ignore[arg-type]  # reads only
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12) < peak(2) + CHUNK_BYTES


def test_an_entry_above_4_gib_is_begun_in_the_long_form() -> None:
    def header(size_bytes: int) -> bytes:
        parts = archive([job("long", size_bytes, digest="")], Endless(size_bytes), MADE_S)  # type: ignore[arg-type]  # reads only
        first = next(parts)
        parts.close()  # type: ignore[attr-defined]  # a generator
        return first[:64]

    def version_and_extra(head: bytes) -> tuple[int, int]:
        return int.from_bytes(head[4:6], "little"), int.from_bytes(head[28:30], "little")

    assert version_and_extra(header(2**20)) == (20, 0)
    assert version_and_extra(header(2**32 + 10)) == (45, 20)
