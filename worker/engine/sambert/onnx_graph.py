"""The generator as an ONNX graph whose residual blocks may be of another arithmetic.

Activations are [1, time, channels], as the runtime's 8-bit convolutions have them; those of
float32 want [1, channels, time], so these few are turned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from worker.engine.sambert.hifigan import FINAL_SLOPE, Folded, FoldedConv, FoldedUp
from worker.engine.sambert.loops import Array

_OPSET = 17
_IR_VERSION = 9
RUNTIME = "com.microsoft"  # the domain of ONNX Runtime's own operators


class Graph:
    """Collects nodes and weights; every node is named after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Array) -> str:
        self.weights[name] = numpy_helper.from_array(np.array(values, order="C"), name)
        return name

    def leaky(self, name: str, x: str, slope: float) -> str:
        return self.add("LeakyRelu", name, x, alpha=slope)

    def turned(self, name: str, x: str) -> str:
        """[1, a, b] to [1, b, a]."""
        return self.add("Transpose", name, x, perm=[0, 2, 1])

    def conv(self, name: str, conv: FoldedConv, x: str) -> str:
        """A float32 convolution of [1, channels, time]."""
        inputs = [self.constant(f"{name}.weight", taps_of(conv))]
        if conv.bias is not None:
            inputs.append(self.constant(f"{name}.bias", conv.bias.numpy()))
        return self.add(
            "Conv",
            name,
            x,
            *inputs,
            strides=[conv.stride],
            dilations=[conv.dilation],
            pads=pads_of(conv),
        )

    def up(self, name: str, up: FoldedUp, x: str) -> str:
        """[1, channels, time] to [1, time * scale, out], as a convolution that makes the `scale`
        outputs of each input side by side.

        The runtime has no fast transposed convolution.
        """
        weight = up.weight[:, :, 0].numpy()  # [in, out, kernel]
        n_out, kernel, scale = *weight.shape[1:], up.scale
        # An output sees inputs from `ahead` after its own to `behind` before it.
        ahead, behind = (scale - 1 + up.lead) // scale, (kernel - 1 - up.lead) // scale
        taps = np.zeros((scale, n_out, len(weight), ahead + behind + 1), dtype=np.float32)
        for phase in range(scale):
            for tap in range(ahead + behind + 1):
                at = scale * (behind - tap) + phase + up.lead
                if 0 <= at < kernel:
                    taps[phase, :, :, tap] = weight[:, :, at].T
        side = self.add(
            "Conv",
            f"{name}_phases",
            x,
            self.constant(f"{name}.weight", taps.reshape(-1, *taps.shape[2:])),
            self.constant(f"{name}.bias", np.tile(up.bias.numpy(), scale)),
            pads=[behind, ahead],
        )
        shape = self.constant(f"{name}.shape", np.array([0, -1, n_out]))
        return self.add("Reshape", name, self.turned(f"{name}_turned", side), shape)

    def model(self, folded: Folded) -> onnx.ModelProto:
        """Of `mel` [1, channels, frames], and `excitation` [1, 1, samples], to `wave` alike."""
        kind, channels = TensorProto.FLOAT, folded.config.in_channels
        inputs = [helper.make_tensor_value_info("mel", kind, [1, channels, "frames"])]
        if folded.merge is not None:
            inputs.append(helper.make_tensor_value_info("excitation", kind, [1, 1, "samples"]))
        output = helper.make_tensor_value_info("wave", kind, [1, 1, "samples"])
        weights = list(self.weights.values())
        graph = helper.make_graph(self.nodes, "generator", inputs, [output], weights)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(RUNTIME, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


Pair = tuple[FoldedConv, FoldedConv]
# Writes a residual step's two convolutions into a graph: (graph, name, convolutions, x, slope) to
# what is added to x.
Step = Callable[[Graph, str, Pair, str, float], str]


def generator(folded: Folded, step: Step) -> Graph:
    """The generator, its residual steps by `step`."""
    graph, slope = Graph(), folded.config.slope
    x = graph.turned("pre_turned", graph.conv("pre", folded.pre, "mel"))
    for i, stage in enumerate(folded.stages):
        x = graph.add("Add", f"curved{i}", graph.add("Sin", f"sine{i}", x), x)
        x = graph.turned(f"up{i}_in", graph.leaky(f"up{i}_leaky", x, slope))
        x = graph.up(f"up{i}", stage.up, x)
        if stage.down is not None:
            source = graph.turned(
                f"down{i}_turned", graph.conv(f"down{i}", stage.down, "excitation")
            )
            x = graph.add("Add", f"sourced{i}", x, source)
        outs = []
        for j, block in enumerate(stage.blocks):
            y = x
            for k, pair in enumerate(block):
                name = f"block{i}_{j}_{k}"
                y = graph.add("Add", f"{name}_sum", y, step(graph, name, pair, y, slope))
            outs.append(y)
        share = graph.constant(f"share{i}", np.array(1 / len(outs), dtype=np.float32))
        x = graph.add("Mul", f"mean{i}", graph.add("Sum", f"sum{i}", *outs), share)
    x = graph.turned("post_in", graph.leaky("post_leaky", x, FINAL_SLOPE))
    graph.add("Tanh", "wave", graph.conv("post", folded.post, x))
    return graph


def taps_of(conv: FoldedConv) -> Array:
    """[out, in, kernel]"""
    taps: Array = conv.weight[:, :, 0].numpy()
    return taps


def pads_of(conv: FoldedConv) -> list[int]:
    span = (conv.weight.shape[3] - 1) * conv.dilation + 1
    return [conv.left, max(0, span - conv.stride - conv.left)]
