"""A job's captions, written while its audio is: every sentence with the times of its words.

One sentence is held at a time, so memory does not grow with the job. What captions look like in
each format is `shared/captions.py`'s.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self, TextIO

from shared.alignment import unpacked
from shared.audio.join import pause_samples
from shared.audio.resample import samples_at
from shared.audio.wave import TimingRows, Wave
from shared.captions import HEAD, TAIL, Sentence, Word
from shared.schemas import CaptionsResult, SegmentSpec
from worker.text.characters import is_spoken


class CaptionWriter:
    """Writes `path`, a sentence a line, as the segments of `job` pass by in order."""

    def __init__(self, job: str, path: Path) -> None:
        self._job = job
        self._path = path
        self._file: TextIO = path.open("w", encoding="utf-8", newline="\n")
        self._rate_hz = 0
        self._n_samples = 0
        self._n_sentences = 0
        self._floor_ms = 0
        self._file.write(HEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, spec: SegmentSpec, wave: Wave, rows: TimingRows) -> None:
        """The next segment: its wave, joined at the rate of the job's first, and its timings."""
        self._rate_hz = rate_hz = self._rate_hz or wave.rate_hz
        self._n_samples += pause_samples(spec.silence_before_ms, rate_hz)
        start_ms = self._n_samples * 1000 / rate_hz
        self._n_samples += samples_at(len(wave.samples), wave.rate_hz, rate_hz)
        limit_ms = self._n_samples * 1000 // rate_hz
        self._n_samples += pause_samples(spec.silence_after_ms, rate_hz)
        duration_ms = len(wave.samples) * 1000 // wave.rate_hz
        words = []
        for word in timed_words(spec, rows, duration_ms):
            begin_ms = min(limit_ms, max(self._floor_ms, round(start_ms + word.start_ms)))
            end_ms = min(limit_ms, max(begin_ms, round(start_ms + word.end_ms)))
            self._floor_ms = end_ms
            words.append(Word(start_ms=begin_ms, end_ms=end_ms, text=word.text))
        if words:
            self._write(Sentence(words=tuple(words)))

    def finish(self) -> CaptionsResult:
        """Complete the file and say what it came out as."""
        self._file.write(TAIL)
        self._file.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return CaptionsResult(
            key=f"jobs/{self._job}/captions-{digest[:16]}.json",
            size_bytes=self._path.stat().st_size,
            sha256=digest,
        )

    def _write(self, sentence: Sentence) -> None:
        line = json.dumps(sentence.view(), ensure_ascii=False, separators=(",", ":"))
        self._file.write(("" if not self._n_sentences else ",\n") + line)
        self._n_sentences += 1


def timed_words(spec: SegmentSpec, rows: TimingRows, duration_ms: int) -> Iterator[Word]:
    """The caption's words with their times in the segment, in milliseconds.

    Without `rows`, or for characters none of them covers, times are spread evenly.
    """
    edges = _edges(spec.spoken, rows or ((0, len(spec.spoken), 0, duration_ms),))
    at, spoken_at = 0, 0
    for size, n_spoken in unpacked(spec.caption_words):
        its = [i for i in range(spoken_at, spoken_at + n_spoken) if is_spoken(spec.spoken[i])]
        first, last = (its[0], its[-1]) if its else (spoken_at, spoken_at)
        start_ms, end_ms = edges[first][0], edges[last][1]
        text = spec.caption[at : at + size]
        yield Word(start_ms=round(start_ms), end_ms=max(round(start_ms), round(end_ms)), text=text)
        at, spoken_at = at + size, spoken_at + n_spoken


def _edges(spoken: str, rows: TimingRows) -> list[tuple[float, float]]:
    """When each character of `spoken` begins and ends; what makes no sound takes no time.

    An engine that times a word as a whole gives each of its characters an equal share.
    """
    edges: list[tuple[float, float]] = []
    for start, end, start_ms, end_ms in rows:
        _fill(edges, min(start, len(spoken)))
        shares = _shares(spoken[len(edges) : end])
        width_ms = max(0, end_ms - start_ms)
        edges += [(start_ms + a * width_ms, start_ms + b * width_ms) for a, b in pairwise(shares)]
    _fill(edges, len(spoken))
    return edges


def _fill(edges: list[tuple[float, float]], n_chars: int) -> None:
    """Characters that no row covers stand at the end of the one before."""
    end_ms = edges[-1][1] if edges else 0.0
    edges += [(end_ms, end_ms)] * (n_chars - len(edges))


def _shares(text: str) -> Sequence[float]:
    """Edges between characters from 0 to 1, one more than there are characters."""
    weights = [1 if is_spoken(char) else 0 for char in text]
    total = sum(weights)
    if not total:
        weights, total = [1] * len(text), len(text)
    found, done = [0.0], 0
    for weight in weights:
        done += weight
        found.append(done / total)
    return found
