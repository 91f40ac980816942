"""Where a voice computes: what is refused, and that nothing is made on another device.

Tensors of the device `meta` have shapes and no values, and refuse to meet a processor's: what
runs there runs wherever the network is.
"""

from collections.abc import Callable, Sequence

import pytest
import torch

from shared.errors import EngineUnavailable, SynthesisError
from shared.schemas import SegmentSpec
from shared.settings import Settings
from tests.reference import GOLDEN, references, voice, worst
from worker import pipeline
from worker.engine.sambert.decoder import HybridAttentionDecoder, MemoryProjection, pack_decoder
from worker.engine.sambert.device import CPU, find_device
from worker.engine.sambert.eager import Decoding, EagerLoops, on
from worker.engine.sambert.engine import SambertEngine, choose_loops
from worker.engine.sambert.grades import Grade, Half, require_cuda_grade, require_grade
from worker.engine.sambert.hifigan import Generator, fold
from worker.engine.sambert.loops import DecoderInput
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.vocoder import TorchRenderer
from worker.engine.sambert.voice import SambertVoice
from worker.types import Rendering, Utterance

META = torch.device("meta")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", ""])
def test_an_unknown_device_is_named_with_what_may_be_given(name: str) -> None:
    with pytest.raises(EngineUnavailable, match="give cpu, cuda or cuda:N"):
        find_device(name)
    with pytest.raises(ValueError, match="sambert_device"):
        Settings(sambert_device=name)


def test_a_gpu_that_is_not_there_is_refused_at_load() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    options = SambertOptions(model_dirs=(GOLDEN / "plain" / "model",), device=absent)
    with pytest.raises(EngineUnavailable, match=f"The device {absent} was asked for"):
        SambertEngine(options).load("zhitian_emo")


def gpu_error(text: str) -> RuntimeError:
    return getattr(torch, "AcceleratorError", RuntimeError)(text)


@pytest.fixture
def engine() -> SambertEngine:
    folder = GOLDEN / "plain" / "model"
    loaded = SambertEngine(SambertOptions(model_dirs=(folder,), compiled=False))
    loaded.load("zhitian_emo")
    return loaded


def failing(monkeypatch: pytest.MonkeyPatch, error: Callable[[int], Exception | None]) -> None:
    """Make voices fail as `error` of the number of utterances says."""
    spoken = SambertVoice.render

    def render(voice: SambertVoice, utterances: Sequence[Utterance]) -> list[Rendering]:
        found = error(len(utterances))
        if found is not None:
            raise found
        return spoken(voice, utterances)

    monkeypatch.setattr(SambertVoice, "render", render)


def test_a_batch_too_large_for_the_gpu_is_rendered_one_by_one(
    engine: SambertEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    failing(monkeypatch, lambda n: torch.OutOfMemoryError("CUDA out of memory") if n > 1 else None)
    specs = [
        SegmentSpec(index=i, start=0, end=1, spoken="好", symbols=r.utterance.symbols, n_chars=1,
                    voice="zhitian_emo", emotion="neutral", emotion_intensity=1.0)
        for i, r in enumerate(references("plain")[:2])
    ]  # fmt: skip
    outcomes = pipeline.render(engine, engine.voices()[0], specs)
    assert len(outcomes) == 2
    assert "memory" not in "".join(str(outcome) for outcome in outcomes)
    assert emptied


def test_memory_too_small_while_a_graph_is_recorded_is_the_same(
    engine: SambertEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = gpu_error("CUDA error: operation failed due to a previous error during capture")
    ended.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    failing(monkeypatch, lambda _: ended)
    with pytest.raises(SynthesisError, match="memory is too small"):
        engine.render("zhitian_emo", [references("plain")[0].utterance])


@pytest.mark.parametrize(
    "error",
    [
        gpu_error("CUDA error: an illegal memory access was encountered\nmore"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_a_gpu_that_failed_is_no_fault_of_the_text(
    engine: SambertEngine, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    failing(monkeypatch, lambda _: error)
    with pytest.raises(EngineUnavailable, match=r"The GPU failed \(.* error: [^\n]*\); start"):
        engine.render("zhitian_emo", [references("plain")[0].utterance])


def test_other_errors_of_torch_stay_what_they_are(
    engine: SambertEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, lambda _: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.render("zhitian_emo", [references("plain")[0].utterance])


def test_a_gpu_too_small_to_load_a_voice_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, lambda _: torch.OutOfMemoryError("CUDA out of memory"))
    folder = GOLDEN / "plain" / "model"
    fresh = SambertEngine(SambertOptions(model_dirs=(folder,), compiled=False))
    with pytest.raises(EngineUnavailable, match="memory is too small"):
        fresh.load("zhitian_emo")


def test_a_gpu_refuses_what_it_cannot_serve() -> None:
    with pytest.raises(EngineUnavailable, match="int8 runs on processors only"):
        require_cuda_grade(Grade.INT8, half=Half.FLOAT16, has_bf16=True)
    with pytest.raises(EngineUnavailable, match="TTSFARM_SAMBERT_HALF=float16"):
        require_cuda_grade(Grade.FAST, half=Half.BFLOAT16, has_bf16=False)
    require_cuda_grade(Grade.FAST, half=Half.FLOAT16, has_bf16=False)
    require_cuda_grade(Grade.EXACT, half=Half.BFLOAT16, has_bf16=False)


def test_a_processor_refuses_float16() -> None:
    with pytest.raises(EngineUnavailable, match="TTSFARM_SAMBERT_HALF=bfloat16"):
        require_grade(Grade.FAST, {"avx512_bf16"}, Half.FLOAT16)


def test_off_the_processor_only_durations_are_compiled() -> None:
    loops = choose_loops(SambertOptions(), META)
    assert isinstance(loops, EagerLoops)
    assert loops.device == META
    assert loops.host is not None
    assert loops.blocks(0.1) is None
    condition = references("plain")[0].expected["encoder_out"]
    weights = voice("plain", "eager").acoustic.net.variance_adaptor.duration_predictor.pack()
    rows = torch.randn(len(condition), 4 * weights.out_w.shape[1]).numpy()
    [compiled] = loops.durations(weights)([rows])
    [eager] = EagerLoops(CPU).durations(weights)([rows])
    assert worst(compiled, eager) < 1e-5


def test_the_decoder_makes_everything_where_its_weights_are() -> None:
    config = voice("plain").acoustic.config
    decoder = HybridAttentionDecoder(config)
    weights = pack_decoder(decoder, config)
    project = MemoryProjection(decoder.to(META), config)
    items = project(torch.zeros(8, config.memory_units, device=META), [3, 5], [3, 5])
    found = EagerLoops(META).decoder(weights)(items)
    assert [frames.device for frames in found] == [META, META]
    assert [len(frames) for frames in found] == [3, 5]


@pytest.mark.parametrize("variant", ["plain", "nsf", "causal_nomask"])
def test_the_vocoder_makes_everything_where_its_weights_are(variant: str) -> None:
    config = voice(variant).vocoder.config
    renderer = TorchRenderer(fold(Generator(config).to(META), config))
    mel = torch.zeros(config.in_channels, 12, device=META)
    excitation = torch.zeros(12 * config.hop, device=META) if config.n_harmonics else None
    wave = renderer.render(mel, excitation, 2, 3)
    assert (wave.device, len(wave)) == (META, 7 * config.hop)


def test_one_step_of_the_decoder_serves_utterances_that_end_before_others() -> None:
    """A recorded step runs all items to the longest one's end; none may disturb another."""
    config = voice("plain", "eager").acoustic.config
    torch.manual_seed(1)
    weights = on(pack_decoder(HybridAttentionDecoder(config), config), CPU)
    width, layers = config.decoder.units, config.decoder.n_layers
    items = [
        DecoderInput(
            inputs=torch.randn(n, width), memory_kv=torch.randn(layers, n, 2 * width), band=band
        )
        for n, band in ((9, 3), (4, 7), (1, 0))
    ]
    together = Decoding(weights, items, CPU)
    for _ in range(9):
        together.step(len(items))
    for number, item in enumerate(items):
        alone = Decoding(weights, [item], CPU)
        alone.run()
        found = together.out[number, : len(item.inputs)]
        assert worst(found.numpy(), alone.out[0].numpy()) < 1e-5


def test_a_decoder_started_again_repeats_itself() -> None:
    """As the step is run once before it is recorded."""
    config = voice("plain", "eager").acoustic.config
    torch.manual_seed(2)
    weights = on(pack_decoder(HybridAttentionDecoder(config), config), CPU)
    width, layers = config.decoder.units, config.decoder.n_layers
    memory = torch.randn(layers, 6, 2 * width)
    state = Decoding(
        weights, [DecoderInput(inputs=torch.randn(6, width), memory_kv=memory, band=2)], CPU
    )
    state.run()
    first = state.out.clone()
    state.restart()
    state.out.zero_()
    state.run()
    assert (state.out == first).all()
