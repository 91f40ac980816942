"""One voice, some sentences, files: synthesis without the farm.

Reads symbol files as `name<TAB>symbols` lines, writes 16-bit WAV and, for who compares, every
stage's tensor under `name/stage`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from shared.errors import EmptyAudio, FarmError, InvalidRequest, SynthesisError
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.grades import Grade
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.voice import SambertVoice, Stages
from worker.text.frontend import Frontend, Options
from worker.text.symbols import Style
from worker.types import Samples, Utterance

SAMPLE_MAX = 32767
SAMPLE_SCALE = 32768


@dataclass(frozen=True, kw_only=True)
class Line:
    """One named utterance of a symbol file."""

    name: str
    symbols: str


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What to speak, how, and where to write it: the options of `ttsfarm-worker synth`."""

    folder: Path
    voice: str | None = None
    text: str | None = None
    symbols: Path | None = None
    output: Path | None = None
    stages: Path | None = None
    batch: int = 1
    grade: str = "exact"
    threads: int = 1
    cache: Path | None = None
    emotion: str = "neutral"
    intensity: float = 1.0
    speed: float = 1.0
    pitch: float = 0.0

    def utterance(self, line: Line) -> Utterance:
        return Utterance(
            text="",
            symbols=line.symbols,
            emotion=self.emotion,
            emotion_intensity=self.intensity,
            speed=self.speed,
            pitch=self.pitch,
        )


def run(asked: Synthesis) -> Iterator[str]:
    """Do it, yielding a line of progress for each utterance.

    Raises `FarmError`s: a model that cannot be loaded, lines that cannot be spoken.
    """
    lines = (
        read_lines(asked.symbols)
        if asked.symbols
        else lines_of_text(asked.text or "", asked.emotion)
    )
    options = SambertOptions(
        model_dirs=(asked.folder,),
        grade=Grade(asked.grade),
        threads=asked.threads,
        cache_dir=asked.cache,
    )
    engine = SambertEngine(options)
    voice = engine.loaded(asked.voice or engine.voices()[0].name)
    _check(voice, lines, asked)
    for path in filter(None, (asked.output, asked.stages)):
        _require_writable(path)
    waves: list[Samples] = []
    tensors: dict[str, NDArray[Any]] = {}
    try:
        for line, stages in _render(voice, lines, asked):
            waves.append(stages.wave)
            if asked.stages:
                tensors |= stage_tensors(line.name, stages, voice)
            yield f"{line.name}: {len(stages.wave) / voice.rate_hz:.2f} s"
    finally:
        # What was spoken before a line that cannot be is no less worth.
        if asked.output and waves:
            write_wave(asked.output, waves, voice.rate_hz)
        if asked.stages and tensors:
            write_stages(asked.stages, tensors)


def read_lines(path: Path) -> list[Line]:
    """The lines of a symbol file. Raises `InvalidRequest` naming the first that is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} could not be read: {error}") from error
    lines = []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        name, tab, symbols = row.partition("\t")
        if not tab or not name.strip():
            raise InvalidRequest(f"{path}, line {number}: expected name<TAB>symbols")
        lines.append(Line(name=name.strip(), symbols=symbols.strip()))
    if not lines:
        raise InvalidRequest(f"{path} has no lines")
    doubled = {line.name for line in lines if sum(o.name == line.name for o in lines) > 1}
    if doubled:
        raise InvalidRequest(f"{path} has several lines named {', '.join(sorted(doubled))}")
    return lines


def lines_of_text(text: str, emotion: str) -> list[Line]:
    """A text's sentences as symbols, by the farm's own frontend; raises `EmptyAudio`."""
    reading = Options(style=Style(emotion=emotion))
    found = [segment.symbols for segment in Frontend().segments(text, reading)]
    lines = [Line(name=f"sentence{i}", symbols=one) for i, one in enumerate(found) if one]
    if not lines:
        raise EmptyAudio(f"none of {len(text)} characters can be spoken")
    return lines


def _check(voice: SambertVoice, lines: Sequence[Line], asked: Synthesis) -> None:
    """Raises `InvalidRequest` naming the first line that cannot be spoken, before any is."""
    for line in lines:
        try:
            voice.encode(0, asked.utterance(line))
        except FarmError as error:
            raise InvalidRequest(f"{line.name}: {error.message}") from error


def _render(
    voice: SambertVoice, lines: Sequence[Line], asked: Synthesis
) -> Iterator[tuple[Line, Stages]]:
    for first in range(0, len(lines), asked.batch):
        chosen = lines[first : first + asked.batch]
        try:
            found = voice.stages([asked.utterance(c) for c in chosen])
        except SynthesisError as error:
            name = chosen[error.details.get("item", 0)].name
            raise InvalidRequest(f"{name}: {error.message}") from error
        yield from zip(chosen, found, strict=True)


def _require_writable(path: Path) -> None:
    """Raises `InvalidRequest` where the file cannot be written; leaves what is there."""
    new = not path.exists()
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise InvalidRequest(f"{path} could not be written: {error}") from error


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Float samples as 16-bit ones, truncated toward zero as upstream does.

    Full scale is clipped to 32767, where upstream wraps round to -32768.
    """
    scaled = np.trunc(samples * np.float32(SAMPLE_SCALE))
    clipped: NDArray[np.int16] = scaled.clip(-SAMPLE_SCALE, SAMPLE_MAX).astype(np.int16)
    return clipped


def write_wave(path: Path, waves: Sequence[Samples], rate_hz: int) -> None:
    """The waves one after another as a mono 16-bit WAV file."""
    joined = np.concatenate([to_pcm16(wave) for wave in waves])
    try:
        soundfile.write(path, joined, rate_hz, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InvalidRequest(f"{path} could not be written: {error}") from error


def stage_tensors(name: str, stages: Stages, voice: SambertVoice) -> dict[str, NDArray[Any]]:
    """Every stage under `name/stage`, named as in tests/golden/README.md."""
    acoustic = stages.acoustic
    found: Mapping[str, Any] = {
        "ids": stages.ids.astype(np.int32),
        "encoder_out": acoustic.encoder_out,
        "pitch": acoustic.pitch,
        "energy": acoustic.energy,
        "log_duration": acoustic.log_duration,
        "durations": acoustic.durations.astype(np.int32),
        "lr_text": acoustic.lr_text,
        "memory": acoustic.memory,
        "x_band_width": np.int32(acoustic.x_band_width),
        "n_frames": np.int32(acoustic.n_frames),
        "dec_out": acoustic.dec_out,
        "postnet_out": acoustic.postnet_out,
        "mel": acoustic.mel,
        "voc_conv_pre": voice.first_convolution(acoustic.mel),
        "excitation": stages.excitation,
        "wav": stages.wave,
        "pcm16": to_pcm16(stages.wave),
    }
    return {f"{name}/{stage}": np.asarray(v) for stage, v in found.items() if v is not None}


def write_stages(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    try:
        with path.open("wb") as stream:
            np.savez(stream, **dict(tensors))  # type: ignore[arg-type]  # names are free
    except OSError as error:
        raise InvalidRequest(f"{path} could not be written: {error}") from error
