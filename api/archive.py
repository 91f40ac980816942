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
from typing import BinaryIO, Self, cast
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
        self._json, self._csv = open_spool(), open_spool()
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

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        self._json_text.write("\n]\n" if self._n_rows else "[]\n")
        for text, name, file in (
            (self._json_text, "manifest.json", self._json),
            (self._csv_text, "manifest.csv", self._csv),
        ):
            text.flush()
            yield name, cast(BinaryIO, file)

    def close(self) -> None:
        self._json_text.close()
        self._csv_text.close()


def open_spool() -> SpooledTemporaryFile[bytes]:
    """A file for what an archive tells at its end, on disk when it is large."""
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


class Packing:
    """An archive in the making: it takes files one by one and gives the bytes that are ready."""

    def __init__(self, made_at_s: float) -> None:
        self._sink = _Sink()
        self._zip = ZipFile(self._sink, "w", ZIP_STORED)
        self._made_at_s = made_at_s

    def audio(
        self, name: str, job: Job, audio: AudioResult, chunks: Iterable[bytes]
    ) -> Iterator[bytes]:
        """A job's audio, stored as it is; raises `InternalError` where its record is wrong."""
        entry = _entry(name, (job.finished_ms or 0) / 1000)
        entry.file_size = audio.size_bytes  # tells the writer whether it needs the long form
        yield from self._add(entry, chunks)
        if entry.file_size != audio.size_bytes:
            raise InternalError(f"The audio of job {job.id} is not as long as its record says")

    def text(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """A file that shrinks."""
        yield from self._add(_entry(name, self._made_at_s, ZIP_DEFLATED), chunks)

    def _add(self, entry: ZipInfo, chunks: Iterable[bytes]) -> Iterator[bytes]:
        with self._zip.open(entry, "w") as part:
            for chunk in chunks:
                part.write(chunk)
                yield self._sink.take()

    def end(self) -> bytes:
        """The list of entries, after which there is nothing."""
        self._zip.close()
        return self._sink.take()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()


def open_audio(job: Job, store: ObjectStore) -> tuple[AudioResult | None, Iterator[bytes], str]:
    """A job's audio and its bytes, opened; or None and, where it was lost, what is missing."""
    if job.audio is None:
        return None, iter(()), ""
    try:
        return job.audio, store.read(job.audio.key), ""
    except ObjectMissing as error:
        return None, iter(()), error.message


def spooled(file: BinaryIO) -> Iterator[bytes]:
    """What was written to `file`, from its beginning."""
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def archive(jobs: Iterable[Job], store: ObjectStore, made_at_s: float) -> Iterator[bytes]:
    """The archive of `jobs` in pieces: each one's audio under its name, the manifest at the end.

    A job without audio has a row in the manifest alone.
    """
    with closing(_Manifest()) as manifest, Packing(made_at_s) as packing:
        for job in jobs:
            audio, chunks, missing = open_audio(job, store)  # before its entry is begun
            if audio is not None:
                yield from packing.audio(f"{job.name}.{audio.format}", job, audio, chunks)
            manifest.add(_row(job, audio, missing))
        for name, file in manifest.files():
            yield from packing.text(name, spooled(file))
        yield packing.end()


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
