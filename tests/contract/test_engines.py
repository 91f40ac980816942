"""What every engine promises, over every voice that needs no download."""

from itertools import pairwise

import numpy as np
import pytest

from shared.errors import EngineUnavailable, UnknownEmotion
from shared.settings import Settings
from worker.audio import gate
from worker.engine.base import Engine
from worker.text.characters import count_spoken, is_spoken
from worker.types import Utterance
from worker.voices import Voices

TEXTS = {
    "zh": ("今天天气很好，我们去公园吧！", "我有2台iPhone，价格是8999元。", "妈麻马骂", "好"),
    "en": ("Shall we go there tomorrow?", "It costs 3.14, doesn't it?", "Yes."),
}
NAMES = ("espeak-zh", "espeak-en", "fake", "fake-2")


class Offered:
    """A loaded voice with texts of its language."""

    def __init__(self, name: str) -> None:
        voices = Voices(Settings(voices=name))
        self.voice = voices.voice(name)
        self.engine: Engine = voices.engine(name)
        self.engine.load(name)
        self.texts = TEXTS.get(self.voice.language[:2], TEXTS["zh"])

    def samples(self, text: str, **manner: object) -> np.ndarray:
        asked = Utterance(text=text, **manner)  # type: ignore[arg-type]
        return self.engine.render(self.voice.name, [asked])[0].wave.samples


@pytest.fixture(params=NAMES)
def offered(request: pytest.FixtureRequest) -> Offered:
    return Offered(request.param)


def test_speech_passes_the_gate_at_the_voices_rate(offered: Offered) -> None:
    for text in offered.texts:
        (rendering,) = offered.engine.render(offered.voice.name, [Utterance(text=text)])
        assert rendering.wave.rate_hz == offered.voice.sample_rate_hz
        assert rendering.wave.samples.dtype == np.float32
        assert rendering.wave.samples.ndim == 1
        gate.check(rendering.wave, n_chars=count_spoken(text))


def test_a_batch_gives_what_each_alone_gives(offered: Offered) -> None:
    batch = [Utterance(text=text, speed=1.2) for text in offered.texts]
    together = offered.engine.render(offered.voice.name, batch)
    assert len(together) == len(batch)
    for one, rendering in zip(batch, together, strict=True):
        (alone,) = offered.engine.render(offered.voice.name, [one])
        np.testing.assert_array_equal(rendering.wave.samples, alone.wave.samples)
        assert rendering.timings == alone.timings


def test_nothing_said_before_changes_a_wave(offered: Offered) -> None:
    text = offered.texts[0]
    first = offered.samples(text)
    for other in offered.texts[1:]:
        offered.samples(other, speed=2.0, pitch=7.0, emotion="surprise", emotion_intensity=2.0)
        offered.samples(other, speed=0.5, pitch=-12.0, emotion="sad")
        np.testing.assert_array_equal(offered.samples(text), first)


def test_every_emotion_sounds_different_and_grows_with_intensity(offered: Offered) -> None:
    waves = {
        offered.samples(offered.texts[0], emotion=emotion).tobytes()
        for emotion in offered.voice.emotions
    }
    assert len(waves) == len(offered.voice.emotions) == 7
    strong = offered.samples(offered.texts[0], emotion="happy", emotion_intensity=2.0)
    assert strong.tobytes() not in waves


def test_an_emotion_without_intensity_is_neutral(offered: Offered) -> None:
    plain = offered.samples(offered.texts[0])
    faint = offered.samples(offered.texts[0], emotion="angry", emotion_intensity=0.0)
    np.testing.assert_array_equal(faint, plain)


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_speed_is_a_factor_on_the_length(offered: Offered, speed: float) -> None:
    factor = len(offered.samples(offered.texts[0])) / len(
        offered.samples(offered.texts[0], speed=speed)
    )
    assert factor == pytest.approx(speed, rel=0.25)


def test_timings_follow_one_another_over_the_spoken_text(offered: Offered) -> None:
    for text in offered.texts:
        (rendering,) = offered.engine.render(offered.voice.name, [Utterance(text=text)])
        timings = rendering.timings
        assert rendering.timed == "characters"
        assert timings
        assert all(a.end <= b.start and a.end_s <= b.start_s for a, b in pairwise(timings))
        assert all(t.start < t.end <= len(text) and t.start_s < t.end_s for t in timings)
        assert timings[-1].end_s <= rendering.wave.duration_s
        covered = {at for t in timings for at in range(t.start, t.end)}
        assert {at for at, character in enumerate(text) if is_spoken(character)} <= covered


def test_every_timed_unit_has_sound(offered: Offered) -> None:
    for text in offered.texts:
        (rendering,) = offered.engine.render(offered.voice.name, [Utterance(text=text)])
        wave = rendering.wave
        for unit in rendering.timings:
            part = wave.samples[
                round(unit.start_s * wave.rate_hz) : round(unit.end_s * wave.rate_hz)
            ]
            assert np.abs(part).max() > 0.02, text[unit.start : unit.end]


def test_an_emotion_it_lacks_is_refused_with_those_it_has(offered: Offered) -> None:
    with pytest.raises(UnknownEmotion, match="no emotion 'bored'") as caught:
        offered.samples(offered.texts[0], emotion="bored")
    assert caught.value.details == {"emotions": [*offered.voice.emotions]}


def test_an_unknown_voice_is_refused_with_the_known_ones(offered: Offered) -> None:
    with pytest.raises(EngineUnavailable, match=offered.voice.name):
        offered.engine.load("nobody")
