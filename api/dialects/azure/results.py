"""results.zip as Azure's clients unpack it: audio, times of words and sentences, summary.json.

Made while it is sent, as `api/archive.py` makes ours; no more than one input's text is held.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from api.archive import Packing, open_audio, open_spool
from api.dialects.azure.values import ENDINGS
from api.dialects.azure.views import SUMMARY, internal_id, status_of
from shared.batches import Batch
from shared.captions import Sentence, read_sentences
from shared.errors import ObjectMissing
from shared.schemas import AudioResult, Job
from shared.storage import ObjectStore

Said = tuple[Job, str]  # a job and what it speaks
Row = dict[str, Any]
# A word with the marks that cling to it; theirs stand alone.
_CLINGING: Final = re.compile(r"(\W*)(.*?)(\W*)\Z", re.DOTALL)


def results(
    batch: Batch, said: Iterable[Said], store: ObjectStore, made_at_s: float
) -> Iterator[bytes]:
    """The archive in pieces: what belongs to an input has its number, the summary comes last."""
    with closing(open_spool()) as rows, Packing(made_at_s) as packing:
        for job, text in said:
            audio, chunks, missing = open_audio(job, store)  # before its entry is begun
            if audio is not None:
                yield from packing.audio(_audio_name(job, audio), job, audio, chunks)
            row = _row(batch, job, text, audio, missing)
            yield from _timed(packing, row, job, store)
            debug = json.dumps(_debug(job), ensure_ascii=False, indent=1).encode()
            yield from packing.text(f"{job.name}.debug.json", [debug])
            rows.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        rows.seek(0)
        yield from packing.text(SUMMARY, _summary(batch, map(json.loads, rows)))
        yield packing.end()


def summary(batch: Batch, said: Iterable[Said]) -> Iterator[bytes]:
    """summary.json alone, from the records."""
    return _summary(batch, (_row(batch, job, text, job.audio, "") for job, text in said))


def _summary(batch: Batch, rows: Iterable[Row]) -> Iterator[bytes]:
    head = json.dumps({"jobID": internal_id(batch), "status": status_of(batch)}, indent=1)
    yield head.removesuffix("\n}").encode() + b',\n "results": '
    yield from _listed(rows)
    yield b"}\n"


def _listed(values: Iterable[object]) -> Iterator[bytes]:
    between = "[\n"
    for value in values:
        yield f"{between}{json.dumps(value, ensure_ascii=False)}".encode()
        between = ",\n"
    yield b"[]\n" if between == "[\n" else b"\n]\n"


def _audio_name(job: Job, audio: AudioResult) -> str:
    return f"{job.name}.{ENDINGS.get(audio.format, audio.format)}"


def _row(batch: Batch, job: Job, text: str, audio: AudioResult | None, missing: str) -> Row:
    """What the summary tells of an input. Sizes and durations are strings in theirs."""
    if audio is None:
        told = {"code": job.error.code, "message": job.error.message} if job.error else None
        error = told or {"code": job.status.value, "message": missing or "It was not spoken."}
        return {"contents": [text], "status": "Failed", "error": error}
    asked = batch.definition["properties"]
    row: Row = {"contents": [text], "status": "Succeeded"}
    row["audioFileName"] = _audio_name(job, audio)
    for flag, key, name, _ in _TIMED:
        if asked[flag] and job.captions:
            row[key] = f"{job.name}.{name}.json"
    row["properties"] = {
        "sizeInBytes": str(audio.size_bytes),
        "durationInMilliseconds": str(audio.duration_ms),
    }
    return row


def _timed(packing: Packing, row: Row, job: Job, store: ObjectStore) -> Iterator[bytes]:
    """The files of times that `row` names; it names none where they were lost."""
    for _, key, _, entries in _TIMED:
        if key not in row or job.captions is None:
            continue
        try:
            chunks = store.read(job.captions.key)
        except ObjectMissing:
            del row[key]
            continue
        found = (entry for one in read_sentences(chunks) for entry in entries(one))
        yield from packing.text(row[key], _listed(found))


def _entry(text: str, start_ms: int, end_ms: int) -> Row:
    return {"Text": text, "AudioOffset": start_ms, "Duration": end_ms - start_ms}


def _words(sentence: Sentence) -> Iterator[Row]:
    """The words with their times; marks, which take none, before or after theirs."""
    for word in sentence.words:
        found = _CLINGING.match(word.text)
        before, text, after = found.groups() if found else ("", word.text, "")
        if before.strip():
            yield _entry(before.strip(), word.start_ms, word.start_ms)
        if text:
            yield _entry(text, word.start_ms, word.end_ms)
        if after.strip():
            yield _entry(after.strip(), word.end_ms, word.end_ms)


def _whole(sentence: Sentence) -> Iterator[Row]:
    text = "".join(word.text for word in sentence.words).strip()
    if text:
        yield _entry(text, sentence.words[0].start_ms, sentence.words[-1].end_ms)


_Entries = Callable[[Sentence], Iterator[Row]]
# The property that asks for a file, the key under which the summary names it, its name.
_TIMED: Final[tuple[tuple[str, str, str, _Entries], ...]] = (
    ("wordBoundaryEnabled", "wordBoundaryFileName", "word", _words),
    ("sentenceBoundaryEnabled", "sentenceBoundaryFileName", "sentence", _whole),
)


def _debug(job: Job) -> Row:
    """What helps to find out why an audio is as it is; theirs promises no form."""
    return {
        "resultId": job.id,
        "status": job.status.value,
        "voice": job.request.voice,
        "emotion": job.request.emotion,
        "segments": job.segments_total,
        "substitutions": list(job.substitutions),
        "error": job.error.dump() if job.error else None,
    }
