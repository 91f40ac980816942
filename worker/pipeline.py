"""What a job is made of, computed: text to segments, segments to waves, waves to one file.

Pure: nothing here knows the queue, the store or the network; `worker/tasks.py` has the effects.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from shared.audio.assembly import sound_of
from shared.audio.encode import write_audio
from shared.errors import (
    EmptyAudio,
    FarmError,
    RequestError,
    SynthesisError,
    UnknownEmotion,
    UnknownVoice,
)
from shared.schemas import AudioResult, JobRequest, SegmentSpec, Voice
from worker.audio import gate
from worker.audio.edges import trimmed
from worker.audio.loudness import evened
from worker.engine.base import Engine
from worker.text.characters import count_spoken
from worker.text.frontend import Frontend, Options
from worker.text.passages import Traits
from worker.text.symbols import Style
from worker.timings import shifted, timing_rows
from worker.types import Rendering, Segment, Substitution, TimingRows, Utterance, Wave
from worker.voices import Voices

MAX_SUBSTITUTIONS = 1000
FINISH_REVISION = 1  # raise when trimming or levelling change what is stored for the same wave
# What the request and the markup together may ask of an engine.
SPEEDS, PITCHES, VOLUMES = (0.25, 4.0), (-24.0, 24.0), (0.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A segment's wave, past the gate, trimmed and at an even level, as it is stored; with
    `[start, end, start_ms, end_ms]` rows of `spoken`."""

    wave: Wave
    digest: str
    timings_ms: TimingRows


Outcome = Rendered | FarmError


class Plan:
    """A job's segments, made while they are read, and what could not be spoken among them."""

    def __init__(
        self, request: JobRequest, text: str, frontend: Frontend, reading: Options
    ) -> None:
        self._request = request
        self._text = text
        self._frontend = frontend
        self._reading = reading
        self._unspoken: list[Substitution] = []
        self._n_more = 0

    def segments(self) -> Iterator[SegmentSpec]:
        """The specs in order; raises `EmptyAudio` where nothing in the text can be spoken.

        Raises `InvalidRequest` for markup the farm does not read, with its place; `UnknownVoice`
        and `UnknownEmotion` for a voice in it that is not here or has not the job's emotion.
        """
        self._unspoken.clear()
        self._n_more = 0
        n_segments = 0
        found: list[Substitution] = []
        for segment in self._frontend.segments(self._text, self._reading, found):
            self._note(found)
            found.clear()
            n_segments += 1
            spec = _spec(self._request, segment)
            self._check(spec)
            yield spec
        self._note(found)
        if not n_segments:
            raise EmptyAudio(
                f"none of {len(self._text)} characters is a letter, an ideograph or a digit"
            )

    def substitutions(self) -> list[dict[str, Any]]:
        """What was left out of the segments read so far, as the job object shows it.

        Past `MAX_SUBSTITUTIONS` one last row stands for all the rest.
        """
        return [asdict(unspoken) for unspoken in self._unspoken]

    def _check(self, spec: SegmentSpec) -> None:
        emotions = self._reading.cast(spec.voice).emotions
        if emotions is not None and spec.emotion not in emotions:
            advice = "put its text in an <emotion> of these"
            raise UnknownEmotion.of(spec.voice, spec.emotion, sorted(emotions), advice)

    def _note(self, found: Iterable[Substitution]) -> None:
        for unspoken in found:
            if len(self._unspoken) < MAX_SUBSTITUTIONS:
                self._unspoken.append(unspoken)
                continue
            self._n_more += 1
            self._unspoken[MAX_SUBSTITUTIONS - 1] = Substitution(
                start=self._unspoken[MAX_SUBSTITUTIONS - 1].start,
                end=unspoken.end,
                text="",
                replacement="",
                reason=f"{self._n_more + 1} more places, from here to the last of them",
            )


def plan(
    request: JobRequest, text: str, *, frontend: Frontend, traits: Callable[[str], Traits]
) -> Plan:
    """How a job's text is cut into segments, each read as the `traits` of its voice's name say."""
    reading = Options(
        markup=request.text_type,
        cast=lambda name: traits(name or request.voice),
        style=Style(emotion=request.emotion),
        captions=request.captions,
    )
    return Plan(request, text, frontend, reading)


def traits_of(voice: Voice, *, symbols: bool) -> Traits:
    """How text is read for `voice`, whose engine takes `symbols` or text."""
    return Traits(
        language=voice.language.partition("-")[0],
        symbols=symbols,
        emotions=frozenset(voice.emotions),
    )


def utterance(spec: SegmentSpec) -> Utterance:
    """What an engine is asked to say for a segment."""
    return Utterance(
        text=spec.spoken,
        symbols=spec.symbols,
        emotion=spec.emotion,
        emotion_intensity=spec.emotion_intensity,
        speed=spec.speed,
        pitch=spec.pitch,
    )


def segment_key(job: str, digest: str) -> str:
    """The object key of a rendered segment that belongs to one job alone."""
    return f"jobs/{job}/segments/{digest}.flac"


def cached_key(digest: str, unique: str) -> str:
    """The object key of a rendered segment that other jobs may use too.

    With `unique`, hexadecimal, no two renders have one key: what deletes an object that went out
    of the cache never meets its successor.
    """
    return f"segments/{digest[:2]}/{digest}-{unique}.flac"


def digest_of(voice: Voice, spec: SegmentSpec) -> str:
    """The SHA-256 of what was asked of which revision of which voice.

    Volume, format and sample rate are not part of it: they come in when the job is assembled.
    """
    asked = [FINISH_REVISION, voice.engine, voice.name, voice.revision, asdict(utterance(spec))]
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def speak(voices: Voices, specs: Sequence[SegmentSpec]) -> list[Outcome]:
    """An outcome for each, in order; neighbours of one voice go to its engine together.

    Raises as `render` does.
    """
    outcomes: list[Outcome] = []
    for name, group in groupby(specs, key=attrgetter("voice")):
        its = list(group)
        try:
            voice, engine = voices.voice(name), voices.engine(name)
        except UnknownVoice as error:
            outcomes += [error] * len(its)
        else:
            outcomes += render(engine, voice, its)
    return outcomes


def render(engine: Engine, voice: Voice, specs: Sequence[SegmentSpec]) -> list[Outcome]:
    """An outcome for each segment, in order: its wave, or why it alone has none.

    Segments are rendered in batches as the engine likes them. Raises what is no segment's
    fault, such as `EngineUnavailable`.
    """
    outcomes: list[Outcome] = []
    for start in range(0, len(specs), max(1, engine.batch_size)):
        batch = specs[start : start + max(1, engine.batch_size)]
        outcomes += _render_batch(engine, voice, batch)
    return outcomes


def assemble(
    segments: Iterable[tuple[SegmentSpec, Wave]], request: JobRequest, job: str, path: Path
) -> AudioResult:
    """The job's audio, written to `path`; `segments` are in order and read one at a time.

    Raises `EmptyAudio` without any segment, and what `segments` raises.
    """
    sound = sound_of(segments, request)
    encoded = write_audio(sound.chunks, sound.rate_hz, request.format, path)
    return AudioResult(
        key=f"jobs/{job}/audio-{encoded.sha256[:16]}.{request.format}",
        duration_ms=round(encoded.n_samples * 1000 / sound.rate_hz),
        size_bytes=encoded.size_bytes,
        sha256=encoded.sha256,
        format=request.format,
        sample_rate_hz=sound.rate_hz,
    )


def _spec(request: JobRequest, segment: Segment) -> SegmentSpec:
    return SegmentSpec(
        index=segment.index,
        start=segment.start,
        end=segment.end,
        spoken=segment.spoken,
        symbols=segment.symbols,
        voice=segment.voice or request.voice,
        speed=_within(request.speed * (segment.speed or 1.0), SPEEDS),
        pitch=_within(request.pitch + (segment.pitch or 0.0), PITCHES),
        volume=_within(request.volume * _or(segment.volume, 1.0), VOLUMES),
        emotion=segment.emotion or request.emotion,
        emotion_intensity=_or(segment.emotion_intensity, request.emotion_intensity),
        silence_before_ms=segment.silence_before_ms,
        silence_after_ms=segment.silence_after_ms,
        n_chars=len(segment.spoken),
        syllables=segment.syllables,
        caption=segment.caption,
        caption_words=segment.caption_words,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _within(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(high, max(low, value))


def _render_batch(engine: Engine, voice: Voice, batch: Sequence[SegmentSpec]) -> list[Outcome]:
    utterances = [utterance(spec) for spec in batch]
    try:
        renderings = engine.render(voice.name, utterances)
    except (SynthesisError, RequestError) as error:
        if len(batch) == 1:
            return [error]
        return [outcome for one in batch for outcome in _render_batch(engine, voice, [one])]
    return [_passed(voice, *one) for one in zip(batch, renderings, strict=True)]


def _passed(voice: Voice, spec: SegmentSpec, rendering: Rendering) -> Outcome:
    try:
        gate.check(rendering.wave, n_chars=count_spoken(spec.spoken), speed=spec.speed)
    except SynthesisError as error:
        return error
    wave, n_before = trimmed(rendering.wave)
    timings = timing_rows(spec, rendering)
    return Rendered(
        wave=evened(wave),
        digest=digest_of(voice, spec),
        timings_ms=shifted(timings, n_before / wave.rate_hz, wave.duration_s),
    )
