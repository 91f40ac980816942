"""The sequential parts as numba kernels; importing this needs numba.

Weights are packed in panels (see `tiles`), so a step reads each of them once for the whole batch.
The first call compiles (seconds); the result is cached on disk, beside this file or in
`NUMBA_CACHE_DIR`.
"""

from collections.abc import Callable, Sequence
from math import exp, sqrt, tanh
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.engine.sambert.hifigan import Faster
from worker.engine.sambert.layers import NORM_EPS, Blend, Near
from worker.engine.sambert.loops import (
    Array,
    Decoder,
    DecoderInput,
    DecoderWeights,
    Durations,
    DurationWeights,
)
from worker.engine.sambert.memory import gather
from worker.engine.sambert.tiles import Rows, address, compiled, multiply, pack, padded
from worker.engine.sambert.winograd import tiled_blocks

Weights = TypeVar("Weights", DecoderWeights, DurationWeights)
_EPS = np.float32(NORM_EPS)


@compiled
def affine(weight: Array, bias: Array, x: Array, out: Array) -> None:
    """out[b] = weight @ x[b] + bias, for packed weights; `out` holds whole panels a row."""
    to = Rows(address(out), out.strides[0], 0)
    multiply(x.shape[0], Rows(address(x), x.strides[0], 0), weight, bias, to)


@compiled
def copy(source: Array, target: Array) -> None:
    """One row; slice assignment would compile numba's whole string formatting for its errors."""
    for j in range(source.shape[0]):
        target[j] = source[j]


@compiled
def relu(x: Array) -> None:
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[b, j] = max(x[b, j], np.float32(0))


@compiled
def add(x: Array, y: Array) -> None:
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[b, j] += y[b, j]


@compiled
def normalise(x: Array, out: Array) -> None:
    """Each row with mean 0 and variance 1; scale and bias are folded into what follows."""
    width = x.shape[1]
    for b in range(x.shape[0]):
        total = np.float32(0)
        for j in range(width):
            total += x[b, j]
        mean = total / np.float32(width)
        squares = np.float32(0)
        for j in range(width):
            squares += (x[b, j] - mean) * (x[b, j] - mean)
        scale = np.float32(1) / np.float32(sqrt(squares / np.float32(width) + _EPS))
        for j in range(width):
            out[b, j] = (x[b, j] - mean) * scale


@compiled
def find_tops(scores: Array, edge: Array) -> None:
    """The largest of each column of scores [window, heads] into `edge` [heads]."""
    copy(scores[0], edge)
    for i in range(1, scores.shape[0]):
        for h in range(scores.shape[1]):
            edge[h] = max(edge[h], scores[i, h])


@compiled
def soften(scores: Array, edge: Array) -> None:
    """Softmax down each column of scores [window, heads]; `edge` [heads] is scratch."""
    n, n_heads = scores.shape
    find_tops(scores, edge)
    for i in range(n):
        for h in range(n_heads):
            scores[i, h] = np.float32(exp(scores[i, h] - edge[h]))
    for h in range(n_heads):
        edge[h] = np.float32(0)
    for i in range(n):
        for h in range(n_heads):
            edge[h] += scores[i, h]
    for i in range(n):
        for h in range(n_heads):
            scores[i, h] /= edge[h]


@compiled
def attend(query: Array, rows: Array, first: int, last: int, scratch: Array, out: Array) -> None:
    """Mix the values of rows `first`..`last` by how well their keys fit `query`.

    `rows` [slots, 2D] holds keys then values and is a ring: row i lies in slot i % slots. Channels
    of the heads alternate, so that one vector operation serves all heads. `scratch` is
    [window + 1, heads].
    """
    width, slots, n_heads = out.shape[0], rows.shape[0], scratch.shape[1]
    n = last - first + 1
    scores = scratch[:n]
    for i in range(n):
        row = rows[(first + i) % slots]
        for h in range(n_heads):
            scores[i, h] = np.float32(0)
        for at in range(0, width, n_heads):
            for h in range(n_heads):
                scores[i, h] += query[at + h] * row[at + h]
    soften(scores, scratch[n])
    for j in range(width):
        out[j] = np.float32(0)
    for i in range(n):
        row = rows[(first + i) % slots]
        for at in range(0, width, n_heads):
            for h in range(n_heads):
                out[at + h] += scores[i, h] * row[width + at + h]


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


@compiled
def decode_block(
    w: DecoderWeights, layer: int, x: Array, cache: Array, memory_kv: Array, scratch: Any
) -> None:
    """One decoder block in place: x [items, D] plus attention, plus feed-forward.

    `cache` [items, slots, 2D] and `memory_kv` [items, steps, 2D] are this layer's.
    """
    normed, qkv, mixed, hidden, update, scores, now = scratch
    width, n = x.shape[1], x.shape[0]
    normalise(x, normed[:n])
    affine(w.qkv_w[layer], w.qkv_b[layer], normed[:n], qkv[:n])
    slots = cache.shape[1]
    for b in range(n):
        step, band, length = now[b]
        copy(qkv[b, width : 3 * width], cache[b, step % slots])
        query = qkv[b, :width]
        attend(query, cache[b], max(0, step - band), step, scores, mixed[b, :width])
        last = min(step + band, length - 1)
        attend(query, memory_kv[b], step, last, scores, mixed[b, width:])
    affine(w.mix_w[layer], w.mix_b[layer], mixed[:n], update[:n])
    add(x, update[:n])
    normalise(x, normed[:n])
    affine(w.up_w[layer], w.up_b[layer], normed[:n], hidden[:n])
    relu(hidden[:n])
    affine(w.down_w[layer], w.down_b[layer], hidden[:n], update[:n])
    add(x, update[:n])


@compiled
def decode(
    w: DecoderWeights, inputs: Array, memory_kv: Array, lengths: Any, bands: Any, out: Array
) -> None:
    """Fill `out` [items, steps, r*C].

    inputs [items, steps, D], memory_kv [L, items, steps, 2D], lengths and bands [items],
    lengths falling, so the items still running are always the first ones.
    """
    n, _, width = inputs.shape
    n_layers, n_ffn = w.up_b.shape
    widest = 0
    for bias in w.prenet_b:
        widest = max(widest, bias.shape[0])
    prenet_out = np.empty((2, n, widest), dtype=np.float32)
    window = bands.max() + 1
    cache = np.zeros((n_layers, n, window, 2 * width), dtype=np.float32)
    last = np.zeros((n, w.n_mels), dtype=np.float32)
    x = np.empty((n, width), dtype=np.float32)
    normed = np.empty_like(x)
    update = np.empty((n, w.down_b.shape[1]), dtype=np.float32)
    no_bias = np.zeros(update.shape[1], dtype=np.float32)
    mel = np.empty((n, w.mel_b.shape[0]), dtype=np.float32)
    now = np.zeros((n, 3), dtype=np.int64)
    scratch = (
        normed,
        np.empty((n, w.qkv_b.shape[1]), dtype=np.float32),
        np.empty((n, 2 * width), dtype=np.float32),
        np.empty((n, n_ffn), dtype=np.float32),
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
            decode_block(w, layer, x[:active], cache[layer], memory_kv[layer], scratch)
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
        w = _packed(weights)
        n_out = len(weights.mel_b)

        def run(items: Sequence[DecoderInput]) -> list[Tensor]:
            order = sorted(range(len(items)), key=lambda i: -len(items[i].inputs))
            batch = _batch([items[i] for i in order])
            n, longest, _ = batch.inputs.shape
            out = np.zeros((n, longest, n_out), dtype=np.float32)
            decode(w, *batch, out)
            found = dict(zip(order, range(n), strict=True))
            return [torch.from_numpy(out[found[i], : len(items[i].inputs)]) for i in range(n)]

        return run

    def blocks(self, slope: float) -> Faster | None:
        return tiled_blocks(slope)

    def lstm(self, module: nn.LSTM) -> Callable[[Tensor], Tensor]:
        suffixes = ("", "_reverse") if module.bidirectional else ("",)
        directions = [_Direction(module, suffix) for suffix in suffixes]

        def run(x: Tensor) -> Tensor:
            return torch.cat([direction(x) for direction in directions], dim=1)

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
    """Several utterances' decoder memory as `decode` takes it, the longest first."""

    inputs: Array
    memory_kv: Array
    lengths: NDArray[np.int64]
    bands: NDArray[np.int64]


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


def _panels(matrix: Array) -> Array:
    """A matrix [out, in], or several stacked, packed: [..., panels, 1, in, 16]."""
    if matrix.ndim == 3:
        return np.stack([_panels(one) for one in matrix])
    return pack(matrix.T[None])


def _widened(rows: Array) -> Array:
    """Zeros added to the last axis up to whole panels."""
    missing = padded(rows.shape[-1]) - rows.shape[-1]
    wide = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)]) if missing else rows
    return np.ascontiguousarray(wide)
