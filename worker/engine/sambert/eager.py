"""The sequential parts in plain PyTorch: slower, and the reference the compiled ones must meet."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.engine.sambert.layers import NORM_EPS
from worker.engine.sambert.loops import (
    Array,
    Decoder,
    DecoderInput,
    DecoderWeights,
    Durations,
    DurationWeights,
)


class EagerLoops:
    """`Loops` without a compiler; decoding steps are batched over utterances."""

    def settle(self, net: nn.Module) -> None:
        """Nothing: PyTorch's own are all there are."""

    def durations(self, weights: DurationWeights) -> Durations:
        return lambda conditions: [_durations(weights, torch.from_numpy(c)) for c in conditions]

    def decoder(self, weights: DecoderWeights) -> Decoder:
        return lambda items: _Decoding(weights, items).run()

    def lstm(self, module: nn.LSTM) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            out: Tensor = module(x)[0]
            return out

        return run


def _prenet(weights: tuple[Array, ...], biases: tuple[Array, ...], x: Tensor) -> Tensor:
    for weight, bias in zip(weights, biases, strict=True):
        x = F.relu(F.linear(x, torch.from_numpy(weight), torch.from_numpy(bias)))
    return x


def _cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _durations(weights: DurationWeights, condition: Tensor) -> Array:
    units = weights.out_w.shape[1]
    h0 = c0 = h1 = c1 = torch.zeros(units)
    first, second = torch.from_numpy(weights.first_w), torch.from_numpy(weights.second_w)
    second_b, out_w = torch.from_numpy(weights.second_b), torch.from_numpy(weights.out_w)
    y = torch.zeros(1)
    found = np.zeros(len(condition), dtype=np.float32)
    for t, row in enumerate(condition):
        x = _prenet(weights.prenet_w, weights.prenet_b, y)
        h0, c0 = _cell(first @ torch.cat([x, h0]) + row, c0)
        h1, c1 = _cell(second @ torch.cat([h0, h1]) + second_b, c1)
        y = F.relu(out_w @ h1 + torch.from_numpy(weights.out_b))
        found[t] = y.item()
    return found


class _Layer(NamedTuple):
    """One block's weights, named as in `DecoderWeights`."""

    qkv_w: Tensor
    qkv_b: Tensor
    mix_w: Tensor
    mix_b: Tensor
    up_w: Tensor
    up_b: Tensor
    down_w: Tensor
    down_b: Tensor


class _Decoding:
    """One batch on its way through the decoder, longest utterance first."""

    def __init__(self, weights: DecoderWeights, items: Sequence[DecoderInput]) -> None:
        self.order = sorted(range(len(items)), key=lambda i: -len(items[i].inputs))
        chosen = [items[i] for i in self.order]
        self.steps = [len(item.inputs) for item in chosen]
        self.weights = weights
        n, longest = len(items), self.steps[0]
        n_layers, _, width = weights.qkv_w.shape
        stacks = [getattr(weights, field) for field in _Layer._fields]
        self.layers = [_Layer(*(torch.from_numpy(s[i]) for s in stacks)) for i in range(n_layers)]
        self.inputs = torch.zeros(n, longest, width)
        self.memory_kv = torch.zeros(n_layers, n, longest, 2 * width)
        for b, item in enumerate(chosen):
            self.inputs[b, : self.steps[b]] = torch.from_numpy(item.inputs)
            self.memory_kv[:, b, : self.steps[b]] = torch.from_numpy(item.memory_kv)
        self.cache = torch.zeros_like(self.memory_kv)
        self.lengths = torch.tensor(self.steps)
        self.bands = torch.tensor([item.band for item in chosen])
        self.out = torch.zeros(n, longest, len(weights.mel_b))

    def run(self) -> list[Array]:
        active = len(self.steps)
        for t in range(self.steps[0]):
            while self.steps[active - 1] <= t:
                active -= 1
            self._step(t, active)
        found: list[Array] = [np.empty(0, dtype=np.float32)] * len(self.steps)
        for b, index in enumerate(self.order):
            found[index] = self.out[b, : self.steps[b]].numpy()
        return found

    def _step(self, t: int, active: int) -> None:
        w = self.weights
        last = self.out[:active, t - 1, -w.n_mels :] if t else torch.zeros(active, w.n_mels)
        prenet = _prenet(w.prenet_w, w.prenet_b, last)
        x = self.inputs[:active, t] + F.linear(prenet, torch.from_numpy(w.in_w))
        for index, layer in enumerate(self.layers):
            x = x + self._attend(index, layer, x, t)
            hidden = F.relu(F.linear(_normed(x), layer.up_w, layer.up_b))
            x = x + F.linear(hidden, layer.down_w, layer.down_b)
        mel = F.linear(_normed(x), torch.from_numpy(w.mel_w), torch.from_numpy(w.mel_b))
        self.out[:active, t] = mel

    def _attend(self, index: int, layer: _Layer, x: Tensor, t: int) -> Tensor:
        """Self and memory attention of one block, mixed: [active, D]."""
        active, width = x.shape
        bands = self.bands[:active, None]
        reach = int(bands.max())
        qkv = F.linear(_normed(x), layer.qkv_w, layer.qkv_b)
        q, kv = qkv[:, :width], qkv[:, width:]
        self.cache[index, :active, t] = kv
        first = max(0, t - reach)
        past = torch.arange(first, t + 1) >= t - bands  # [active, window]
        self_part = self._mix(q, self.cache[index, :active, first : t + 1], past)
        last = min(t + reach, self.steps[0] - 1)
        ahead = torch.arange(t, last + 1)
        ahead = (ahead <= t + bands) & (ahead < self.lengths[:active, None])
        memory_part = self._mix(q, self.memory_kv[index, :active, t : last + 1], ahead)
        return F.linear(torch.cat([self_part, memory_part], dim=1), layer.mix_w, layer.mix_b)

    def _mix(self, q: Tensor, kv: Tensor, seen: Tensor) -> Tensor:
        """The values of a window by how well its keys fit: q [n, D], kv [n, window, 2D]."""
        n, window, _ = kv.shape
        # Heads alternate along the channels, as `decoder.pack_decoder` leaves them.
        k, v = kv.view(n, window, 2, -1, self.weights.n_heads).permute(2, 0, 4, 1, 3)
        query = q.view(n, -1, self.weights.n_heads).transpose(1, 2)  # [n, heads, units]
        scores = k @ query[..., None]  # [n, heads, window, 1]
        scores = scores.masked_fill(~seen[:, None, :, None], -torch.inf)
        mixed: Tensor = (scores.softmax(2) * v).sum(2)
        return mixed.transpose(1, 2).reshape(n, -1)


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
