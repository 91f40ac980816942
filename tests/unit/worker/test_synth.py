"""The commands `synth` and `fetch` as a user runs them."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

from tests.golden.make_voice import TINY, make_voice
from tests.reference import ACOUSTIC_LIMIT, GOLDEN, WAVE_LIMIT, references, worst
from worker.cli import main
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.voice import SambertVoice
from worker.synth import to_pcm16

MODEL = str(GOLDEN / "plain" / "model")
SYMBOLS = str(GOLDEN / "plain" / "utts.tsv")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_stages_are_the_reference_s(tmp_path: Path) -> None:
    wav, npz = tmp_path / "out.wav", tmp_path / "out.npz"
    done = run("synth", "--model", MODEL, "--symbols", SYMBOLS, "--batch", "3", "-o", str(wav),
               "--stages", str(npz))  # fmt: skip
    assert done.exit_code == 0, done.output
    with np.load(npz) as found:
        for reference in references("plain"):
            for stage, expected in reference.expected.items():
                limit = {"wav": WAVE_LIMIT, "pcm16": 2}.get(stage, ACOUSTIC_LIMIT)
                assert worst(found[f"{reference.name}/{stage}"], expected) <= limit, stage
                assert found[f"{reference.name}/{stage}"].dtype == expected.dtype
    samples, rate_hz = soundfile.read(wav, dtype="int16")
    waves = [to_pcm16(reference.expected["wav"]) for reference in references("plain")]
    assert rate_hz == 16000
    assert worst(samples, np.concatenate(waves)) <= 2


def test_stages_of_an_utterance_without_a_frame_are_empty(tmp_path: Path) -> None:
    silent = tmp_path / "model"
    make_voice(silent)
    mute(silent)
    wav, npz = tmp_path / "out.wav", tmp_path / "out.npz"
    done = run("synth", "--model", str(silent), "--symbols", SYMBOLS, "-o", str(wav),
               "--stages", str(npz))  # fmt: skip
    assert done.exit_code == 0, done.output
    name = references("plain")[0].name
    with np.load(npz) as found:
        assert found[f"{name}/wav"].shape == (0,)
        assert found[f"{name}/voc_conv_pre"].shape == (TINY.vocoder["channels"], 0)
        assert found[f"{name}/voc_conv_pre"].dtype == np.float32


def mute(folder: Path) -> None:
    """Below zero before its last activation, every duration is zero frames."""
    path = next(folder.glob("voices/*/am/ckpt/checkpoint_0.pth"))
    entries = torch.load(path, weights_only=True)
    entries["model"]["variance_adaptor.duration_predictor.fc.bias"].fill_(-50.0)
    torch.save(entries, path)


def test_pcm_is_upstream_s_but_for_the_wrap_at_full_scale() -> None:
    expected = references("plain")[0].expected
    assert (to_pcm16(expected["wav"]) == expected["pcm16"]).all()
    edges = np.array([1.0, -1.0, 0.99999, 1e-5, -1e-5], dtype=np.float32)
    assert to_pcm16(edges).tolist() == [32767, -32768, 32767, 0, 0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no lines"),
        ("{b_c$tone3$s_begin$word_begin$emotion_neutral$F7}\n", "line 1: expected name<TAB>"),
        ("a\t{x$y$z$a$b$c}\n", "unit 1: sy 'x'"),
        ("a\t\n", "a: There are no symbols to speak"),
        ("b\tni3 hao3\n", "b: 'ni3 hao3' is no unit; write each as in {"),
        ("a\t{b}\na\t{c}\n", "several lines named a"),
    ],
)
def test_bad_lines_are_explained(tmp_path: Path, content: str, reason: str) -> None:
    lines = tmp_path / "lines.tsv"
    lines.write_text(content)
    done = run("synth", "--model", MODEL, "--symbols", str(lines), "-o", str(tmp_path / "o.wav"))
    assert done.exit_code == 1
    assert reason in done.output
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("synth", "--model", MODEL, "-o", "x.wav"),
        ("synth", "--model", MODEL, "--symbols", SYMBOLS),
        ("synth", "--model", MODEL, "--symbols", SYMBOLS, "--text", "好", "-o", "x.wav"),
        ("synth", "--model", MODEL, "--symbols", SYMBOLS, "-o", "x.wav", "--speed", "9"),
    ],
)
def test_contradictions_are_usage_errors(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_missing_model_and_a_place_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    done = run("synth", "--model", gone, "--symbols", SYMBOLS, "-o", f"{gone}/o.wav")
    assert "gone is no folder" in done.output
    done = run("synth", "--model", MODEL, "--symbols", SYMBOLS, "-o", f"{gone}/o.wav")
    assert done.exit_code == 1
    assert "could not be written" in done.output
    done = run("synth", "--model", MODEL, "--symbols", SYMBOLS, "--stages", f"{gone}/o.npz")
    assert done.exit_code == 1
    assert "could not be written" in done.output


def test_a_line_that_turns_out_too_long_is_named_and_the_lines_before_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_, last = sorted(references("plain"), key=lambda r: int(r.expected["n_frames"]))
    limit_s = int(first.expected["n_frames"]) * 200 / 16000
    monkeypatch.setattr("worker.synth.SambertOptions", partial(SambertOptions, max_audio_s=limit_s))
    monkeypatch.setattr(SambertVoice, "warm_up", lambda _: None)
    lines = tmp_path / "lines.tsv"
    rows = [("short", first), ("fits", first), ("long", last), ("after", first)]
    lines.write_text("".join(f"{name}\t{r.utterance.symbols}\n" for name, r in rows))
    wav, npz = tmp_path / "out.wav", tmp_path / "out.npz"
    done = run("synth", "--model", MODEL, "--symbols", str(lines), "--batch", "2", "-o", str(wav),
               "--stages", str(npz))  # fmt: skip
    assert done.exit_code == 1
    assert re.search(r"Error: long: .* frames, the limit is", done.output)
    samples, _ = soundfile.read(wav)
    assert len(samples) == 2 * len(first.expected["wav"])
    with np.load(npz) as found:
        assert {name.partition("/")[0] for name in found} == {"short", "fits"}


def test_a_mark_of_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    lines = tmp_path / "lines.tsv"
    lines.write_text(f"a\t{references('plain')[0].utterance.symbols}\n", encoding="utf-8-sig")
    done = run("synth", "--model", MODEL, "--symbols", str(lines), "-o", str(tmp_path / "o.wav"))
    assert done.output.startswith("a: ")


def test_a_place_that_cannot_be_written_is_told_before_anything_is_spoken(tmp_path: Path) -> None:
    gone, wav = str(tmp_path / "gone"), tmp_path / "o.wav"
    done = run("synth", "--model", MODEL, "--symbols", SYMBOLS, "-o", f"{gone}/o.wav")
    assert done.output == f"Error: {gone}/o.wav could not be written: " + (
        f"[Errno 2] No such file or directory: '{gone}/o.wav'\n"
    )
    done = run("synth", "--model", MODEL, "--symbols", SYMBOLS, "-o", str(wav), "--emotion", "calm")
    assert done.exit_code == 1
    assert not wav.exists()


def test_fetch_explains_itself(tmp_path: Path) -> None:
    done = run("fetch", "iic/tiny@v1", "--models", str(tmp_path), "--offline")
    assert done.exit_code == 1
    assert "fetching is turned off" in done.output
