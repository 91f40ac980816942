"""The engine `modelscope`: any text-to-speech pipeline of the `modelscope` package.

For who has a model's own dependencies, or another model of the hub than Sambert-HifiGAN. What a
pipeline cannot be asked for (emotion, speed, pitch) is refused, not ignored.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import EngineUnavailable, InvalidRequest, SynthesisError, UnknownEmotion
from shared.schemas import Voice
from worker.types import Rendering, Samples, Timing, Utterance, Wave

# What models and their libraries raise when they do not fit, or when a text defeats them.
_MODEL_ERRORS = (
    ImportError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
)


@dataclass(frozen=True, kw_only=True)
class ModelscopeOptions:
    """`model` is a model folder or a hub id; `voices` its voice names where the folder lists none.

    `rate_hz` is the rate of models that answer bare samples instead of a WAV file.
    """

    model: str
    revision: str | None = None
    voices: tuple[str, ...] = ()
    language: str = "zh-CN"
    rate_hz: int = 16_000


class ModelscopeEngine:
    """One pipeline, shared by the voices of its model."""

    name = "modelscope"
    takes_symbols = False
    batch_size = 1

    def __init__(self, options: ModelscopeOptions) -> None:
        self.options = options
        self._pipeline: Callable[..., Mapping[str, Any]] | None = None

    def voices(self) -> Sequence[Voice]:
        """The voices set, else those of the folder's `voices.json`, else the model as one."""
        return [
            Voice(
                name=name,
                engine=self.name,
                language=self.options.language,
                sample_rate_hz=self.options.rate_hz,
                revision=self.options.revision or "local",
                description=f"{name} of {Path(self.options.model).name} by modelscope",
            )
            for name in self._names()
        ]

    def load(self, voice: str) -> None:
        """Build the pipeline; raises `EngineUnavailable` with the library's own reason."""
        if voice not in self._names():
            raise EngineUnavailable(
                f"The model {self.options.model} has no voice {voice!r}; it has "
                + ", ".join(self._names())
            )
        if self._pipeline is None:
            self._pipeline = self._build()

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One rendering each, timed as a whole.

        Raises `SynthesisError` when the pipeline fails on a text, `UnknownEmotion` and
        `InvalidRequest` for what no pipeline offers.
        """
        self.load(voice)
        return [self._speak(voice, utterance) for utterance in utterances]

    def _build(self) -> Callable[..., Mapping[str, Any]]:
        try:
            from modelscope.pipelines import pipeline
            from modelscope.utils.constant import Tasks
        except ImportError as error:
            raise EngineUnavailable(
                f"The engine modelscope lacks {error.name}: install the modelscope extra"
            ) from error
        # Only when set: the library's own default differs between hubs.
        pinned = {"model_revision": self.options.revision} if self.options.revision else {}
        try:
            built: Callable[..., Mapping[str, Any]] = pipeline(
                Tasks.text_to_speech, model=self.options.model, **pinned
            )
        except _MODEL_ERRORS as error:
            raise EngineUnavailable(
                f"modelscope could not load {self.options.model}: {error}; install what the "
                "model needs, or use the engine sambert for Sambert-HifiGAN models"
            ) from error
        return built

    def _speak(self, voice: str, utterance: Utterance) -> Rendering:
        if utterance.emotion != "neutral":
            raise UnknownEmotion.of(voice, utterance.emotion, ["neutral"])
        if utterance.speed != 1 or utterance.pitch != 0:
            raise InvalidRequest("Voices of the engine modelscope have fixed speed and pitch")
        assert self._pipeline is not None  # noqa: S101  # render loads first
        named = {"voice": voice} if len(self._names()) > 1 else {}
        try:
            output = self._pipeline(input=utterance.text, **named)
        except _MODEL_ERRORS as error:
            raise SynthesisError(f"The model failed on this text: {error}") from error
        wave = self._wave(output)
        whole = Timing(start=0, end=len(utterance.text), start_s=0.0, end_s=wave.duration_s)
        return Rendering(wave=wave, timings=(whole,))

    def _wave(self, output: Mapping[str, Any]) -> Wave:
        """The pipeline's answer as a wave: a WAV file, or samples as an array or PCM bytes."""
        found = next((output[key] for key in ("output_wav", "output_pcm") if key in output), None)
        if isinstance(found, bytes) and found[:4] == b"RIFF":
            return _read_wav(found)
        if isinstance(found, bytes):
            found = np.frombuffer(found, dtype="<i2")
        if not isinstance(found, np.ndarray):
            raise SynthesisError(
                f"The pipeline answered {sorted(output)}, expected output_wav or output_pcm"
            )
        samples: Samples = found.reshape(-1).astype(np.float32)
        if np.issubdtype(found.dtype, np.integer):
            samples /= np.float32(-np.iinfo(found.dtype).min)
        return Wave(samples=samples, rate_hz=self.options.rate_hz)

    def _names(self) -> tuple[str, ...]:
        if self.options.voices:
            return self.options.voices
        listing = Path(self.options.model) / "voices" / "voices.json"
        try:
            names = json.loads(listing.read_text(encoding="utf-8"))["voices"]
        except (OSError, ValueError, KeyError, TypeError):
            return (Path(self.options.model).name,)
        return tuple(str(name) for name in names)


def _read_wav(data: bytes) -> Wave:
    # Here, because only this engine's answers are files.
    import soundfile

    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SynthesisError(f"The pipeline's WAV file could not be read: {error}") from error
    mono: Samples = samples.mean(axis=1, dtype=np.float32)
    return Wave(samples=mono, rate_hz=int(rate_hz))
