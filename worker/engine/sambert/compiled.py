"""The sequential parts as numba kernels; importing this needs numba.

Weights are packed in panels (see `tiles`), so a step reads each of them once for the whole batch.
The first call compiles (seconds); the result is cached on disk, beside this file or in
`NUMBA_CACHE_DIR`.
"""

from collections.abc import Sequence
from math import exp, tanh
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.engine.sambert.hifigan import Faster
from worker.engine.sambert.kernels import add, affine, attend, copy, normalise, relu
from worker.engine.sambert.layers import Blend, Near
from worker.engine.sambert.loops import (
    Array,
    Decoder,
    DecoderInput,
    DecoderWeights,
    Durations,
    DurationWeights,
    Lstm,
    longest_first,
)
from worker.engine.sambert.memory import gather
from worker.engine.sambert.slim import OUTPUTS, Slim, beside, multiply_one, slim
from worker.engine.sambert.tiles import LANES, compiled, pack, padded
from worker.engine.sambert.winograd import tiled_blocks


class Ends(NamedTuple):
    """Of `DecoderWeights`, what comes before and after the blocks."""

    prenet_w: tuple[Array, ...]
    prenet_b: tuple[Array, ...]
    in_w: Array
    mel_w: Array
    mel_b: Array
    n_heads: int
    n_mels: int


Weights = TypeVar("Weights", Ends, DurationWeights)


@compiled
def run_prenet(
    weights: tuple[Array, ...], biases: tuple[Array, ...], x: Array, scratch: Array
) -> Array:
    """Linear and ReLU per layer. `scratch` [2, items, widest] holds the layers' outputs."""
    for layer in range(len(weights)):
        units = biases[layer].shape[0]
        out = scratch[layer % 2].ravel()[: x.shape[0] * units].reshape(x.shape[0], units)
        affine(weights[layer], biases[layer], x, out)
        relu(out)
        x = out
    return x


class Maps(NamedTuple):
    """One of the maps every decoder block has: for several rows, for one, and its biases.

    Biases [L, out] hold whole records.
    """

    panels: Array  # [L, panels, 1, in, 16]
    slim: Slim
    bias: Array


class Blocks(NamedTuple):
    qkv: Maps
    mix: Maps
    up: Maps
    down: Maps


@compiled
def through(maps: Maps, layer: int, x: Array, out: Array) -> None:
    """One layer's map of x [items, in]; weights of 24 bits serve a single item."""
    if x.shape[0] == 1:
        one = Slim(maps.slim.records[layer], maps.slim.scale[layer])
        multiply_one(x[0], one, maps.bias[layer], out[0])
    else:
        affine(maps.panels[layer], maps.bias[layer], x, out)


@compiled
def decode_block(
    blocks: Blocks, layer: int, x: Array, cache: Array, memory_kv: Array, scratch: Any
) -> None:
    """One decoder block in place: x [items, D] plus attention, plus feed-forward.

    `cache` [items, slots, 2D] and `memory_kv` [items, steps, 2D] are this layer's.
    """
    normed, qkv, mixed, hidden, update, scores, now = scratch
    width, n = x.shape[1], x.shape[0]
    normalise(x, normed[:n])
    through(blocks.qkv, layer, normed[:n], qkv[:n])
    slots = cache.shape[1]
    for b in range(n):
        step, band, length = now[b]
        copy(qkv[b, width : 3 * width], cache[b, step % slots])
        query = qkv[b, :width]
        attend(query, cache[b], max(0, step - band), step, scores, mixed[b, :width])
        last = min(step + band, length - 1)
        attend(query, memory_kv[b], step, last, scores, mixed[b, width:])
    through(blocks.mix, layer, mixed[:n], update[:n])
    add(x, update[:n])
    normalise(x, normed[:n])
    through(blocks.up, layer, normed[:n], hidden[:n])
    relu(hidden[:n])
    through(blocks.down, layer, hidden[:n], update[:n])
    add(x, update[:n])


@compiled
def decode(w: Ends, blocks: Blocks, batch: Any, out: Array) -> None:
    """Fill `out` [items, steps, r*C] from a `_Batch`."""
    inputs, memory_kv, lengths, bands = batch
    n, _, width = inputs.shape
    n_layers = len(blocks.up.bias)
    widest = 0
    for bias in w.prenet_b:
        widest = max(widest, bias.shape[0])
    prenet_out = np.empty((2, n, widest), dtype=np.float32)
    window = bands.max() + 1
    cache = np.zeros((n_layers, n, window, 2 * width), dtype=np.float32)
    last = np.zeros((n, w.n_mels), dtype=np.float32)
    x = np.empty((n, width), dtype=np.float32)
    normed = np.empty_like(x)
    update = np.empty((n, blocks.down.bias.shape[1]), dtype=np.float32)
    no_bias = np.zeros(update.shape[1], dtype=np.float32)
    mel = np.empty((n, w.mel_b.shape[0]), dtype=np.float32)
    now = np.zeros((n, 3), dtype=np.int64)
    scratch = (
        normed,
        np.empty((n, blocks.qkv.bias.shape[1]), dtype=np.float32),
        np.empty((n, 2 * width), dtype=np.float32),
        np.empty((n, blocks.up.bias.shape[1]), dtype=np.float32),
        update,
        np.empty((window + 1, w.n_heads), dtype=np.float32),
        now,
    )
    active = n
    for step in range(lengths[0]):
        while lengths[active - 1] <= step:
            active -= 1
        prenet = run_prenet(w.prenet_w, w.prenet_b, last[:active], prenet_out)
        affine(w.in_w, no_bias, prenet, update[:active])
        for b in range(active):
            for j in range(width):
                x[b, j] = inputs[b, step, j] + update[b, j]
            now[b, 0], now[b, 1], now[b, 2] = step, bands[b], lengths[b]
        for layer in range(n_layers):
            decode_block(blocks, layer, x[:active], cache[layer], memory_kv[layer], scratch)
        normalise(x[:active], normed[:active])
        affine(w.mel_w, w.mel_b, normed[:active], mel[:active])
        for b in range(active):
            copy(mel[b, : out.shape[2]], out[b, step])
            copy(out[b, step, out.shape[2] - w.n_mels :], last[b])


@compiled
def update_cell(gates: Array, cell: Array, hidden: Array) -> None:
    """One LSTM step in place from its gates i, f, g, o [4H]."""
    units = cell.shape[0]
    one = np.float32(1)
    for j in range(units):
        write = one / (one + np.float32(exp(-gates[j])))
        keep = one / (one + np.float32(exp(-gates[units + j])))
        show = one / (one + np.float32(exp(-gates[3 * units + j])))
        cell[j] = keep * cell[j] + write * np.float32(tanh(gates[2 * units + j]))
        hidden[j] = show * np.float32(tanh(cell[j]))


@compiled
def predict_durations(w: DurationWeights, condition: Array, out: Array) -> None:
    """Fill `out` [units] from `condition` [units, 4H]; each output is the next step's input.

    Rows of the condition are whole panels.
    """
    units = w.out_w.shape[2]
    n_prenet = w.first_w.shape[2] - units
    widest = 0
    for bias in w.prenet_b:
        widest = max(widest, bias.shape[0])
    scratch = np.empty((2, 1, widest), dtype=np.float32)
    first_in = np.zeros((1, n_prenet + units), dtype=np.float32)
    second_in = np.zeros((1, 2 * units), dtype=np.float32)
    gates = np.empty((1, w.second_b.shape[0]), dtype=np.float32)
    cells = np.zeros((2, units), dtype=np.float32)
    y = np.zeros((1, w.out_b.shape[0]), dtype=np.float32)
    for t in range(condition.shape[0]):
        prenet = run_prenet(w.prenet_w, w.prenet_b, y, scratch)
        copy(prenet[0, :n_prenet], first_in[0])
        affine(w.first_w, condition[t], first_in, gates)
        update_cell(gates[0], cells[0], first_in[0, n_prenet:])
        copy(first_in[0, n_prenet:], second_in[0])
        affine(w.second_w, w.second_b, second_in, gates)
        update_cell(gates[0], cells[1], second_in[0, units:])
        affine(w.out_w, w.out_b, second_in[:, units:], y)
        relu(y)
        out[t] = y[0, 0]


@compiled
def scan(weight: Array, gates: Array, backward: bool, out: Array) -> None:
    """An LSTM over time: gates [time, 4H] before the hidden state's part, out [time, H].

    Rows of gates are whole panels.
    """
    time, units = out.shape
    hidden = np.zeros((1, units), dtype=np.float32)
    cell = np.zeros(units, dtype=np.float32)
    now = np.empty((1, gates.shape[1]), dtype=np.float32)
    for i in range(time):
        t = time - 1 - i if backward else i
        affine(weight, gates[t], hidden, now)
        update_cell(now[0], cell, hidden[0])
        copy(hidden[0], out[t])


@compiled
def blend(weight: Array, left: int, x: Array, out: Array) -> None:
    """Each channel convolved by itself: weight [kernel, C], x and out [time, C], zeros around."""
    time, channels = x.shape
    for t in range(time):
        for c in range(channels):
            out[t, c] = np.float32(0)
        for tap in range(max(0, left - t), min(weight.shape[0], time + left - t)):
            for c in range(channels):
                out[t, c] += weight[tap, c] * x[t + tap - left, c]


class CompiledLoops:
    """`Loops` as machine code."""

    def settle(self, net: nn.Module) -> None:
        """Packed weights: PyTorch would pack them anew at every call."""
        for parent in list(net.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear):
                    setattr(parent, name, _Map(child.weight, child.bias, 1))
                elif isinstance(child, Near):
                    setattr(parent, name, _Map(child.flat(), child.bias, child.kernel_size[0]))
                elif isinstance(child, Blend):
                    setattr(parent, name, _Blend(child))

    def durations(self, weights: DurationWeights) -> Durations:
        w = _packed(weights)

        def predict(conditions: Sequence[Array]) -> list[Array]:
            found = []
            for condition in conditions:
                out = np.empty(len(condition), dtype=np.float32)
                predict_durations(w, _widened(condition), out)
                found.append(out)
            return found

        return predict

    def decoder(self, weights: DecoderWeights) -> Decoder:
        w = _packed(Ends(*(getattr(weights, name) for name in Ends._fields)))
        blocks = _blocks(weights)
        n_out = len(weights.mel_b)

        def run(items: Sequence[DecoderInput]) -> list[Tensor]:
            ordered, places = longest_first(items)
            batch = _batch(ordered)
            n, longest, _ = batch.inputs.shape
            out = np.zeros((n, longest, n_out), dtype=np.float32)
            decode(w, blocks, batch, out)
            return [
                torch.from_numpy(out[at, : len(item.inputs)])
                for at, item in zip(places, items, strict=True)
            ]

        return run

    def blocks(self, slope: float) -> Faster | None:
        return tiled_blocks(slope)

    def lstm(self, module: nn.LSTM) -> Lstm:
        suffixes = ("", "_reverse") if module.bidirectional else ("",)
        directions = [_Direction(module, suffix) for suffix in suffixes]

        def run(items: Sequence[Tensor]) -> list[Tensor]:
            return [torch.cat([step(x) for step in directions], dim=1) for x in items]

        return run


class _Map(nn.Module):
    """A linear map of neighbours side by side, its weight [out, kernel * in] packed."""

    def __init__(self, weight: Tensor, bias: Tensor | None, kernel: int) -> None:
        super().__init__()
        self.kernel, self.n_out = kernel, len(weight)
        self.bias = np.zeros(padded(self.n_out), dtype=np.float32)
        if bias is not None:
            self.bias[: self.n_out] = bias.detach().numpy()
        self.weight = _panels(weight.detach().numpy())

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        beside = Near.beside(x, self.kernel)
        rows = beside.reshape(-1, beside.shape[-1]).contiguous().numpy()
        out = np.empty((len(rows), len(self.bias)), dtype=np.float32)
        affine(self.weight, self.bias, rows, out)
        return torch.from_numpy(out)[:, : self.n_out].reshape(*x.shape[:-1], self.n_out)


class _Blend(nn.Module):
    """A convolution of each channel by itself."""

    def __init__(self, conv: Blend) -> None:
        super().__init__()
        self.left = conv.around[0]
        self.weight = np.ascontiguousarray(conv.weight.detach().numpy()[:, 0].T)

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, time, C] to the same."""
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        for rows, made in zip(x.contiguous().numpy(), out.numpy(), strict=True):
            blend(self.weight, self.left, rows, made)
        return out


class _Batch(NamedTuple):
    """Several utterances' decoder memory as `decode` takes it.

    The longest comes first, so the items still running are always the first ones.
    """

    inputs: Array  # [items, steps, D]
    memory_kv: Array  # [L, items, steps, 2D]
    lengths: NDArray[np.int64]  # [items]
    bands: NDArray[np.int64]  # [items]


def _batch(items: Sequence[DecoderInput]) -> _Batch:
    lengths = np.array([len(item.inputs) for item in items], dtype=np.int64)
    n, longest = len(items), int(lengths[0])
    n_layers, _, width = items[0].memory_kv.shape
    inputs = np.zeros((n, longest, width // 2), dtype=np.float32)
    memory_kv = np.zeros((n_layers, n, longest, width), dtype=np.float32)
    for b, item in enumerate(items):
        inputs[b, : lengths[b]] = item.inputs.numpy()
        memory_kv[:, b, : lengths[b]] = item.memory_kv.numpy()
    bands = np.array([item.band for item in items], dtype=np.int64)
    return _Batch(inputs, memory_kv, lengths, bands)


class _Direction:
    """One direction of an LSTM, its two bias vectors added."""

    def __init__(self, module: nn.LSTM, suffix: str) -> None:
        state = {name: value.detach().numpy() for name, value in module.named_parameters()}
        self.backward = suffix == "_reverse"
        self.units = module.hidden_size
        self.bias = _widened(state["bias_ih_l0" + suffix] + state["bias_hh_l0" + suffix])
        self.input_w = _panels(state["weight_ih_l0" + suffix])
        self.hidden_w = _panels(state["weight_hh_l0" + suffix])

    def __call__(self, x: Tensor) -> Tensor:
        gates = np.empty((len(x), len(self.bias)), dtype=np.float32)
        affine(self.input_w, self.bias, x.contiguous().numpy(), gates)
        out = np.empty((len(x), self.units), dtype=np.float32)
        scan(self.hidden_w, gates, self.backward, out)
        return torch.from_numpy(out)


def _packed(weights: Weights) -> Weights:
    """The same fields, matrices (`_w`) packed and biases (`_b`) widened, side by side in memory."""
    arrays: list[Array] = []
    for name, field in zip(weights._fields, weights, strict=True):
        if isinstance(field, np.ndarray | tuple):
            fit = _panels if name.endswith("_w") else _widened
            arrays += map(fit, field) if isinstance(field, tuple) else [fit(field)]
    rest = iter(gather(arrays))
    moved: list[Any] = []
    for field in weights:
        if isinstance(field, tuple):
            moved.append(tuple(next(rest) for _ in field))
        else:
            moved.append(next(rest) if isinstance(field, np.ndarray) else field)
    return type(weights)(*moved)


def _blocks(weights: DecoderWeights) -> Blocks:
    """Both forms of the blocks' maps."""
    w = weights
    pairs = ((w.qkv_w, w.qkv_b), (w.mix_w, w.mix_b), (w.up_w, w.up_b), (w.down_w, w.down_b))
    slims = beside([slim(matrix) for matrix, _ in pairs])
    panels = gather([_panels(matrix) for matrix, _ in pairs])
    biases = gather([_widened(bias, OUTPUTS) for _, bias in pairs])
    return Blocks(*(Maps(*parts) for parts in zip(panels, slims, biases, strict=True)))


def _panels(matrix: Array) -> Array:
    """A matrix [out, in], or several stacked, packed: [..., panels, 1, in, 16]."""
    if matrix.ndim == 3:
        return np.stack([_panels(one) for one in matrix])
    return pack(matrix.T[None])


def _widened(rows: Array, multiple: int = LANES) -> Array:
    """Zeros added to the last axis up to whole panels, or another multiple."""
    missing = -rows.shape[-1] % multiple
    wide = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)]) if missing else rows
    return np.ascontiguousarray(wide)
