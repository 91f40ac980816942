"""Grade int8: the generator as an ONNX graph whose residual convolutions are quantised.

Ranges are calibrated on mels the voice itself makes from ordinary sentences. First, last and
up-sampling convolutions stay float32. Importing this needs onnxruntime and onnx.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as states
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor

from shared.errors import EngineUnavailable
from worker.engine.sambert.hifigan import FINAL_SLOPE, Folded, FoldedConv, FoldedUp
from worker.engine.sambert.loops import Array

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
FORM = 2  # of the graph, in its file's name: graphs of another form are not read
_OPSET = 17
_IR_VERSION = 9
_CALIBRATION_FRAMES = 240
QUANTISED = "block"  # prefix of the nodes whose convolutions become 8-bit


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One input of the generator: mel [frames, channels] and its excitation, if it takes one."""

    mel: Array
    excitation: Array | None


class OnnxRenderer:
    """A generator graph run by ONNX Runtime on the CPU; a `WindowRenderer`."""

    def __init__(self, graph: Path, hop: int, threads: int) -> None:
        """Raises `EngineUnavailable` when the file is no graph this runtime can run."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        # The arena keeps the largest chunk's memory of every shape it saw.
        settings.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                graph, settings, providers=["CPUExecutionProvider"]
            )
        except _LOAD_ERRORS as error:
            raise EngineUnavailable(
                f"{graph} could not be loaded ({error}); delete it and it is built again"
            ) from error
        self._hop = hop

    def render(self, mel: Tensor, excitation: Tensor | None, lead: int, trail: int) -> Tensor:
        given = _feed(mel.contiguous().numpy(), None if excitation is None else excitation.numpy())
        [wave] = self._session.run(None, given)
        samples = torch.from_numpy(wave).reshape(-1)
        return samples[lead * self._hop : len(samples) - trail * self._hop]


def build_int8(folded: Folded, samples: Sequence[Sample], path: Path, *, vnni: bool) -> None:
    """Quantise `folded`, calibrated on `samples`, into `path`, which appears whole or not at all.

    Without VNNI instructions weights get seven bits: two full products overflow 16 bits there.
    Raises `EngineUnavailable` when the file cannot be written.
    """
    names = [n.name for n in graph_of(folded).graph.node if n.op_type == "Conv"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            exact, quantised = Path(folder) / "exact.onnx", Path(folder) / "int8.onnx"
            onnx.save(graph_of(folded), exact)
            quantize_static(
                exact,
                quantised,
                _Calibration(samples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[name for name in names if not name.startswith(QUANTISED)],
                per_channel=True,
                reduce_range=not vnni,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            quantised.replace(path)
    except OSError as error:
        raise EngineUnavailable(f"{path} could not be written: {error}") from error


def graph_of(folded: Folded) -> onnx.ModelProto:
    """The generator in float32: `mel` [1, channels, frames] to `wave` [1, 1, samples]."""
    graph = _Graph()
    slope = folded.config.slope
    x = graph.conv("pre", folded.pre, "mel")
    for i, stage in enumerate(folded.stages):
        x = graph.add("Add", f"curved{i}", graph.add("Sin", f"sine{i}", x), x)
        x = graph.up(f"up{i}", stage.up, graph.leaky(f"up{i}_in", x, slope))
        if stage.down is not None:
            x = graph.add("Add", f"sourced{i}", x, graph.conv(f"down{i}", stage.down, "excitation"))
        outs = []
        for j, block in enumerate(stage.blocks):
            y = x
            for k, (first, second) in enumerate(block):
                name = f"{QUANTISED}{i}_{j}_{k}"
                hidden = graph.conv(f"{name}a", first, graph.leaky(f"{name}a_in", y, slope))
                hidden = graph.conv(f"{name}b", second, graph.leaky(f"{name}b_in", hidden, slope))
                y = graph.add("Add", f"{name}_sum", y, hidden)
            outs.append(y)
        share = graph.constant(f"share{i}", np.array(1 / len(outs), dtype=np.float32))
        x = graph.add("Mul", f"mean{i}", graph.add("Sum", f"sum{i}", *outs), share)
    x = graph.conv("post", folded.post, graph.leaky("post_in", x, FINAL_SLOPE))
    graph.add("Tanh", "wave", x)
    return graph.model(folded)


class _Graph:
    """Collects nodes and weights; every node is named after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Array) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def leaky(self, name: str, x: str, slope: float) -> str:
        return self.add("LeakyRelu", name, x, alpha=slope)

    def conv(self, name: str, conv: FoldedConv, x: str) -> str:
        span = (conv.weight.shape[3] - 1) * conv.dilation + 1
        right = max(0, span - conv.stride - conv.left)
        return self.add(
            "Conv",
            name,
            x,
            *self._weights(name, conv.weight, conv.bias),
            strides=[conv.stride],
            dilations=[conv.dilation],
            pads=[conv.left, right],
        )

    def up(self, name: str, up: FoldedUp, x: str) -> str:
        """As a convolution that makes the `scale` outputs of each input side by side.

        The runtime has no fast transposed convolution.
        """
        weight = up.weight[:, :, 0].numpy()  # [in, out, kernel]
        n_out, kernel, scale = *weight.shape[1:], up.scale
        # An output sees inputs from `ahead` after its own to `behind` before it.
        ahead, behind = (scale - 1 + up.lead) // scale, (kernel - 1 - up.lead) // scale
        taps = np.zeros((n_out, scale, len(weight), ahead + behind + 1), dtype=np.float32)
        for phase in range(scale):
            for tap in range(ahead + behind + 1):
                at = scale * (behind - tap) + phase + up.lead
                if 0 <= at < kernel:
                    taps[:, phase, :, tap] = weight[:, :, at].T
        side = self.add(
            "Conv",
            f"{name}_phases",
            x,
            self.constant(f"{name}.weight", taps.reshape(-1, *taps.shape[2:])),
            self.constant(f"{name}.bias", np.repeat(up.bias.numpy(), scale)),
            pads=[behind, ahead],
        )
        split = self.constant(f"{name}.split", np.array([0, n_out, scale, -1]))
        joined = self.constant(f"{name}.joined", np.array([0, n_out, -1]))
        phases = self.add("Reshape", f"{name}_split", side, split)
        turned = self.add("Transpose", f"{name}_turned", phases, perm=[0, 1, 3, 2])
        return self.add("Reshape", name, turned, joined)

    def model(self, folded: Folded) -> onnx.ModelProto:
        kind, channels = TensorProto.FLOAT, folded.config.in_channels
        inputs = [helper.make_tensor_value_info("mel", kind, [1, channels, "frames"])]
        if folded.merge is not None:
            inputs.append(helper.make_tensor_value_info("excitation", kind, [1, 1, "samples"]))
        output = helper.make_tensor_value_info("wave", kind, [1, 1, "samples"])
        graph = helper.make_graph(self.nodes, "generator", inputs, [output], self.weights)
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)

    def _weights(self, name: str, weight: Tensor, bias: Tensor | None) -> list[str]:
        names = [self.constant(f"{name}.weight", weight[:, :, 0].numpy())]
        if bias is not None:
            names.append(self.constant(f"{name}.bias", bias.numpy()))
        return names


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds samples to the calibrator, cut to a length it can hold."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._feeds = self._cut(samples)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._feeds, None)

    def _cut(self, samples: Sequence[Sample]) -> Iterator[Mapping[str, Array]]:
        for sample in samples:
            frames = min(len(sample.mel), _CALIBRATION_FRAMES)
            excitation = sample.excitation
            if excitation is not None:
                excitation = excitation[: len(excitation) // len(sample.mel) * frames]
            yield _feed(np.ascontiguousarray(sample.mel[:frames].T), excitation)


def _feed(mel: Array, excitation: Array | None) -> dict[str, Array]:
    feed = {"mel": mel[None]}
    if excitation is not None:
        feed["excitation"] = excitation[None, None]
    return feed
