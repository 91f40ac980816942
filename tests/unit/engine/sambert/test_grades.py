"""Which grade runs where, and how far int8 is from exact."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import EngineUnavailable
from tests.golden.make_voice import make_voice
from tests.reference import GOLDEN, NSF_VARIANTS, VARIANTS, references, snr_db
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.grades import Grade, cpu_flags, has_vnni, require_grade, slow_here
from worker.engine.sambert.hifigan import FoldedConv
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.voice import SambertVoice

LEAST_SNR_DB = 20.0


def engine_of(folder: Path, cache: Path | None = None) -> SambertEngine:
    return SambertEngine(
        SambertOptions(model_dirs=(folder,), grade=Grade.INT8, cache_dir=cache, chunk_frames=60)
    )


def load(engine: SambertEngine) -> SambertVoice:
    return engine.loaded(engine.voices()[0].name)


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 avx512_vnni", True),
        ("Features\t: fp asimd bf16 asimddp", True),
        ("flags\t\t: fpu avx avx2 fma", False),
    ],
)
def test_fast_is_refused_with_the_reason_without_bf16(tmp_path: Path, line: str, has: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}\n")
    flags = cpu_flags(info)
    assert has_vnni(flags) is has
    assert slow_here(Grade.EXACT, flags) is None
    lacking = [slow_here(grade, flags) for grade in (Grade.FAST, Grade.INT8)]
    assert lacking == (
        [None, None]
        if has
        else [
            "bf16 (amx_bf16, avx512_bf16, bf16)",
            "VNNI (amx_int8, asimddp, avx512_vnni, avx_vnni)",
        ]
    )
    if has:
        require_grade(Grade.FAST, flags)
    else:
        with pytest.raises(EngineUnavailable, match="bf16 instructions"):
            require_grade(Grade.FAST, flags)


def test_a_system_that_does_not_tell_counts_as_without(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        require_grade(Grade.FAST, cpu_flags(tmp_path / "none"))
    require_grade(Grade.EXACT, frozenset())


@pytest.mark.parametrize("variant", VARIANTS)
def test_int8_stays_near_exact_in_chunks_too(variant: str) -> None:
    pytest.importorskip("onnxruntime", reason="the int8 extra is not installed")
    spoken = load(engine_of(GOLDEN / variant / "model"))
    for reference in references(variant):
        expected = reference.expected
        if variant in NSF_VARIANTS and "excitation" not in expected:
            continue
        wave = spoken.vocoder.render(expected["mel"], expected.get("excitation"))
        assert LEAST_SNR_DB < snr_db(wave, expected["wav"]) < 80


def test_int8_is_built_once_and_a_damaged_graph_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the int8 extra is not installed")
    folder, cache = make_voice(tmp_path / "model"), tmp_path / "cache"
    first = load(engine_of(folder, cache))
    [graph] = (cache / "int8").iterdir()
    written = graph.stat().st_mtime_ns
    mel = np.zeros((10, 16), dtype=np.float32)
    again = load(engine_of(folder, cache))
    assert graph.stat().st_mtime_ns == written
    assert (again.vocoder.render(mel, None) == first.vocoder.render(mel, None)).all()
    graph.write_bytes(b"no graph")
    with pytest.raises(EngineUnavailable, match="delete it and it is built again"):
        load(engine_of(folder, cache))


def test_int8_keeps_a_bias_where_weights_are_nothing() -> None:
    pytest.importorskip("onnxruntime", reason="the int8 extra is not installed")
    from onnx import numpy_helper

    from worker.engine.sambert.int8 import Quantised, Range
    from worker.engine.sambert.onnx_graph import Graph

    reach = Range(least=-1.0, most=1.0)
    names = ("xa_in", "xa", "xb_in", "xb")
    step, graph = Quantised(dict.fromkeys(names, reach), 127), Graph()
    bias = torch.tensor([0.0, 5.0, -5.0])
    conv = FoldedConv(weight=torch.zeros(3, 3, 1, 3), bias=bias, left=1, right=1)
    step(graph, "x", (conv, conv), "given", 0.1)
    codes, scales = (numpy_helper.to_array(graph.weights[f"xa.{n}"]) for n in ("bias", "scales"))
    np.testing.assert_allclose(codes * scales * reach.scale, bias.numpy(), rtol=1e-6)
