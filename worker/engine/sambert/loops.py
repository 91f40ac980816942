"""What the sequential parts of the acoustic model need: packed weights and the loops over them.

The duration predictor, the mel decoder and the LSTMs go step by step, and each step is a few
small products, so a framework's overhead would be most of their time. `compiled` runs them with
numba; `eager` with PyTorch where numba is not installed or the network is on a GPU.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.engine.sambert.hifigan import Faster

Array = NDArray[np.float32]


class DurationWeights(NamedTuple):
    """The duration predictor after its condition. H is the LSTM's width, P the prenet's.

    `first_w` [4H, P + H] takes prenet and hidden state side by side, `second_w` [4H, 2H] both
    hidden states; gates are in the order i, f, g, o. The first layer's bias is in the condition.
    """

    prenet_w: tuple[Array, ...]
    prenet_b: tuple[Array, ...]
    first_w: Array
    second_w: Array
    second_b: Array
    out_w: Array  # [1, H]
    out_b: Array  # [1]


class DecoderWeights(NamedTuple):
    """The mel decoder's step with everything foldable folded (see `decoder.pack_decoder`).

    D is its width, F the feed-forward's, L the layers, r*C the mel values a step.
    """

    prenet_w: tuple[Array, ...]
    prenet_b: tuple[Array, ...]
    in_w: Array  # [D, prenet]
    qkv_w: Array  # [L, 3D, D]
    qkv_b: Array  # [L, 3D]
    mix_w: Array  # [L, D, 2D], over self and memory contexts side by side
    mix_b: Array  # [L, D]
    up_w: Array  # [L, F, D]
    up_b: Array  # [L, F]
    down_w: Array  # [L, D, F]
    down_b: Array  # [L, D]
    mel_w: Array  # [r*C, D]
    mel_b: Array  # [r*C]
    n_heads: int
    n_mels: int


class DecoderInput(NamedTuple):
    """One utterance's decoder memory, projected.

    `inputs` [steps, D] is the memory's part of the step's input, `memory_kv` [L, steps, 2D] the
    keys and values of each layer, `band` the window's width in steps.
    """

    inputs: Tensor
    memory_kv: Tensor
    band: int


Durations = Callable[[Sequence[Array]], list[Array]]
Decoder = Callable[[Sequence[DecoderInput]], list[Tensor]]
Lstm = Callable[[Sequence[Tensor]], list[Tensor]]


def as_array(tensor: Tensor) -> Array:
    """A weight's values as loops take them."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def longest_first(items: Sequence[DecoderInput]) -> tuple[list[DecoderInput], list[int]]:
    """The items by falling length, and where each of the given ones is among them."""
    order = sorted(range(len(items)), key=lambda i: -len(items[i].inputs))
    return [items[i] for i in order], sorted(range(len(items)), key=order.__getitem__)


class Loops(Protocol):
    """One way to run the sequential parts; each method prepares a loop over given weights."""

    def settle(self, net: nn.Module) -> None:
        """Replace the maps among a network's modules by faster ones, where there are any."""

    def durations(self, weights: DurationWeights) -> Durations:
        """log(1 + frames) of each unit: [units] for each condition [units, 4H]."""

    def decoder(self, weights: DecoderWeights) -> Decoder:
        """Mel frames [steps, r*C] for each item; no item sees another."""

    def blocks(self, slope: float) -> Faster | None:
        """What makes residual blocks faster than PyTorch's convolutions, if anything does."""

    def lstm(self, module: nn.LSTM) -> Lstm:
        """A one-layer LSTM: [time, units * directions] for each item [time, channels]."""
