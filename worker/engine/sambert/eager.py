"""The sequential parts in plain PyTorch: on the processor without numba, and on a GPU.

The decoder's step has no shape or branch that depends on where it is, so that a GPU can record it
once as a graph and play it for every step, without a launch from Python for each small product.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_sequence, unpack_sequence

from worker.engine.sambert.device import CPU
from worker.engine.sambert.hifigan import Faster
from worker.engine.sambert.layers import NORM_EPS
from worker.engine.sambert.loops import (
    Array,
    Decoder,
    DecoderInput,
    DecoderWeights,
    Durations,
    DurationWeights,
    Loops,
    Lstm,
    longest_first,
)


class EagerLoops:
    """`Loops` of PyTorch's own operations on one device.

    Durations are one unit after another, a few numbers each: they stay on the processor, and
    with `host`, another `Loops`, when one is given.
    """

    def __init__(self, device: torch.device = CPU, host: Loops | None = None) -> None:
        self.device, self.host = device, host

    def settle(self, net: nn.Module) -> None:
        """Nothing: PyTorch's own maps are all there are."""

    def blocks(self, _slope: float) -> Faster | None:
        return None

    def durations(self, weights: DurationWeights) -> Durations:
        if self.host is not None:
            return self.host.durations(weights)
        return lambda conditions: [_durations(weights, torch.from_numpy(c)) for c in conditions]

    def decoder(self, weights: DecoderWeights) -> Decoder:
        moved = on(weights, self.device)
        return lambda items: _decode(moved, items, self.device)

    def lstm(self, module: nn.LSTM) -> Lstm:
        def run(items: Sequence[Tensor]) -> list[Tensor]:
            if module.bidirectional:
                return unpack_sequence(module(pack_sequence(list(items), enforce_sorted=False))[0])
            # What follows an item's end cannot reach it, and packing costs a GPU a launch a step.
            states = module(pad_sequence(list(items), batch_first=True))[0]
            return [row[: len(item)] for row, item in zip(states, items, strict=True)]

        return run


def _prenet(weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor) -> Tensor:
    for weight, bias in zip(weights, biases, strict=True):
        x = F.relu(F.linear(x, weight, bias))
    return x


def _cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _durations(weights: DurationWeights, condition: Tensor) -> Array:
    w = on(weights, CPU)
    h0 = c0 = h1 = c1 = torch.zeros(w.out_w.shape[1])
    y = torch.zeros(1)
    found = np.zeros(len(condition), dtype=np.float32)
    for t, row in enumerate(condition):
        x = _prenet(w.prenet_w, w.prenet_b, y)
        h0, c0 = _cell(w.first_w @ torch.cat([x, h0]) + row, c0)
        h1, c1 = _cell(w.second_w @ torch.cat([h0, h1]) + w.second_b, c1)
        y = F.relu(w.out_w @ h1 + w.out_b)
        found[t] = y.item()
    return found


def on(weights: DecoderWeights | DurationWeights, device: torch.device) -> Any:
    """The same fields as tensors on `device`."""
    moved: list[Any] = []
    for field in weights:
        if isinstance(field, np.ndarray):
            moved.append(torch.from_numpy(field).to(device))
        elif isinstance(field, tuple):
            moved.append(tuple(torch.from_numpy(part).to(device) for part in field))
        else:
            moved.append(field)
    return type(weights)(*moved)


def _decode(weights: Any, items: Sequence[DecoderInput], device: torch.device) -> list[Tensor]:
    """The frames of each item; a GPU records the step and plays it back."""
    ordered, places = longest_first(items)
    state = Decoding(weights, ordered, device)
    if device.type == "cuda":
        _play(state)
    else:
        state.run()
    return [state.out[at, : len(item.inputs)] for at, item in zip(places, items, strict=True)]


def _play(state: "Decoding") -> None:
    """All steps from one recorded graph."""
    with torch.cuda.device(state.out.device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # What libraries set up at first use must not be recorded.
            state.step(len(state.steps))
        torch.cuda.current_stream().wait_stream(side)
        state.restart()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            state.step(len(state.steps))
        for _ in range(state.steps[0]):
            graph.replay()


class Decoding:
    """One batch on its way through the decoder, longest utterance first."""

    def __init__(self, weights: Any, items: Sequence[DecoderInput], device: torch.device) -> None:
        self.w = weights
        self.steps = [len(item.inputs) for item in items]
        n, longest = len(items), self.steps[0]
        n_layers, _, width = weights.qkv_w.shape
        self.window = max(item.band for item in items) + 1

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device)

        self.inputs = zeros(n, longest, width)
        # As many rows more as a window reaches beyond the last step.
        self.memory_kv = zeros(n_layers, n, longest + self.window, 2 * width)
        for b, item in enumerate(items):
            self.inputs[b, : self.steps[b]] = item.inputs
            self.memory_kv[:, b, : self.steps[b]] = item.memory_kv
        # Each layer's keys and values of two windows: the steps behind, a ring, and the memory
        # ahead.
        self.near_kv = zeros(n_layers, n, 2, self.window, 2 * width)
        self.lengths = torch.tensor(self.steps, device=device)[:, None]
        self.bands = torch.tensor([item.band for item in items], device=device)[:, None]
        self.slots = torch.arange(self.window, device=device)
        self.out = zeros(n, longest, len(weights.mel_b))
        self.last = zeros(n, weights.n_mels)
        self.now = torch.zeros(1, dtype=torch.int64, device=device)

    def run(self) -> None:
        active = len(self.steps)
        for t in range(self.steps[0]):
            while self.steps[active - 1] <= t:
                active -= 1
            self.step(active)

    def restart(self) -> None:
        """Back before the first step."""
        self.now.zero_()
        self.last.zero_()
        self.near_kv.zero_()

    def step(self, active: int) -> None:
        """The next step of the first `active` items."""
        w = self.w
        slot, unseen = self.now % self.window, self._unseen(active)
        ahead = self.memory_kv[:, :active].index_select(2, self.now + self.slots)
        self.near_kv[:, :active, 1] = ahead
        prenet = _prenet(w.prenet_w, w.prenet_b, self.last[:active])
        given = self.inputs[:active].index_select(1, self.now)
        x = given[:, 0] + F.linear(prenet, w.in_w)
        for i in range(len(self.near_kv)):
            near = self.near_kv[i, :active]
            qkv = F.linear(_normed(x), w.qkv_w[i], w.qkv_b[i])
            q, kv = qkv[:, : x.shape[1]], qkv[:, x.shape[1] :]
            near[:, 0].index_copy_(1, slot, kv[:, None])
            x = x + F.linear(self._mix(q, near, unseen), w.mix_w[i], w.mix_b[i])
            hidden = F.relu(F.linear(_normed(x), w.up_w[i], w.up_b[i]))
            x = x + F.linear(hidden, w.down_w[i], w.down_b[i])
        mel = F.linear(_normed(x), w.mel_w, w.mel_b)
        self.out[:active].index_copy_(1, self.now, mel[:, None])
        self.last[:active] = mel[:, -w.n_mels :]
        self.now += 1

    def _unseen(self, active: int) -> Tensor:
        """What is added to the scores of both windows [active, 2, window, 1]: nothing, or -inf."""
        behind = (self.now - self.slots) % self.window  # how many steps ago a slot was filled
        past = (behind <= self.bands[:active]) & (behind <= self.now)
        rows = self.now + self.slots
        ahead = (self.slots <= self.bands[:active]) & (rows < self.lengths[:active])
        # An utterance that has ended sees one row, for the softmax of nothing is no number.
        ahead = ahead | (self.slots == 0)
        seen = torch.stack([past, ahead], dim=1)[..., None]
        return torch.where(seen, 0.0, -torch.inf)

    def _mix(self, q: Tensor, near: Tensor, unseen: Tensor) -> Tensor:
        """The values of both windows by how well their keys fit: [n, 2D].

        q [n, D], near [n, 2, window, 2D]. Products are summed rather than multiplied as matrices:
        so small, those would first be copied into order.
        """
        n, _, window, _ = near.shape
        # Heads alternate along the channels, as `decoder.pack_decoder` leaves them.
        k, v = near.view(n, 2, window, 2, -1, self.w.n_heads).unbind(3)
        scores = (k * q.reshape(n, 1, 1, -1, self.w.n_heads)).sum(3)  # [n, 2, window, heads]
        shares = (scores + unseen).softmax(2)
        mixed: Tensor = (shares[:, :, :, None] * v).sum(2)
        return mixed.reshape(n, -1)


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
