import subprocess
import sys

import numpy as np
import pytest

from shared.errors import BadAudio, SynthesisError, TextRefused
from worker.audio import gate
from worker.engine.fake import S_PER_CHAR, FakeEngine
from worker.types import Rendering, Utterance


def say(text: str) -> Rendering:
    return FakeEngine().render("fake", [Utterance(text=text)])[0]


def test_length_is_told_by_the_spoken_characters_and_a_rest() -> None:
    assert say("你好，世界！").wave.duration_s == pytest.approx(5 * S_PER_CHAR)


def test_characters_are_timed_one_by_one_past_marks_and_directives() -> None:
    text = "你，[[sleep 0]]好"
    units = say(text).timings
    assert [text[unit.start : unit.end] for unit in units] == ["你", "好"]
    assert [unit.start_s for unit in units] == [0.0, pytest.approx(S_PER_CHAR)]


def test_other_characters_make_other_waves() -> None:
    assert len({say(character).wave.samples.tobytes() for character in "你好世界"}) == 4


def test_the_second_voice_sounds_different() -> None:
    second = FakeEngine().render("fake-2", [Utterance(text="你好")])[0].wave.samples
    assert not np.array_equal(second, say("你好").wave.samples)


def test_fail_may_help_to_retry_and_refuse_does_not() -> None:
    with pytest.raises(SynthesisError) as failed:
        say("你好[[fail]]")
    assert failed.value.retryable
    with pytest.raises(TextRefused) as refused:
        say("你好[[refuse]]")
    assert not refused.value.retryable


@pytest.mark.parametrize(
    ("directive", "fault"), [("silent", "silent"), ("nan", "not finite"), ("clip", "clipped")]
)
def test_spoilt_waves_do_not_pass_the_gate(directive: str, fault: str) -> None:
    with pytest.raises(BadAudio, match=fault):
        gate.check(say(f"你好[[{directive}]]").wave, n_chars=2)


def test_time_is_spent_by_character_and_by_directive() -> None:
    slept: list[float] = []
    engine = FakeEngine(0.01, slept.append)
    engine.render("fake", [Utterance(text="你好，世界[[sleep 2.5]]")])
    assert slept == [2.5, pytest.approx(0.04)]


def test_time_is_spent_on_loading() -> None:
    slept: list[float] = []
    FakeEngine(sleep=slept.append, load_s=3.0).load("fake")
    FakeEngine(sleep=slept.append).load("fake")
    assert slept == [3.0]


def test_crash_kills_its_process() -> None:
    program = (
        "from worker.engine.fake import FakeEngine; from worker.types import Utterance;"
        "FakeEngine().render('fake', [Utterance(text='[[crash]]')])"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9


def test_unknown_directives_are_spoken_as_text() -> None:
    assert say("[[dance]]").wave.duration_s == pytest.approx(6 * S_PER_CHAR)
