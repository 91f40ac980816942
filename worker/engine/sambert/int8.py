"""Grade int8: the generator as an ONNX graph whose residual convolutions are quantised.

Ranges are calibrated on mels the voice itself makes from ordinary sentences. First, last and
up-sampling convolutions and all sums stay float32; between the two convolutions of a residual
step nothing but 8-bit integers is written. Importing this needs onnxruntime and onnx.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as states
from torch import Tensor, from_numpy

from shared.errors import EngineUnavailable
from worker.engine.sambert.hifigan import Folded, FoldedConv
from worker.engine.sambert.loops import Array
from worker.engine.sambert.onnx_graph import RUNTIME, Graph, Pair, generator, pads_of, taps_of

# The runtime's own errors share no base but Exception.
_LOAD_ERRORS = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
)
FORM = 3  # of the graph, in its file's name: graphs of another form are not read
_CALIBRATION_FRAMES = 240


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One input of the generator: mel [frames, channels] and its excitation, if it takes one."""

    mel: Array
    excitation: Array | None


class OnnxRenderer:
    """A generator graph run by ONNX Runtime on the CPU; a `WindowRenderer`."""

    def __init__(self, graph: Path, hop: int, threads: int) -> None:
        """Raises `EngineUnavailable` when the file is no graph this runtime can run."""
        try:
            self._session = onnxruntime.InferenceSession(
                graph, _settings(threads), providers=["CPUExecutionProvider"]
            )
        except _LOAD_ERRORS as error:
            raise EngineUnavailable(
                f"{graph} could not be loaded ({error}); delete it and it is built again"
            ) from error
        self._hop = hop

    def render(self, mel: Tensor, excitation: Tensor | None, lead: int, trail: int) -> Tensor:
        given = _feed(mel.contiguous().numpy(), None if excitation is None else excitation.numpy())
        [wave] = self._session.run(None, given)
        samples = from_numpy(wave).reshape(-1)
        return samples[lead * self._hop : len(samples) - trail * self._hop]


def build_int8(folded: Folded, samples: Sequence[Sample], path: Path, *, vnni: bool) -> None:
    """Quantise `folded`, calibrated on `samples`, into `path`, which appears whole or not at all.

    Without VNNI instructions weights get seven bits: two full products overflow 16 bits there.
    Raises `EngineUnavailable` when the file cannot be written.
    """
    step = Quantised(_ranges(folded, samples), 127 if vnni else 63)
    model = generator(folded, step).model(folded)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            written = Path(folder) / "int8.onnx"
            onnx.save(model, written)
            written.replace(path)
    except OSError as error:
        raise EngineUnavailable(f"{path} could not be written: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Range:
    """What an activation's 256 steps reach from and to; zero is one of them."""

    least: float
    most: float

    @property
    def scale(self) -> float:
        return max(self.most - self.least, 1e-6) / 255

    @property
    def zero(self) -> int:
        return round(-self.least / self.scale)


def _exact(graph: Graph, name: str, pair: Pair, x: str, slope: float) -> str:
    """A residual step in float32, its tensors named as the quantised one's are."""
    for end, conv in zip("ab", pair, strict=True):
        leaky = graph.leaky(f"{name}{end}_in", x, slope)
        turned = graph.turned(f"{name}{end}_turned", leaky)
        x = graph.turned(f"{name}{end}", graph.conv(f"{name}{end}_conv", conv, turned))
    return x


@dataclass(frozen=True)
class Quantised:
    """A residual step in 8 bits; weights reach from -`largest` to it, with a scale an output."""

    ranges: Mapping[str, Range]
    largest: int

    def __call__(self, graph: Graph, name: str, pair: Pair, x: str, slope: float) -> str:
        a, b = f"{name}a", f"{name}b"
        leaky = graph.leaky(f"{a}_in", x, slope)
        coded = graph.add("QuantizeLinear", f"{a}_in.q", leaky, *self._code(graph, f"{a}_in"))
        hidden = self._conv(graph, a, pair[0], coded)
        inner = (hidden, *self._code(graph, a), *self._code(graph, f"{b}_in"))
        hidden = graph.add("QLinearLeakyRelu", f"{b}_in.q", *inner, alpha=slope, domain=RUNTIME)
        out = self._conv(graph, b, pair[1], hidden)
        return graph.add("DequantizeLinear", b, out, *self._code(graph, b))

    def _code(self, graph: Graph, tensor: str) -> tuple[str, str]:
        """The scale and the zero that a tensor is coded with."""
        its = self.ranges[tensor]
        return (
            graph.constant(f"{tensor}.scale", np.array(its.scale, dtype=np.float32)),
            graph.constant(f"{tensor}.zero", np.array(its.zero, dtype=np.uint8)),
        )

    def _conv(self, graph: Graph, name: str, conv: FoldedConv, x: str) -> str:
        """Codes of [1, time, in] to those of [1, time, out]."""
        taps, scale = taps_of(conv), self.ranges[f"{name}_in"].scale
        bias = np.zeros(len(taps)) if conv.bias is None else conv.bias.double().numpy()
        scales = np.abs(taps).max(axis=(1, 2)).astype(np.float64) / self.largest
        # Sums have 32 bits, and where weights are next to nothing the bias must fit them too.
        scales = np.maximum(scales, np.maximum(np.abs(bias) / scale / 2**30, 1e-30))
        return graph.add(
            "QLinearConv",
            f"{name}.q",
            x,
            *self._code(graph, f"{name}_in"),
            graph.constant(f"{name}.weight", np.rint(taps.T / scales).T.astype(np.int8)),
            graph.constant(f"{name}.scales", scales.astype(np.float32)),
            graph.constant(f"{name}.zeros", np.zeros(len(taps), dtype=np.int8)),
            *self._code(graph, name),
            graph.constant(f"{name}.bias", np.rint(bias / scale / scales).astype(np.int32)),
            domain=RUNTIME,
            channels_last=1,
            dilations=[conv.dilation],
            pads=pads_of(conv),
        )


def _ranges(folded: Folded, samples: Sequence[Sample]) -> dict[str, Range]:
    """What the tensors of the residual steps reach over the samples, cut to some seconds each."""
    graph = generator(folded, _exact)
    model = graph.model(folded)
    tensors = [n.name for n in graph.nodes if n.name.startswith("block") and _is_coded(n.name)]
    for tensor in tensors:
        for kind in ("ReduceMin", "ReduceMax"):
            end = f"{tensor}.{kind}"
            model.graph.node.append(helper.make_node(kind, [tensor], [end], keepdims=0))
            model.graph.output.append(helper.make_tensor_value_info(end, TensorProto.FLOAT, []))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), _settings(1), providers=["CPUExecutionProvider"]
    )
    found = [session.run(None, _cut(sample))[1:] for sample in samples]
    ends = np.array(found, dtype=np.float64).reshape(len(found), len(tensors), 2)
    least, most = ends[:, :, 0].min(axis=0, initial=0), ends[:, :, 1].max(axis=0, initial=0)
    return {
        tensor: Range(least=float(least[i]), most=float(most[i]))
        for i, tensor in enumerate(tensors)
    }


def _is_coded(name: str) -> bool:
    return name.endswith(("a", "b", "a_in", "b_in"))


def _settings(threads: int) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # The arena keeps the largest chunk's memory of every shape it saw.
    settings.enable_cpu_mem_arena = False
    return settings


def _cut(sample: Sample) -> dict[str, Array]:
    frames = min(len(sample.mel), _CALIBRATION_FRAMES)
    excitation = sample.excitation
    if excitation is not None:
        excitation = excitation[: len(excitation) // len(sample.mel) * frames]
    return _feed(np.ascontiguousarray(sample.mel[:frames].T), excitation)


def _feed(mel: Array, excitation: Array | None) -> dict[str, Array]:
    feed = {"mel": mel[None]}
    if excitation is not None:
        feed["excitation"] = excitation[None, None]
    return feed
