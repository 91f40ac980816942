"""The engine `modelscope` over a real install, with a pipeline of our own in a local folder."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from shared.errors import EngineUnavailable, InvalidRequest, SynthesisError, UnknownEmotion
from worker.engine.modelscope import ModelscopeEngine, ModelscopeOptions
from worker.types import Utterance

RATE_HZ = 16_000
pytest.importorskip("addict", reason="the modelscope extra is not installed")


def tone(text: str, amplitude: float = 0.5) -> np.ndarray[Any, np.dtype[np.float32]]:
    times = np.arange(len(text) * RATE_HZ // 10) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def tone_pipeline() -> None:
    """A text-to-speech model `tone` and its pipeline, registered as a hub model's code would."""
    from modelscope.models.base import Model
    from modelscope.models.builder import MODELS
    from modelscope.pipelines.base import Pipeline
    from modelscope.pipelines.builder import PIPELINES
    from modelscope.utils.constant import Tasks

    @MODELS.register_module(Tasks.text_to_speech, module_name="tone")  # type: ignore[untyped-decorator]
    class ToneModel(Model):  # type: ignore[misc]
        def forward(self, text: str, voice: str | None) -> Any:
            if text == "太难":
                raise ValueError("cannot say that")
            if voice == "pcm":
                return tone(text)
            buffer = io.BytesIO()
            soundfile.write(buffer, tone(text), RATE_HZ, format="WAV", subtype="PCM_16")
            return buffer.getvalue()

    @PIPELINES.register_module(Tasks.text_to_speech, module_name="tone-tts")  # type: ignore[untyped-decorator]
    class TonePipeline(Pipeline):  # type: ignore[misc]
        def _sanitize_parameters(self, **given: Any) -> Any:
            return {}, given, {}

        def preprocess(self, inputs: Any, **_: Any) -> Any:
            return inputs

        def forward(self, inputs: str, **given: Any) -> Any:
            return {"output_wav": self.model.forward(inputs, given.get("voice"))}

        def postprocess(self, inputs: Any, **_: Any) -> Any:
            return inputs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tone-model"
    (folder / "voices").mkdir(parents=True)
    configuration = {
        "framework": "pytorch",
        "task": "text-to-speech",
        "model": {"type": "tone"},
        "pipeline": {"type": "tone-tts"},
    }
    (folder / "configuration.json").write_text(json.dumps(configuration))
    (folder / "voices" / "voices.json").write_text(json.dumps({"voices": ["wav", "pcm"]}))
    return folder


@pytest.fixture
def engine(model: Path) -> ModelscopeEngine:
    return ModelscopeEngine(ModelscopeOptions(model=str(model)))


def test_a_folder_offers_its_voices(engine: ModelscopeEngine) -> None:
    assert [voice.name for voice in engine.voices()] == ["wav", "pcm"]
    assert {voice.engine for voice in engine.voices()} == {"modelscope"}


@pytest.mark.parametrize("voice", ["wav", "pcm"])
def test_a_pipeline_speaks(engine: ModelscopeEngine, voice: str) -> None:
    engine.load(voice)
    [rendering] = engine.render(voice, [Utterance(text="你好吗")])
    assert rendering.wave.rate_hz == RATE_HZ
    assert np.abs(rendering.wave.samples - tone("你好吗")).max() < 1e-4
    [timing] = rendering.timings
    assert (timing.start, timing.end, timing.end_s) == (0, 3, pytest.approx(0.3))
    assert rendering.timed == "characters"


def test_a_text_the_model_fails_on_does_not_end_the_engine(engine: ModelscopeEngine) -> None:
    with pytest.raises(SynthesisError, match="cannot say that"):
        engine.render("wav", [Utterance(text="太难")])
    assert engine.render("wav", [Utterance(text="好")])


def test_what_no_pipeline_offers_is_refused(engine: ModelscopeEngine) -> None:
    with pytest.raises(UnknownEmotion):
        engine.render("wav", [Utterance(text="好", emotion="happy")])
    with pytest.raises(InvalidRequest):
        engine.render("wav", [Utterance(text="好", speed=1.5)])


def test_an_unknown_voice_is_named(engine: ModelscopeEngine) -> None:
    with pytest.raises(EngineUnavailable, match="wav, pcm"):
        engine.load("nobody")


def test_a_model_that_cannot_be_loaded_says_why(model: Path) -> None:
    (model / "configuration.json").write_text('{"task": "text-to-speech", "framework": "pytorch"}')
    engine = ModelscopeEngine(ModelscopeOptions(model=str(model)))
    with pytest.raises(EngineUnavailable, match="could not load"):
        engine.load("wav")
