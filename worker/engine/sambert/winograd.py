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
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.sambert.hifigan import Faster, FoldedConv, Pair
from worker.engine.sambert.loops import Array
from worker.engine.sambert.memory import Scratch
from worker.engine.sambert.tiles import (
    LANES,
    WIDE,
    Emitter,
    Rows,
    address,
    compiled,
    multiply,
    pack,
    unpacked,
)

TILE = 4  # outputs a tile, and taps a group
SIZE = 2 * TILE - 1  # products a tile and group
# Found by search for the least rounding error among small fractions; infinity is the last point.
POINTS = (0.0, -2.0, -1.0, -0.5, 1.0, 1.5)
_BLOCK_FLOATS = 1 << 16  # of one block's inputs, about an L2 cache


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


class Onto(NamedTuple):
    """Where a convolution's results go: addresses of the first sample of base, sum and activation.

    A `base` of 0 adds nothing, and then only the activated result is stored.
    """

    bias: Array
    base: int
    out: int
    active: int
    slope: Any


_TRANSFORMS = transforms()
# Channels a transform's vector holds: seven inputs and a sum fit in registers.
_CHANNELS = LANES if WIDE else LANES // 2


def _type_spread(_: Any, where: Any) -> Any:
    """The seven inputs of a tile, combined for each point.

    `where` is (source, bytes from input to input, target, bytes from point to point).
    """

    def emit(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        vectors = Emitter(builder, _CHANNELS)
        source, step, target, point = unpacked(builder, arguments[0], 4)
        values = [vectors.load(vectors.offset(source, step, i)) for i in range(SIZE)]
        for j, factors in enumerate(_TRANSFORMS.spread):
            vectors.store(vectors.blend(values, factors), vectors.offset(target, point, j))
        return context.get_dummy_value()

    return types.void(where), emit


def _type_gather(_: Any, added: Any, where: Any, slope: Any) -> Any:  # noqa: ARG001  # its type is fixed
    """A tile's four outputs from its seven products, LeakyReLU of them stored.

    `where` is (products, bytes from point to point, bias, base, target, activated target, bytes
    from output to output). When `added` is 1 the base is added and the bare sum stored too.
    """
    if not isinstance(added, types.IntegerLiteral):
        return None  # numba asks again with the literal's value
    with_base = added.literal_value

    def emit(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        vectors = Emitter(builder, _CHANNELS)
        products, point, bias, base, target, active, step = unpacked(builder, arguments[1], 7)
        values = [vectors.load(vectors.offset(products, point, j)) for j in range(SIZE)]
        start, bend = vectors.load(bias), vectors.splat(arguments[2])
        for o, factors in enumerate(_TRANSFORMS.gather):
            total = start
            if with_base:
                total = builder.fadd(total, vectors.load(vectors.offset(base, step, o)))
            total = vectors.blend(values, factors, total)
            if with_base:
                vectors.store(total, vectors.offset(target, step, o))
            vectors.store(vectors.leaky(total, bend), vectors.offset(active, step, o))
        return context.get_dummy_value()

    return types.void(added, where, types.float32), emit


spread_tile = cast(Callable[..., None], intrinsic(_type_spread))
gather_tile = cast(Callable[..., None], intrinsic(_type_gather))


@compiled
def spread_rows(source: int, step: int, first: int, out: Array) -> None:
    """Fill out [7, rows, C] with the transformed tiles from row `first` on.

    `source` is the address of the first tile's first input, samples [time, C] from there on.
    """
    _, n_rows, channels = out.shape
    line, here, point = channels * 4, address(out), n_rows * channels * 4
    tile, phase = first // step, first % step
    for row in range(n_rows):
        at = source + (tile * TILE * step + phase) * line
        to = here + row * line
        for c in range(0, line, _CHANNELS * 4):
            spread_tile((at + c, step * line, to + c, point))
        phase += 1
        if phase == step:
            tile, phase = tile + 1, 0


@compiled
def gather_rows(p: Array, step: int, first: int, onto: Onto) -> None:
    """Turn products p [7, rows, C] into outputs from row `first` on."""
    _, n_rows, channels = p.shape
    line, here, point = channels * 4, address(p), n_rows * channels * 4
    tile, phase = first // step, first % step
    bias = address(onto.bias)
    for row in range(n_rows):
        at = (tile * TILE * step + phase) * line
        for c in range(0, line, _CHANNELS * 4):
            products, to = here + row * line + c, at + c
            places = (products, point, bias + c, onto.base + to, onto.out + to, onto.active + to)
            if onto.base:
                gather_tile(1, (*places, step * line), onto.slope)
            else:
                gather_tile(0, (*places, step * line), onto.slope)
        phase += 1
        if phase == step:
            tile, phase = tile + 1, 0


@compiled
def convolve(
    source: int, step: int, weights: Array, total: int, onto: Onto, scratch: Array
) -> None:
    """One convolution, block of rows by block.

    weights are [7, panels, groups, C, 16], `source` the address of the samples the first output
    sees, `total` the number of rows, `scratch` [2, floats] holds a block's inputs and products.
    """
    _, panels, groups, channels, lanes = weights.shape
    extra = (groups - 1) * step
    nothing = np.zeros(panels * lanes, dtype=np.float32)
    block = scratch.shape[1] // (SIZE * channels) - extra  # over 0, as `TiledBlock.pays` asks
    line = channels * 4
    for first in range(0, total, block):
        rows = min(block, total - first)
        size = SIZE * (rows + extra) * channels
        inputs = scratch[0, :size].reshape((SIZE, rows + extra, channels))
        products = scratch[1, : SIZE * rows * channels].reshape((SIZE, rows, channels))
        spread_rows(source, step, first, inputs)
        for j in range(SIZE):
            given = Rows(address(inputs[j]), line, step * line)
            multiply(rows, given, weights[j], nothing, Rows(address(products[j]), line, 0))
        gather_rows(products, step, first, onto)


@compiled
def begin(x: Array, slope: Any, bare: Array, active: Array) -> None:
    """x [time, C] into the first rows of `bare`, LeakyReLU of it into those of `active`."""
    for t in range(x.shape[0]):
        for c in range(x.shape[1]):
            bare[t, c] = x[t, c]
            active[t, c] = max(x[t, c], x[t, c] * slope)


class Samples:
    """Samples [time, C] between zeros that may be read, the later of them also written."""

    def __init__(self, rows: Array, before: int, after: int) -> None:
        """`rows` [before + time + after, C] is where they lie."""
        self.rows, self.before, self.end = rows, before, len(rows) - after
        rows[:before] = 0
        self.clear()

    def clear(self) -> None:
        """Zero again what a convolution wrote after the end."""
        self.rows[self.end :] = 0

    @property
    def own(self) -> Array:
        return self.rows[self.before : self.end]

    def address(self, shift: int = 0) -> int:
        """The address of the first sample, or of the one `shift` before it."""
        return self.rows.ctypes.data + (self.before - shift) * self.rows.strides[0]


def groups_of(kernel: int) -> int:
    """How many groups of four taps a kernel makes."""
    return -(-kernel // TILE)


def block_rows(conv: FoldedConv) -> int:
    """How many rows of a convolution fit in a block; none where context alone fills it."""
    channels, _, _, kernel = conv.weight.shape
    return _BLOCK_FLOATS // (SIZE * channels) - (groups_of(kernel) - 1) * conv.dilation


class TiledConv:
    """One convolution of equal input and output channels, and LeakyReLU of its result."""

    def __init__(self, conv: FoldedConv, slope: float, scratch: Scratch) -> None:
        channels, _, _, kernel = conv.weight.shape
        self.slope, self.scratch = np.float32(slope), scratch
        self.step, self.left = conv.dilation, conv.left
        groups = groups_of(kernel)
        taps = np.zeros((groups * TILE, channels, channels))
        taps[:kernel] = conv.weight[:, :, 0].permute(2, 1, 0).double().numpy()
        grouped = taps.reshape(groups, TILE, channels, channels)
        weights = np.einsum("jl,glio->jgio", _TRANSFORMS.weights, grouped).astype(np.float32)
        self.weights = np.stack([pack(weight) for weight in weights])  # [7, panels, groups, C, 16]
        bias = conv.bias if conv.bias is not None else torch.zeros(channels)
        self.bias: Array = bias.numpy()
        # The last tile ends up to a tile after the samples, and its groups' inputs still later.
        self.after = (groups * TILE + SIZE) * self.step

    def __call__(self, source: Samples, base: Samples | None, active: Samples) -> None:
        """LeakyReLU of conv(source) into `active`; with a `base`, it grows by conv(source) too."""
        total = -(-len(source.own) // (self.step * TILE)) * self.step
        bare = base.address() if base else 0
        onto = Onto(self.bias, bare, bare, active.address(), self.slope)
        blocks = self.scratch.take("blocks", 2, _BLOCK_FLOATS)
        convolve(source.address(self.left), self.step, self.weights, total, onto, blocks)
        active.clear()


class TiledBlock:
    """A residual block as tiled convolutions: [1, C, 1, time] in channels-last memory to the same.

    Only for whole panels of channels.
    """

    def __init__(self, pairs: tuple[Pair, ...], slope: float, scratch: Scratch) -> None:
        self.slope, self.scratch = np.float32(slope), scratch
        self.pairs = [
            (TiledConv(first, slope, scratch), TiledConv(second, slope, scratch))
            for first, second in pairs
        ]
        convs = [conv for pair in self.pairs for conv in pair]
        self.before, self.after = max(c.left for c in convs), max(c.after for c in convs)

    @classmethod
    def pays(cls, pairs: tuple[Pair, ...]) -> bool:
        whole = pairs[0][0].weight.shape[0] % LANES == 0
        return whole and all(block_rows(conv) > 0 for pair in pairs for conv in pair)

    def __call__(self, x: Tensor) -> Tensor:
        samples: Array = x[0, :, 0].t().contiguous().numpy()
        bare, active, hidden = (
            self._samples(name, samples) for name in ("bare", "active", "hidden")
        )
        begin(samples, self.slope, bare.own, active.own)
        for first, second in self.pairs:
            first(active, None, hidden)
            second(hidden, bare, active)
        return torch.from_numpy(bare.own.copy()).t()[None, :, None]

    def _samples(self, name: str, like: Array) -> Samples:
        time, channels = like.shape
        rows = self.scratch.take(name, self.before + time + self.after, channels)
        return Samples(rows, self.before, self.after)


def tiled_blocks(slope: float) -> Faster:
    """Makes a faster form of residual blocks where there is one; they share their memory."""
    scratch = Scratch()
    return lambda pairs: TiledBlock(pairs, slope, scratch) if TiledBlock.pays(pairs) else None
