"""The engine as the worker sees it: voices, settings of an utterance, limits, survival."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import (
    EmptyAudio,
    EngineUnavailable,
    SynthesisError,
    TextRefused,
    UnknownEmotion,
)
from tests.golden.make_voice import make_voice
from tests.reference import GOLDEN, NSF_VARIANTS, VARIANTS, references, voice, worst
from worker.engine.base import Engine
from worker.engine.sambert.adaptor import round_durations
from worker.engine.sambert.eager import EagerLoops
from worker.engine.sambert.engine import SambertEngine, choose_loops, kernel_folder
from worker.engine.sambert.grades import Grade, Half
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.tiles import compiled
from worker.engine.sambert.voice import sentences
from worker.types import Utterance

VOICE = "zhitian_emo"
ROOT = GOLDEN.parents[1]


def engine_of(**options: object) -> SambertEngine:
    folder = GOLDEN / "plain" / "model"
    return SambertEngine(SambertOptions(model_dirs=(folder,), **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine() -> SambertEngine:
    loaded = engine_of()
    loaded.load(VOICE)
    return loaded


def utterance(number: int = 3) -> Utterance:
    return references("plain")[number].utterance


def test_the_engine_keeps_the_protocol(engine: SambertEngine) -> None:
    kept: Engine = engine
    [offered] = kept.voices()
    assert (kept.name, kept.takes_symbols, kept.batch_size) == ("sambert", True, 4)
    assert SambertEngine(SambertOptions(device="cuda:1")).batch_size == 32
    assert SambertEngine(SambertOptions(device="cuda", batch_size=7)).batch_size == 7
    assert (offered.name, offered.sample_rate_hz, offered.language) == (VOICE, 16000, "zh-CN")
    assert offered.emotions == ("neutral", "happy", "angry", "sad", "fear", "hate", "surprise")
    assert offered.revision == engine.loaded(VOICE).revision


def test_grades_are_revisions_so_that_a_kept_segment_is_of_the_grade_asked_for() -> None:
    def revision(**options: object) -> str:
        return engine_of(**options).voices()[0].revision

    whole = revision()
    assert revision(half=Half.FLOAT16) == whole
    assert revision(grade=Grade.INT8) == f"{whole}-int8"
    assert revision(grade=Grade.FAST) == f"{whole}-fast-bfloat16"
    assert revision(grade=Grade.FAST, half=Half.FLOAT16) == f"{whole}-fast-float16"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_gives_what_each_alone_gives(variant: str) -> None:
    spoken = voice(variant)
    chosen = [reference.utterance for reference in references(variant)]
    chosen.append(replace(chosen[1], speed=1.4, pitch=2.0, emotion_intensity=0.5))
    batch = spoken.render(chosen)
    for together, given in zip(batch, chosen, strict=True):
        [alone] = spoken.render([given])
        assert alone.timings == together.timings
        limit = 1e-2 if variant in NSF_VARIANTS else 5e-5
        assert worst(together.wave.samples, alone.wave.samples) <= limit


def test_timings_cover_the_wave_symbol_by_symbol(engine: SambertEngine) -> None:
    [rendering] = engine.render(VOICE, [utterance()])
    frames = references("plain")[3].expected["durations"]
    assert rendering.timed == "symbols"
    assert [(t.start, t.end) for t in rendering.timings] == [(i, i + 1) for i in range(len(frames))]
    spans = [t.end_s - t.start_s for t in rendering.timings]
    assert spans == pytest.approx((frames * 200 / 16000).tolist())
    assert rendering.timings[0].start_s == 0
    assert rendering.timings[-1].end_s == pytest.approx(rendering.wave.duration_s)


def test_speed_divides_durations_before_rounding(engine: SambertEngine) -> None:
    [normal, fast] = engine.loaded(VOICE).stages([utterance(), replace(utterance(), speed=2.0)])
    exact = np.exp(normal.acoustic.log_duration) - 1
    assert (fast.acoustic.durations == (exact / 2 + 0.5).astype(int)).all()
    assert fast.acoustic.x_band_width == int(exact.max() / 2 / 3 + 0.5)
    assert len(fast.wave) < 0.6 * len(normal.wave)


def test_pitch_moves_the_sound_and_keeps_the_timing() -> None:
    reference = references("nsf")[1].utterance
    low, same, high = voice("nsf").stages(
        [replace(reference, pitch=-5.0), reference, replace(reference, pitch=5.0)]
    )
    for moved in (low, high):
        assert (moved.acoustic.durations == same.acoustic.durations).all()
        assert (moved.acoustic.pitch == same.acoustic.pitch).all()
        assert np.abs(moved.acoustic.mel - same.acoustic.mel).max() > 1e-3
    # In hertz, five semitones up: the track the decoder reads is 2^(5/12) of the predicted one.
    scale = voice("nsf").acoustic.pitch_scale
    predicted = torch.from_numpy(same.acoustic.pitch) * scale.scale + scale.offset
    wanted = (predicted * 2 ** (5 / 12) - scale.offset) / scale.scale
    conv = voice("nsf").acoustic.net.variance_adaptor.pitch_emb
    with torch.inference_mode():
        text = conv((wanted - torch.from_numpy(same.acoustic.pitch))[None, None])[0].t()
        text = (text - conv.bias)[np.repeat(np.arange(len(wanted)), same.acoustic.durations)]
    difference = (high.acoustic.lr_text - same.acoustic.lr_text)[: len(text)]
    assert worst(difference, text.numpy()) < 1e-5


def test_intensity_moves_along_the_line_from_neutral(engine: SambertEngine) -> None:
    happy = references("plain")[1].utterance
    neutral = replace(
        happy, symbols=(happy.symbols or "").replace("emotion_happy", "emotion_neutral")
    )
    none, plain, half, full = engine.loaded(VOICE).stages(
        [
            replace(happy, emotion_intensity=0.0),
            neutral,
            replace(happy, emotion_intensity=0.5),
            happy,
        ]
    )
    assert (none.acoustic.durations == plain.acoustic.durations).all()
    assert worst(none.wave, plain.wave) < 5e-5
    assert np.abs(half.acoustic.pitch - full.acoustic.pitch).max() > 1e-3
    assert np.abs(half.acoustic.pitch - none.acoustic.pitch).max() > 1e-3


def test_an_emotion_asked_for_is_spoken(engine: SambertEngine) -> None:
    happy = references("plain")[1].utterance
    neutral = replace(
        happy, symbols=(happy.symbols or "").replace("emotion_happy", "emotion_neutral")
    )
    [asked, written] = engine.render(VOICE, [replace(neutral, emotion="happy"), happy])
    assert asked.timings == written.timings
    assert worst(asked.wave.samples, written.wave.samples) < 5e-5


def test_an_emotion_the_voice_lacks_lists_those_it_has(engine: SambertEngine) -> None:
    with pytest.raises(UnknownEmotion, match="no emotion 'calm'") as caught:
        engine.render(VOICE, [replace(utterance(), emotion="calm")])
    assert "happy" in caught.value.details["emotions"]


@pytest.mark.parametrize("variant", NSF_VARIANTS)
def test_nsf_voices_repeat_themselves(variant: str) -> None:
    chosen = [references(variant)[0].utterance]
    [first], [second] = voice(variant).render(chosen), voice(variant).render(chosen)
    assert (first.wave.samples == second.wave.samples).all()


@pytest.mark.parametrize(
    ("symbols", "error"),
    [(None, SynthesisError), ("", EmptyAudio), ("{x$y$z$a$b$c}", TextRefused)],
)
def test_a_bad_utterance_is_pointed_at_and_the_next_is_spoken(
    engine: SambertEngine, symbols: str | None, error: type[SynthesisError]
) -> None:
    with pytest.raises(error) as caught:
        engine.render(VOICE, [utterance(), Utterance(text="", symbols=symbols)])
    assert caught.value.details["item"] == 1
    assert engine.render(VOICE, [utterance()])


def test_too_many_symbols_and_too_much_audio_are_refused() -> None:
    short = engine_of(max_units=20, max_audio_s=0.1, compiled=False)
    with pytest.raises(TextRefused, match="frames, the limit is 8"):
        short.load(VOICE)
    few = engine_of(max_units=20, compiled=False)
    with pytest.raises(TextRefused, match="symbols, the limit is 20") as caught:
        few.render(VOICE, [utterance(0), utterance(4)])
    assert caught.value.details["item"] == 1
    assert few.render(VOICE, [utterance(0)])


def test_endless_durations_are_over_the_limit_not_out_of_memory() -> None:
    endless = round_durations(np.array([1.0, 300.0], dtype=np.float32), 1.0, 3)
    assert endless.n_frames >= 10**9


def altered(folder: Path, tensor: str, value: float) -> SambertEngine:
    """An engine over a tiny voice with one tensor of its acoustic model filled with `value`."""
    make_voice(folder)
    path = folder / "voices" / VOICE / "am/ckpt/checkpoint_0.pth"
    entries = torch.load(path, weights_only=True)
    entries["model"][tensor].fill_(value)
    torch.save(entries, path)
    return SambertEngine(SambertOptions(model_dirs=(folder,), compiled=False))


def test_a_model_gone_mad_is_an_error_not_a_crash(tmp_path: Path) -> None:
    mad = altered(tmp_path, "mel_decoder.mel_dec.dec_out_proj.bias", 3e38)
    with pytest.raises(SynthesisError, match="no numbers"):
        mad.load(VOICE)


def test_an_utterance_without_a_frame_is_silence(tmp_path: Path) -> None:
    """Below zero before its last activation, every duration is zero frames."""
    mute = altered(tmp_path, "variance_adaptor.duration_predictor.fc.bias", -50.0)
    renderings = mute.render(VOICE, [utterance(0), utterance(1)])
    assert [len(rendering.wave.samples) for rendering in renderings] == [0, 0]
    assert {timing.end_s for timing in renderings[1].timings} == {0.0}


def test_an_empty_batch_is_an_empty_answer(engine: SambertEngine) -> None:
    assert engine.render(VOICE, []) == []


def test_an_unknown_voice_is_named_with_those_there_are(engine: SambertEngine) -> None:
    with pytest.raises(EngineUnavailable, match=r"voice 'nobody'; found: zhitian_emo"):
        engine.load("nobody")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = SambertEngine(SambertOptions(model_dirs=(tmp_path / "none",)))
    with pytest.raises(EngineUnavailable, match=r"none is no folder; give the one that"):
        engine.voices()


def test_without_numba_the_loops_are_eager() -> None:
    assert isinstance(choose_loops(SambertOptions(compiled=False)), EagerLoops)


def test_kernels_compile_where_the_result_cannot_be_kept() -> None:
    """Code from no file has no place for a cache, as code on a read-only disk has none."""
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x\n", names)
    assert compiled(names["double"])(4) == 8


def test_a_full_disk_for_what_is_compiled_is_told_as_such(tmp_path: Path) -> None:
    """In a process that may not write a byte to a file, as none can to a full disk."""
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from shared.errors import EngineUnavailable\n"
        "from worker.engine.sambert.engine import SambertEngine, SambertOptions\n"
        f"folder, cache = Path({str(GOLDEN / 'plain' / 'model')!r}), Path({str(tmp_path)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    engine = SambertEngine(SambertOptions(model_dirs=(folder,), cache_dir=cache))\n"
        f"    engine.load({VOICE!r})\n"
        "except EngineUnavailable as error:\n"
        "    print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert f"could not be kept in or read from {tmp_path}" in done.stdout


@pytest.mark.parametrize("home", ["home", None])
def test_compiled_kernels_are_kept_by_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    """Numba itself asks only whether the file of one kernel is older, not what that one calls."""
    beside = ROOT / "worker/engine/sambert/__pycache__/numba"
    given, found = kernel_folder(tmp_path), kernel_folder(None)
    assert given is not None
    assert found == beside / given.name
    monkeypatch.setattr("worker.engine.sambert.engine._kernels", lambda: "other")
    assert kernel_folder(tmp_path) == tmp_path / "numba" / "other"
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("worker.engine.sambert.engine.__file__", str(tmp_path / "file" / "x.py"))
    monkeypatch.setenv("HOME", str(tmp_path / (home or "file")))
    own = tmp_path / "home/.cache/ttsfarm/numba/other"
    assert kernel_folder(None) == (own if home else None)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = engine_of(cache_dir=tmp_path / "file")
    with pytest.raises(EngineUnavailable, match=f"could not be kept in or read from {tmp_path}"):
        engine.load(VOICE)


def test_kernels_compile_into_the_folder_of_their_source() -> None:
    """In a process that has not imported them, and was told no folder."""
    script = (
        "import numba\n"
        "from worker.engine.sambert.engine import SambertOptions, choose_loops, kernel_folder\n"
        "choose_loops(SambertOptions())\n"
        "from worker.engine.sambert.tiles import multiply\n"
        "print(multiply._cache.cache_path.startswith(str(kernel_folder(None))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "True"


def test_a_voice_speaks_where_numba_is_not_installed() -> None:
    """In a process that cannot import it, since this one has."""
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "from pathlib import Path\n"
        "from worker.engine.sambert.engine import SambertEngine, SambertOptions\n"
        f"options = SambertOptions(model_dirs=(Path({str(GOLDEN / 'plain' / 'model')!r}),))\n"
        f"voice = SambertEngine(options).loaded({VOICE!r})\n"
        "print(type(voice.acoustic.loops).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "EagerLoops"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_warm_up_sentences_are_in_the_tables(variant: str) -> None:
    for _, symbols in sentences():
        assert voice(variant).encoder.encode(symbols).n_units > 10
