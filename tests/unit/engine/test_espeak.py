import hashlib
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.errors import EngineUnavailable, TextRefused
from worker.engine.espeak import EMOTIONS, EspeakEngine, manner, timings
from worker.engine.espeak_library import Manner, Word, library
from worker.types import Rendering, Utterance

ZH, EN = "espeak-zh", "espeak-en"


def say(text: str, voice: str = ZH, **how: object) -> Rendering:
    return EspeakEngine().render(voice, [Utterance(text=text, **how)])[0]  # type: ignore[arg-type]


def pitch_hz(rendering: Rendering) -> float:
    """The fundamental of the loudest fifth of a second, by autocorrelation."""
    samples, rate_hz = rendering.wave.samples, rendering.wave.rate_hz
    size = rate_hz // 5
    starts = range(0, len(samples) - size, size // 4)
    loudest = max(starts, key=lambda at: float(np.square(samples[at : at + size]).sum()))
    part = samples[loudest : loudest + size]
    spectrum = np.abs(np.fft.rfft(part, 2 * size)) ** 2
    correlation = np.fft.irfft(spectrum)[:size]
    low, high = rate_hz // 500, rate_hz // 50
    return float(rate_hz / (low + int(np.argmax(correlation[low:high]))))


def test_four_tones_of_one_syllable_sound_different() -> None:
    waves = {say(character).wave.samples.tobytes() for character in "妈麻马骂"}
    assert len(waves) == 4


def test_each_character_adds_to_the_length() -> None:
    lengths = [say("今天天气很好"[:n]).wave.duration_s for n in range(1, 7)]
    assert all(longer > shorter + 0.05 for shorter, longer in pairwise(lengths))


def test_english_and_numbers_within_chinese_are_spoken() -> None:
    text = "我有2台iPhone，价格是8999元。"
    heard = {text[unit.start : unit.end]: unit for unit in say(text).timings}
    assert heard["Phone"].end_s - heard["Phone"].start_s > 0.2
    assert heard["8999"].end_s - heard["8999"].start_s > 1.0
    assert next(iter(heard)) == "我"
    assert [*heard][-1] == "元"


def test_timings_keep_their_place_behind_emoji_and_spaces() -> None:
    text = "你😀好   世界"
    units = say(text).timings
    assert (units[-1].start, units[-1].end) == (len(text) - 1, len(text))


def test_pitch_in_semitones_moves_the_fundamental() -> None:
    low, plain, high = (pitch_hz(say("妈妈妈妈", pitch=pitch)) for pitch in (-12.0, 0.0, 12.0))
    assert low < plain * 0.65
    assert high > plain * 1.7


def test_manner_stays_within_what_the_library_takes() -> None:
    wild = Utterance(text="", speed=2.0, pitch=12.0, emotion="surprise", emotion_intensity=2.0)
    assert manner(wild) == Manner(rate_wpm=379, pitch=99, range=99)
    tame = Utterance(text="", speed=0.5, pitch=-12.0, emotion="sad", emotion_intensity=2.0)
    assert manner(tame) == Manner(rate_wpm=80, pitch=0, range=11)
    assert manner(Utterance(text="")) == Manner(rate_wpm=175, pitch=50, range=50)


def test_every_emotion_but_neutral_has_a_manner_of_its_own() -> None:
    manners = {manner(Utterance(text="", emotion=emotion)) for emotion in EMOTIONS}
    assert len(manners) == len(EMOTIONS)


@pytest.mark.parametrize("text", ["。。。", " ", "", "😀"])
def test_text_without_speech_is_refused_for_good(text: str) -> None:
    with pytest.raises(TextRefused, match=f"{len(text)} characters"):
        say(text)


def test_commands_and_surrogates_in_the_text_are_harmless() -> None:
    plain = say("你好 世界").wave.samples
    np.testing.assert_array_equal(say("你好\x01世界").wave.samples, plain)
    np.testing.assert_array_equal(say("你好\ud800世界").wave.samples, plain)
    np.testing.assert_array_equal(say("你好\x00世界").wave.samples, plain)


def test_markup_is_read_as_text() -> None:
    assert say('<prosody rate="x-slow">hello</prosody>', EN).wave.duration_s > 1.5


def test_threads_do_not_disturb_each_other() -> None:
    texts = ["今天天气很好", "Hello there", "价格是8999元", "再见"] * 3
    alone = [say(text).wave.samples.tobytes() for text in texts]
    heard: dict[int, bytes] = {}

    def speak(index: int) -> None:
        heard[index] = say(texts[index]).wave.samples.tobytes()

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [heard[index] for index in range(len(texts))] == alone


def test_another_process_hears_the_same() -> None:
    program = (
        "import hashlib; from worker.engine.espeak import EspeakEngine as E;"
        "from worker.types import Utterance as U;"
        "e = E(); e.render('espeak-en', [U(text='Something else before')]);"
        "w = e.render('espeak-zh', [U(text='今天天气很好', emotion='happy')])[0].wave;"
        "print(hashlib.sha256(w.samples.tobytes()).hexdigest())"
    )
    here = say("今天天气很好", emotion="happy").wave.samples
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_speaking_does_not_leak() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def speak(times: int) -> None:
        for index in range(times):
            say("今天天气很好", (ZH, EN)[index % 2])

    speak(60)
    before = resident_bytes()
    speak(200)
    assert resident_bytes() - before < 2_000_000


def test_a_voice_file_that_is_not_there_is_an_unfit_engine() -> None:
    with pytest.raises(EngineUnavailable, match="lang/nowhere"):
        library().speak("lang/nowhere", "hello", Manner(rate_wpm=175, pitch=50, range=50))


def test_a_temporary_path_too_long_for_the_library_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(EngineUnavailable, match="TMPDIR"):
        say("你好")


def word(position: int, n_chars: int, start_s: float) -> Word:
    return Word(position=position, n_chars=n_chars, start_s=start_s)


def spans(text: str, *words: Word) -> list[tuple[str, float, float]]:
    units = timings(text, words, 9.0)
    return [(text[unit.start : unit.end], unit.start_s, unit.end_s) for unit in units]


def test_parts_of_a_number_are_one_unit() -> None:
    parts = [word(1, 3, 1.0), word(2, 3, 2.0), word(1, 3, 3.0), word(4, 1, 4.0)]
    assert spans("共120元", word(0, 1, 0.0), *parts) == [
        ("共", 0.0, 1.0),
        ("120", 1.0, 4.0),
        ("元", 4.0, 9.0),
    ]


def test_a_unit_ends_before_the_marks_that_follow_it() -> None:
    assert spans("好，“是”。", word(0, 1, 0.0), word(3, 1, 1.0)) == [
        ("好", 0.0, 1.0),
        ("是", 1.0, 9.0),
    ]


def test_words_at_one_moment_or_past_the_text_are_left_out() -> None:
    assert spans("好的", word(0, 1, 0.0), word(1, 1, 0.0), word(7, 1, 2.0)) == [("好的", 0.0, 9.0)]
