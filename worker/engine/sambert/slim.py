"""Products of one row with matrices kept in 24 bits: importing this needs numba.

A step of one utterance uses every weight once, so reading them is its time, and whether a cache
holds them decides it. A weight here is a 24-bit integer times a scale of its output's own: three
quarters of the bytes, and no further from the weight than float32 is from that output's largest.

A record holds the weights of one input to 64 outputs, in halves of 32. Three numbers of 32 bits
carry four weights: three in their upper bytes, the fourth in the lowest bytes of the three.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from worker.engine.sambert.loops import Array
from worker.engine.sambert.memory import huge_block
from worker.engine.sambert.tiles import FLOAT_BYTES, Emitter, address, compiled, unpacked

OUTPUTS = 64  # of a record: their eight sums stay in registers
_LANES = 8
_CARRIERS = 3  # vectors of 32 bits that four vectors of weights lie in
_HALVES = OUTPUTS // (_LANES * (_CARRIERS + 1))
_VECTOR_BYTES = _LANES * FLOAT_BYTES
RECORD_BYTES = _HALVES * _CARRIERS * _VECTOR_BYTES
_LINE_BYTES = 64
_AHEAD_BYTES = 40 * RECORD_BYTES  # how far before its use a record is asked for
_INT, _BYTE, _WORD = ir.IntType(64), ir.IntType(8), ir.IntType(32)


class Slim(NamedTuple):
    """Matrices [..., out, in]: `records` int32 [..., out / 64, in, 48] and `scale` [..., out].

    Outputs are rounded up to whole records.
    """

    records: NDArray[np.int32]
    scale: Array


def slim(matrix: Array) -> Slim:
    """A matrix [out, in], or several stacked, in 24 bits."""
    *stack, n_out, n_in = matrix.shape
    wide = np.pad(
        matrix.astype(np.float64), [(0, 0)] * len(stack) + [(0, -n_out % OUTPUTS), (0, 0)]
    )
    # As it is stored, so that what its rounding changes the integers make up for.
    scale = (np.abs(wide).max(axis=-1) / (2**31 - 2**9)).astype(np.float32)
    # An output without weights keeps scale 0, which also wipes out a passenger's byte.
    panels = (wide / np.where(scale == 0, 1, scale)[..., None]).reshape(*stack, -1, OUTPUTS, n_in)
    shape = (*panels.shape[:-2], n_in, _HALVES, _CARRIERS + 1, _LANES)
    weights = np.swapaxes(panels, -1, -2).reshape(shape)
    fourth = np.rint(weights[..., _CARRIERS, :] / 256).astype(np.int64)
    carriers = np.empty((*shape[:-2], _CARRIERS, _LANES), dtype=np.int32)
    for number in range(_CARRIERS):
        low = fourth >> (8 * number) & 255
        # The passenger's byte is part of the number; the upper bytes are chosen to make up for it.
        carriers[..., number, :] = np.rint((weights[..., number, :] - low) / 256) * 256 + low
    return Slim(carriers.reshape(*shape[:-3], -1), scale)


def beside(matrices: Sequence[Slim]) -> list[Slim]:
    """Stacks of a matrix a layer, moved so that each layer's lie one after another in memory."""
    n_layers = len(matrices[0].records)
    sizes = [matrix.records[0].size for matrix in matrices]
    block = huge_block(n_layers * sum(sizes) * FLOAT_BYTES).view(np.int32)
    layers, at, moved = block[: n_layers * sum(sizes)].reshape(n_layers, -1), 0, []
    for matrix, size in zip(matrices, sizes, strict=True):
        records = layers[:, at : at + size].reshape(matrix.records.shape)
        records[...] = matrix.records
        moved.append(Slim(records, matrix.scale))
        at += size
    return moved


def _type_panel(_: Any, where: Any) -> Any:
    """The outputs of one panel: start + scale * the sum of values times their records.

    `where` is (values, their count, records, scale, start, target), addresses but for the count,
    which is one at least.
    """

    def emit(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        _Panel(builder, unpacked(builder, arguments[0], 6)).emit()
        return context.get_dummy_value()

    return types.void(where), emit


class _Panel:
    """The loop of `multiply_panel` over the values."""

    def __init__(self, builder: Any, where: list[Any]) -> None:
        self.builder, self.vectors = builder, Emitter(builder, _LANES)
        self.values, self.count, self.records, self.scale, self.start, self.target = where
        self.whole = ir.VectorType(_WORD, _LANES)

    def emit(self) -> None:
        build, vectors = self.builder, self.vectors
        entry, inner, done = build.block, build.append_basic_block(), build.append_basic_block()
        first = [_INT(0), self.records, *[vectors.constant(0)] * (OUTPUTS // _LANES)]
        build.branch(inner)
        build.position_at_end(inner)
        number, record, *sums = (build.phi(value.type) for value in first)
        for line in range(0, RECORD_BYTES, _LINE_BYTES):
            vectors.prefetch(build.add(record, _INT(_AHEAD_BYTES + line)))
        value = vectors.spread(build.add(self.values, build.mul(number, _INT(FLOAT_BYTES))))
        new = [build.add(number, _INT(1)), build.add(record, _INT(RECORD_BYTES))]
        for weight, total in zip(self._weights(record), sums, strict=True):
            new.append(vectors.fma(value, weight, total))
        for phi, before, after in zip([number, record, *sums], first, new, strict=True):
            phi.add_incoming(before, entry)
            phi.add_incoming(after, inner)
        build.cbranch(build.icmp_signed("<", new[0], self.count), inner, done)
        build.position_at_end(done)
        for group, total in enumerate(new[2:]):
            at = _INT(group * _VECTOR_BYTES)
            scale, start = (vectors.load(build.add(a, at)) for a in (self.scale, self.start))
            vectors.store(vectors.fma(total, scale, start), build.add(self.target, at))

    def _weights(self, record: Any) -> list[Any]:
        """A record as vectors of floats."""
        found = []
        for half in range(_HALVES):
            first = half * _CARRIERS * _VECTOR_BYTES
            at = [_INT(first + number * _VECTOR_BYTES) for number in range(_CARRIERS)]
            carriers = [self._load(self.builder.add(record, shift)) for shift in at]
            parts = [self._passenger(c, number) for number, c in enumerate(carriers)]
            fourth = self.builder.or_(self.builder.or_(parts[0], parts[1]), parts[2])
            found += [self.builder.sitofp(w, self.vectors.vector) for w in (*carriers, fourth)]
        return found

    def _passenger(self, carrier: Any, number: int) -> Any:
        """Each lane's lowest byte moved to its place in the fourth weight, all else zero."""
        kind = ir.VectorType(_BYTE, _LANES * FLOAT_BYTES)
        zeros = ir.Constant(kind, [0] * kind.count)
        order = [kind.count] * kind.count  # the first of the zeros
        for lane in range(_LANES):
            order[lane * FLOAT_BYTES + number + 1] = lane * FLOAT_BYTES
        picked = ir.Constant(ir.VectorType(_WORD, kind.count), order)
        bits = self.builder.bitcast(carrier, kind)
        return self.builder.bitcast(self.builder.shuffle_vector(bits, zeros, picked), self.whole)

    def _load(self, place: Any) -> Any:
        loaded = self.builder.load(self.builder.inttoptr(place, self.whole.as_pointer()))
        loaded.align = FLOAT_BYTES
        return loaded


multiply_panel = cast(Callable[..., None], intrinsic(_type_panel))


@compiled
def multiply_one(x: Array, matrix: Slim, start: Array, out: Array) -> None:
    """out = start + matrix @ x; start and out hold whole records."""
    panels, depth, _ = matrix.records.shape
    first, scale = address(matrix.records), address(matrix.scale)
    values, begin, to = address(x), address(start), address(out)
    for panel in range(panels):
        record, shift = first + panel * depth * RECORD_BYTES, panel * OUTPUTS * FLOAT_BYTES
        multiply_panel((values, depth, record, scale + shift, begin + shift, to + shift))
