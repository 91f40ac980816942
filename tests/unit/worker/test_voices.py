import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from shared.errors import EngineUnavailable, UnknownVoice
from shared.schemas import Voice
from shared.settings import Settings
from worker.engine.base import Engine
from worker.engine.fake import FakeEngine
from worker.types import Rendering, Utterance, Wave
from worker.voices import ENGINES, Voices


class MuteEngine(FakeEngine):
    """A model that loads and then makes no sound."""

    name = "mute"

    def voices(self) -> Sequence[Voice]:
        return [replace(super().voices()[0], name="mute-1", engine="mute")]

    def load(self, voice: str) -> None:
        assert voice == "mute-1"

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        wave = Wave(samples=np.zeros(16_000, np.float32), rate_hz=16_000)
        return [Rendering(wave=wave, timings=()) for _ in utterances]


def mute(_: Settings) -> Engine:
    return MuteEngine()


def absent(_: Settings) -> Engine:
    raise AssertionError("an engine nobody asked for was made")


def names(setting: str) -> tuple[str, ...]:
    return Voices(Settings(voices=setting)).names()


def test_an_engine_stands_for_all_its_voices() -> None:
    assert names("espeak") == ("espeak-zh", "espeak-en")


def test_voices_come_in_the_order_asked_and_once() -> None:
    assert names(" fake-2, espeak-zh ,fake-2,espeak,") == ("fake-2", "espeak-zh", "espeak-en")


def test_a_name_of_both_an_engine_and_a_voice_means_the_voice() -> None:
    assert names("fake") == ("fake",)


def test_an_unknown_name_is_refused_with_all_that_exist() -> None:
    with pytest.raises(EngineUnavailable) as refused:
        names("espeak,zhitian")
    assert "'zhitian'" in refused.value.message
    assert "espeak: espeak-zh, espeak-en; fake: fake, fake-2" in refused.value.message


@pytest.mark.parametrize("setting", ["", " , "])
def test_a_worker_without_voices_is_refused(setting: str) -> None:
    with pytest.raises(EngineUnavailable, match="names no voice"):
        names(setting)


def test_a_voice_leads_to_its_engine() -> None:
    voices = Voices(Settings(voices="espeak-en,fake"))
    assert voices.engine("espeak-en").name == voices.voice("espeak-en").engine == "espeak"
    assert voices.engine("fake").name == "fake"
    assert voices.engine("fake") is voices.engine("fake")


def test_a_voice_not_offered_here_is_refused_with_those_that_are() -> None:
    voices = Voices(Settings(voices="fake,espeak-zh"))
    with pytest.raises(UnknownVoice, match="'espeak-en'; it offers fake, espeak-zh"):
        voices.engine("espeak-en")


def test_warm_voices_have_spoken() -> None:
    voices = Voices(Settings(voices="espeak,fake"))
    assert [voice.name for voice in voices.warm()] == ["espeak-zh", "espeak-en", "fake"]
    assert voices.warm() == voices.offered()


def test_a_voice_that_fails_the_gate_is_not_warm() -> None:
    voices = Voices(Settings(voices="mute"), {**ENGINES, "mute": mute})
    with pytest.raises(EngineUnavailable, match=r"mute-1 failed its warm-up .* silent"):
        voices.warm()


def test_engines_after_the_one_that_has_the_voice_are_not_made() -> None:
    voices = Voices(Settings(voices="fake-2,espeak-en"), {**ENGINES, "sambert": absent})
    assert voices.names() == ("fake-2", "espeak-en")


def test_light_voices_load_no_model_library() -> None:
    program = (
        "import sys; from shared.settings import Settings; from worker.voices import Voices;"
        "Voices(Settings(voices='espeak,fake')).warm();"
        "sys.exit(sorted({'torch', 'modelscope'} & set(sys.modules)) or None)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_suffix_makes_another_voice_of_the_same_engine() -> None:
    voices = Voices(Settings(voices="fake", voice_suffix="@2"))
    assert voices.names() == ("fake@2",)
    (warm,) = voices.warm()
    assert (warm.name, warm.engine) == ("fake@2", "fake")
    said = [Utterance(text="你好")]
    (renamed,) = voices.engine("fake@2").render("fake@2", said)
    (own,) = FakeEngine().render("fake", said)
    assert np.array_equal(renamed.wave.samples, own.wave.samples)
    assert voices.voice("fake") == warm, "markup names voices without the suffix"
