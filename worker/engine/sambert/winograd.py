"""Convolutions with fewer multiplications: Toom-Cook tiles, exact but for rounding.

A kernel's taps are taken in groups of four, and for each group four outputs need seven products
instead of sixteen, made as matrix products over channels (Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2016, in one dimension). The activation before, the bias and the
residual sum after are part of the transforms. Importing this needs numba.

Row r of a block is tile r // dilation of the samples whose index is r % dilation modulo the
dilation, so a block covers a stretch of time and the next tile lies `dilation` rows on:

    samples [time, C] --spread--> inputs [7, rows + (groups - 1) * dilation, C]
    products [7, rows, C] = sum over groups g of inputs[:, g * dilation :][:, :rows] @ weights[g]
    products --gather--> samples [time, C]
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.sambert.compiled import compiled
from worker.engine.sambert.hifigan import FoldedConv, Pair
from worker.engine.sambert.loops import Array

TILE = 4  # outputs a tile, and taps a group
SIZE = 2 * TILE - 1  # products a tile and group
# Found by search for the least rounding error among small fractions; infinity is the last point.
POINTS = (0.0, -2.0, -1.0, -0.5, 1.0, 1.5)
_BLOCK_FLOATS = 1 << 17  # of one block's inputs, about an L2 cache


class Transforms(NamedTuple):
    """`spread` [7, 7] of inputs, `weights` [7, 4] of taps, `gather` [4, 7] of products."""

    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    gather: NDArray[np.float64]


def transforms() -> Transforms:
    """The matrices of the points, the rows of `spread` scaled to keep magnitudes alike."""
    points = np.array(POINTS)
    spread, weights = np.zeros((SIZE, SIZE)), np.zeros((SIZE, TILE))
    gather = np.zeros((TILE, SIZE))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        spread[j, : SIZE - 1] = np.poly(others)[::-1]
        weights[j] = point ** np.arange(TILE) / np.prod(point - others)
        gather[:, j] = point ** np.arange(TILE)
    spread[-1], weights[-1, -1], gather[-1, -1] = np.poly(points)[::-1], 1.0, 1.0
    # Powers of two, so that scaling itself rounds nothing.
    scale = 2.0 ** np.round(np.log2(np.abs(spread).sum(axis=1, keepdims=True)))
    return Transforms(spread / scale, weights * scale, gather)


def _constants(matrix: NDArray[np.float64]) -> tuple[tuple[Any, ...], ...]:
    """Tuples, which a kernel compiles in as constants."""
    return tuple(tuple(np.float32(value) for value in row) for row in matrix)


_S = _constants(transforms().spread)
_G = _constants(transforms().gather)


@compiled
def dot(f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any, h: Any) -> Any:  # noqa: PLR0913  # unrolled
    """Seven factors times seven values: what makes the transforms' loops straight lines."""
    return f[0] * a + f[1] * b + f[2] * c + f[3] * d + f[4] * e + f[5] * g + f[6] * h


@compiled
def activate(x: Array, slope: Any, before: int, out: Array) -> None:
    """LeakyReLU of x [time, C] into `out` from row `before` on; zeros before and after."""
    time, channels = x.shape
    out[:before] = np.float32(0)
    for t in range(time):
        for c in range(channels):
            out[before + t, c] = max(x[t, c], x[t, c] * slope)
    out[before + time :] = np.float32(0)


@compiled
def spread_rows(x: Array, step: int, first: int, out: Array) -> None:
    """Fill out [7, rows, C] with the transformed tiles from row `first` on of padded x."""
    for row in range(out.shape[1]):
        at = (first + row) // step * TILE * step + (first + row) % step
        for c in range(out.shape[2]):
            v0, v1, v2 = x[at, c], x[at + step, c], x[at + 2 * step, c]
            v3, v4, v5 = x[at + 3 * step, c], x[at + 4 * step, c], x[at + 5 * step, c]
            v6 = x[at + 6 * step, c]
            out[0, row, c] = dot(_S[0], v0, v1, v2, v3, v4, v5, v6)
            out[1, row, c] = dot(_S[1], v0, v1, v2, v3, v4, v5, v6)
            out[2, row, c] = dot(_S[2], v0, v1, v2, v3, v4, v5, v6)
            out[3, row, c] = dot(_S[3], v0, v1, v2, v3, v4, v5, v6)
            out[4, row, c] = dot(_S[4], v0, v1, v2, v3, v4, v5, v6)
            out[5, row, c] = dot(_S[5], v0, v1, v2, v3, v4, v5, v6)
            out[6, row, c] = dot(_S[6], v0, v1, v2, v3, v4, v5, v6)


@compiled
def gather_rows(p: Array, step: int, first: int, bias: Array, base: Array, out: Array) -> None:
    """Turn products p [7, rows, C] into out [time, C] from row `first` on, bias and base added.

    `base` is [time, C], or empty for none.
    """
    channels = out.shape[1]
    tile = np.empty((TILE, channels), dtype=np.float32)
    for row in range(p.shape[1]):
        for c in range(channels):
            m0, m1, m2, m3 = p[0, row, c], p[1, row, c], p[2, row, c], p[3, row, c]
            m4, m5, m6 = p[4, row, c], p[5, row, c], p[6, row, c]
            tile[0, c] = bias[c] + dot(_G[0], m0, m1, m2, m3, m4, m5, m6)
            tile[1, c] = bias[c] + dot(_G[1], m0, m1, m2, m3, m4, m5, m6)
            tile[2, c] = bias[c] + dot(_G[2], m0, m1, m2, m3, m4, m5, m6)
            tile[3, c] = bias[c] + dot(_G[3], m0, m1, m2, m3, m4, m5, m6)
        at = (first + row) // step * TILE * step + (first + row) % step
        for o in range(min(TILE, (out.shape[0] - at + step - 1) // step)):
            t = at + o * step
            if base.shape[0]:
                for c in range(channels):
                    out[t, c] = tile[o, c] + base[t, c]
            else:
                for c in range(channels):
                    out[t, c] = tile[o, c]


class Scratch:
    """Memory that convolutions use one after another: fresh pages would cost as much as sums."""

    def __init__(self) -> None:
        self._parts: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        size = prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = torch.zeros(size)
        return part[:size].view(shape)


class TiledConv:
    """One convolution of equal input and output channels: LeakyReLU, convolve, add."""

    def __init__(self, conv: FoldedConv, slope: float, scratch: Scratch) -> None:
        channels, _, _, kernel = conv.weight.shape
        self.slope = np.float32(slope)
        self.rate, self.left = conv.dilation, conv.left
        self.groups = -(-kernel // TILE)
        taps = np.zeros((self.groups * TILE, channels, channels))
        taps[:kernel] = conv.weight[:, :, 0].permute(2, 1, 0).double().numpy()
        grouped = taps.reshape(self.groups, TILE, channels, channels)
        weights = np.einsum("jl,glio->gjio", transforms().weights, grouped)
        self.weights = torch.from_numpy(weights.astype(np.float32))  # [groups, 7, in, out]
        bias = conv.bias if conv.bias is not None else torch.zeros(channels)
        self.bias: Array = bias.numpy()
        self.n_rows = max(1, _BLOCK_FLOATS // (SIZE * channels))
        self.scratch = scratch

    def __call__(self, x: Array, base: Array, out: Array) -> Array:
        """`out` [time, C], filled with conv(leaky(x)) + base; an empty `base` adds nothing."""
        time, channels = x.shape
        total = -(-time // (self.rate * TILE)) * self.rate
        extra = (self.groups - 1) * self.rate
        # The last tile's window ends SIZE - 1 samples, a dilation apart, after its start.
        length = (total + extra) * TILE + SIZE * self.rate
        padded = self.scratch.take("padded", length, channels).numpy()
        activate(x, self.slope, self.left, padded)
        for first in range(0, total, self.n_rows):
            rows = min(self.n_rows, total - first)
            inputs = self.scratch.take("inputs", SIZE, rows + extra, channels)
            spread_rows(padded, self.rate, first, inputs.numpy())
            products = self.scratch.take("products", SIZE, rows, channels)
            torch.bmm(inputs[:, :rows], self.weights[0], out=products)
            for g in range(1, self.groups):
                at = g * self.rate
                products.baddbmm_(inputs[:, at : at + rows], self.weights[g])
            gather_rows(products.numpy(), self.rate, first, self.bias, base, out)
        return out


class TiledBlock:
    """A residual block as tiled convolutions: [1, C, 1, time] in channels-last memory to the same.

    Direct convolutions do no better than tiles from `MIN_WORK` channels times taps on.
    """

    MIN_WORK = 384

    def __init__(self, pairs: tuple[Pair, ...], slope: float, scratch: Scratch) -> None:
        self.pairs = [
            (TiledConv(first, slope, scratch), TiledConv(second, slope, scratch))
            for first, second in pairs
        ]
        self.scratch = scratch

    @classmethod
    def pays(cls, pairs: tuple[Pair, ...]) -> bool:
        weight = pairs[0][0].weight
        return weight.shape[0] * weight.shape[3] >= cls.MIN_WORK

    def __call__(self, x: Tensor) -> Tensor:
        samples: Array = x[0, :, 0].t().contiguous().numpy()
        nothing = np.empty((0, samples.shape[1]), dtype=np.float32)
        hidden = self.scratch.take("hidden", *samples.shape).numpy()
        out = np.empty_like(samples)
        for first, second in self.pairs:
            first(samples, nothing, hidden)
            # From the second pair on base and out are one: each sample is read, then written.
            samples = second(hidden, samples, out)
        return torch.from_numpy(out).t()[None, :, None]


def tiled_blocks(slope: float) -> Callable[[tuple[Pair, ...]], TiledBlock | None]:
    """Makes a faster form of residual blocks where there is one; they share their memory."""
    scratch = Scratch()
    return lambda pairs: TiledBlock(pairs, slope, scratch) if TiledBlock.pays(pairs) else None
