"""The sequential parts as numba kernels; importing this needs numba.

Every kernel works on packed float32 arrays. Products run over four rows of a weight matrix at a
time and over the whole batch before the next four, so weights stream from cache once a step.
The first call compiles (seconds); the result is cached on disk, beside this file or in
`NUMBA_CACHE_DIR`.
"""

import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import exp, sqrt, tanh
from typing import Any, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.engine.sambert.layers import NORM_EPS
from worker.engine.sambert.loops import Array, DecoderInput, DecoderWeights, DurationWeights

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
_EPS = np.float32(NORM_EPS)
_HUGE = 2 * 1024 * 1024


def compiled(function: Kernel) -> Kernel:
    """Compile at first call. Sums may be reordered; NaN and infinity keep their meaning."""
    flags = {"reassoc", "contract", "nsz", "arcp"}
    try:
        jit = numba.njit(cache=True, nogil=True, fastmath=flags)(function)
    except RuntimeError:
        # Nowhere to keep the result, as on a read-only disk: every process compiles for itself.
        jit = numba.njit(nogil=True, fastmath=flags)(function)
    return cast(Kernel, jit)


@compiled
def affine(weight: Array, bias: Array, x: Array, out: Array) -> None:
    """out[b] = weight @ x[b] + bias: weight [n_out, n_in], x [items, n_in]."""
    n_out, n_in = weight.shape
    whole = n_out - n_out % 4
    for row in range(0, whole, 4):
        for b in range(x.shape[0]):
            s0 = s1 = s2 = s3 = np.float32(0)
            for j in range(n_in):
                value = x[b, j]
                s0 += weight[row, j] * value
                s1 += weight[row + 1, j] * value
                s2 += weight[row + 2, j] * value
                s3 += weight[row + 3, j] * value
            out[b, row] = s0 + bias[row]
            out[b, row + 1] = s1 + bias[row + 1]
            out[b, row + 2] = s2 + bias[row + 2]
            out[b, row + 3] = s3 + bias[row + 3]
    for row in range(whole, n_out):
        for b in range(x.shape[0]):
            s0 = np.float32(0)
            for j in range(n_in):
                s0 += weight[row, j] * x[b, j]
            out[b, row] = s0 + bias[row]


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
        units = weights[layer].shape[0]
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
        copy(qkv[b, width:], cache[b, step % slots])
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
    for weight in w.prenet_w:
        widest = max(widest, weight.shape[0])
    prenet_out = np.empty((2, n, widest), dtype=np.float32)
    no_bias = np.zeros(width, dtype=np.float32)
    window = bands.max() + 1
    cache = np.zeros((n_layers, n, window, 2 * width), dtype=np.float32)
    last = np.zeros((n, w.n_mels), dtype=np.float32)
    x = np.empty((n, width), dtype=np.float32)
    normed, update = np.empty_like(x), np.empty_like(x)
    mel = np.empty((n, out.shape[2]), dtype=np.float32)
    now = np.zeros((n, 3), dtype=np.int64)
    scratch = (
        normed,
        np.empty((n, 3 * width), dtype=np.float32),
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
        affine(w.in_w, no_bias, prenet, x[:active])
        for b in range(active):
            for j in range(width):
                x[b, j] += inputs[b, step, j]
            now[b, 0], now[b, 1], now[b, 2] = step, bands[b], lengths[b]
        for layer in range(n_layers):
            decode_block(w, layer, x[:active], cache[layer], memory_kv[layer], scratch)
        normalise(x[:active], normed[:active])
        affine(w.mel_w, w.mel_b, normed[:active], mel[:active])
        for b in range(active):
            copy(mel[b], out[b, step])
            copy(mel[b, mel.shape[1] - w.n_mels :], last[b])


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
    """Fill `out` [units] from `condition` [units, 4H]; each output is the next step's input."""
    units = w.out_w.shape[1]
    n_prenet = w.first_w.shape[1] - units
    widest = 0
    for weight in w.prenet_w:
        widest = max(widest, weight.shape[0])
    scratch = np.empty((2, 1, widest), dtype=np.float32)
    first_in = np.zeros((1, n_prenet + units), dtype=np.float32)
    second_in = np.zeros((1, 2 * units), dtype=np.float32)
    gates = np.empty((1, 4 * units), dtype=np.float32)
    cells = np.zeros((2, units), dtype=np.float32)
    y = np.zeros((1, 1), dtype=np.float32)
    for t in range(condition.shape[0]):
        prenet = run_prenet(w.prenet_w, w.prenet_b, y, scratch)
        copy(prenet[0], first_in[0])
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
    """An LSTM over time: gates [time, 4H] before the hidden state's part, out [time, H]."""
    time, units = out.shape
    hidden = np.zeros((1, units), dtype=np.float32)
    cell = np.zeros(units, dtype=np.float32)
    now = np.empty((1, 4 * units), dtype=np.float32)
    for i in range(time):
        t = time - 1 - i if backward else i
        affine(weight, gates[t], hidden, now)
        update_cell(now[0], cell, hidden[0])
        copy(hidden[0], out[t])


class CompiledLoops:
    """`Loops` as machine code."""

    def settle(self, weights: DecoderWeights) -> DecoderWeights:
        """One block in huge pages: a step reads all 16 MB once, and 4 KiB pages cost a fifth."""
        arrays = [field for field in weights if isinstance(field, np.ndarray)]
        block = _huge_block(sum(_aligned(array.nbytes) for array in arrays))
        moved: list[Any] = []
        at = 0
        for field in weights:
            if isinstance(field, np.ndarray):
                array = block[at : at + field.nbytes].view(np.float32).reshape(field.shape)
                array[...] = field
                at += _aligned(field.nbytes)
                moved.append(array)
            else:
                moved.append(field)
        return DecoderWeights(*moved)

    def durations(self, weights: DurationWeights, conditions: Sequence[Array]) -> list[Array]:
        found = []
        for condition in conditions:
            out = np.empty(len(condition), dtype=np.float32)
            predict_durations(weights, condition, out)
            found.append(out)
        return found

    def decode(self, weights: DecoderWeights, items: Sequence[DecoderInput]) -> list[Array]:
        order = sorted(range(len(items)), key=lambda i: -len(items[i].inputs))
        lengths = np.array([len(items[i].inputs) for i in order], dtype=np.int64)
        bands = np.array([items[i].band for i in order], dtype=np.int64)
        n, longest = len(items), int(lengths[0])
        n_layers, _, width = weights.qkv_w.shape
        inputs = np.zeros((n, longest, width), dtype=np.float32)
        memory_kv = np.zeros((n_layers, n, longest, 2 * width), dtype=np.float32)
        for b, index in enumerate(order):
            inputs[b, : lengths[b]] = items[index].inputs
            memory_kv[:, b, : lengths[b]] = items[index].memory_kv
        out = np.zeros((n, longest, len(weights.mel_b)), dtype=np.float32)
        decode(weights, inputs, memory_kv, lengths, bands, out)
        found = dict(zip(order, range(n), strict=True))
        return [out[found[i], : len(items[i].inputs)] for i in range(n)]

    def lstm(self, module: nn.LSTM) -> Callable[[Tensor], Tensor]:
        suffixes = ("", "_reverse") if module.bidirectional else ("",)
        directions = [_Direction(module, suffix) for suffix in suffixes]

        def run(x: Tensor) -> Tensor:
            return torch.cat([direction(x) for direction in directions], dim=1)

        return run


def _huge_block(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes, in huge pages where the system has them."""
    pages = mmap.mmap(-1, size + 2 * _HUGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # A kernel built without them refuses; ordinary pages do as well, only slower.
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    block = np.frombuffer(pages, dtype=np.uint8)
    return block[-block.ctypes.data % _HUGE :]


def _aligned(size: int) -> int:
    """`size` rounded up to whole cache lines."""
    return -(-size // 64) * 64


class _Direction:
    """One direction of an LSTM, its two bias vectors added."""

    def __init__(self, module: nn.LSTM, suffix: str) -> None:
        state = {name: value.detach() for name, value in module.named_parameters()}
        self.backward = suffix == "_reverse"
        self.input_w = state["weight_ih_l0" + suffix]
        self.bias = state["bias_ih_l0" + suffix] + state["bias_hh_l0" + suffix]
        self.hidden_w = np.ascontiguousarray(state["weight_hh_l0" + suffix].numpy())

    def __call__(self, x: Tensor) -> Tensor:
        gates = torch.addmm(self.bias, x, self.input_w.t()).numpy()
        out = np.empty((len(x), self.hidden_w.shape[1]), dtype=np.float32)
        scan(self.hidden_w, gates, self.backward, out)
        return torch.from_numpy(out)
