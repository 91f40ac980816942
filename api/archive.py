"""results.zip: a batch's audio as one archive, made while it is sent.

Audio is stored as it is, since it does not shrink. Nothing is held but one chunk, the list of
entries every archive ends with, and the manifest, which goes to a file.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from tempfile import SpooledTemporaryFile
from time import gmtime
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from shared.errors import InternalError, ObjectMissing
from shared.schemas import AudioResult, Job
from shared.storage import CHUNK_BYTES, ObjectStore

IN_MEMORY_BYTES = 1_000_000
MODE = 0o644 << 16


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job as the manifest tells of it; `file` is empty where there is no audio."""

    name: str
    job: str
    status: str
    file: str
    duration_s: float | None
    size_bytes: int | None
    sha256: str
    error_code: str
    error: str


class _Sink(io.RawIOBase):
    """Collects what is written until it is taken; has no way back to an entry's beginning."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _Manifest:
    """The rows as JSON and as CSV, on disk when there are many."""

    def __init__(self) -> None:
        self._json, self._csv = _spool(), _spool()
        self._json_text = io.TextIOWrapper(self._json, encoding="utf-8", newline="")
        self._csv_text = io.TextIOWrapper(self._csv, encoding="utf-8", newline="")
        self._rows = csv.DictWriter(self._csv_text, list(Row.__dataclass_fields__))
        self._csv_text.write("\ufeff")  # without it Excel takes the names for another encoding
        self._rows.writeheader()
        self._n_rows = 0

    def add(self, row: Row) -> None:
        self._json_text.write(",\n" if self._n_rows else "[\n")
        json.dump(asdict(row), self._json_text, ensure_ascii=False)
        self._rows.writerow({name: _harmless(value) for name, value in asdict(row).items()})
        self._n_rows += 1

    def files(self) -> Iterator[tuple[str, SpooledTemporaryFile[bytes]]]:
        self._json_text.write("\n]\n" if self._n_rows else "[]\n")
        for text, name, file in (
            (self._json_text, "manifest.json", self._json),
            (self._csv_text, "manifest.csv", self._csv),
        ):
            text.flush()
            file.seek(0)
            yield name, file

    def close(self) -> None:
        self._json_text.close()
        self._csv_text.close()


def _spool() -> SpooledTemporaryFile[bytes]:
    return SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)


def _harmless(value: object) -> object:
    """A cell no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _entry(name: str, moment_s: float, compression: int = ZIP_STORED) -> ZipInfo:
    when = gmtime(max(moment_s, 315_532_800))  # the format begins in 1980
    entry = ZipInfo(name, when[:6])
    entry.compress_type = compression
    entry.external_attr = MODE
    return entry


def archive(jobs: Iterable[Job], store: ObjectStore, made_at_s: float) -> Iterator[bytes]:
    """The archive of `jobs` in pieces: each one's audio under its name, the manifest at the end.

    A job without audio has a row in the manifest alone.
    """
    sink = _Sink()
    with closing(_Manifest()) as manifest, ZipFile(sink, "w", ZIP_STORED) as target:
        for job in jobs:
            yield from _add(target, sink, manifest, job, store)
        for name, file in manifest.files():
            with target.open(_entry(name, made_at_s, ZIP_DEFLATED), "w") as part:
                while chunk := file.read(CHUNK_BYTES):
                    part.write(chunk)
                    yield sink.take()
    yield sink.take()


def _add(
    target: ZipFile, sink: _Sink, manifest: _Manifest, job: Job, store: ObjectStore
) -> Iterator[bytes]:
    audio, missing = job.audio, ""
    chunks: Iterator[bytes] = iter(())
    if audio is not None:
        try:
            chunks = store.read(audio.key)  # opened here, before its entry is begun
        except ObjectMissing as error:
            audio, missing = None, error.message
    if audio is not None:
        entry = _entry(f"{job.name}.{audio.format}", (job.finished_ms or 0) / 1000)
        entry.file_size = audio.size_bytes  # tells the writer whether it needs the long form
        with target.open(entry, "w") as part:
            for chunk in chunks:
                part.write(chunk)
                yield sink.take()
        if entry.file_size != audio.size_bytes:
            raise InternalError(f"The audio of job {job.id} is not as long as its record says")
    manifest.add(_row(job, audio, missing))


def _row(job: Job, audio: AudioResult | None, missing: str) -> Row:
    error_code = job.error.code if job.error else ""
    return Row(
        name=job.name or "",
        job=job.id,
        status=job.status,
        file=f"{job.name}.{audio.format}" if audio else "",
        duration_s=audio.duration_ms / 1000 if audio else None,
        size_bytes=audio.size_bytes if audio else None,
        sha256=audio.sha256 if audio else "",
        error_code=ObjectMissing.code if missing else error_code,
        error=missing or (job.error.message if job.error else ""),
    )
