"""What the kernels are built of, as LLVM instructions: importing this needs numba.

numba's loops vectorise, but no compiler keeps a whole block of sums in registers by itself, and
that block is the difference between a third and nine tenths of a processor's speed. So the
innermost steps are written out as vector instructions, which LLVM fits to any processor.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from worker.engine.sambert.loops import Array

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

LANES = 16  # outputs a panel of packed weights serves
FLOAT_BYTES = 4
_PANEL_ROW_BYTES = LANES * FLOAT_BYTES
_AHEAD_BYTES = 8192  # how far before its use a weight is asked for; found by trying
_FLOAT, _INT, _WORD = ir.FloatType(), ir.IntType(64), ir.IntType(32)


def _has_wide_vectors() -> bool:
    """Whether numba compiles for a processor with vectors of 512 bits."""
    named = vars(numba.config)["CPU_FEATURES"]
    return "+avx512f" in (named or binding.get_host_cpu_features().flatten())


# A panel's row is then one register of 32, not two of 16: a block may have twice the panels, and
# needs them, for six sums alone would wait for each other.
WIDE = _has_wide_vectors()


def compiled(function: Kernel) -> Kernel:
    """Compile at first call. Sums may be reordered; NaN and infinity keep their meaning."""
    flags = {"reassoc", "contract", "nsz", "arcp"}
    try:
        jit = numba.njit(cache=True, nogil=True, fastmath=flags)(function)
    except RuntimeError:
        # Nowhere to keep the result, as on a read-only disk: every process compiles for itself.
        jit = numba.njit(nogil=True, fastmath=flags)(function)
    return cast(Kernel, jit)


_declare: Callable[..., Any] = vars(cgutils)["get_or_insert_function"]  # has no types


class Rows(NamedTuple):
    """Where a matrix's rows lie: an address, and bytes from row to row and group to group."""

    address: int
    row: int
    group: int


def padded(n: int) -> int:
    """`n` outputs rounded up to whole panels."""
    return -(-n // LANES) * LANES


def pack(weight: Array) -> Array:
    """Weights [groups, n_in, n_out] as panels [n_out / 16, groups, n_in, 16], zeros added."""
    groups, n_in, n_out = weight.shape
    wide = np.zeros((groups, n_in, padded(n_out)), dtype=np.float32)
    wide[:, :, :n_out] = weight
    return np.ascontiguousarray(wide.reshape(groups, n_in, -1, LANES).transpose(2, 0, 1, 3))


class Emitter:
    """Vector instructions at the builder's place; addresses are integers."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(_FLOAT, lanes)
        name = f"llvm.fmuladd.v{lanes}f32"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = _declare(builder.module, kind, name)

    def offset(self, address: Any, step: Any, times: int) -> Any:
        return self.builder.add(address, self.builder.mul(step, _INT(times)))

    def load(self, address: Any) -> Any:
        return self._load(address, self.vector)

    def spread(self, address: Any) -> Any:
        """The value at the address in every lane."""
        return self.splat(self._load(address, _FLOAT))

    def splat(self, value: Any) -> Any:
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, value, _WORD(0))
        lanes = ir.Constant(ir.VectorType(_WORD, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, lanes)

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [_FLOAT(float(np.float32(value)))] * self.lanes)

    def store(self, value: Any, address: Any) -> None:
        target = self.builder.inttoptr(address, self.vector.as_pointer())
        self.builder.store(value, target).align = FLOAT_BYTES

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._fma, [a, b, c])

    def blend(self, values: Sequence[Any], factors: Sequence[float], total: Any = None) -> Any:
        """The sum of values times factors, those that are 0 left out, added to `total`."""
        for value, factor in zip(values, factors, strict=True):
            if not factor:
                continue
            if total is None:
                total = self.builder.fmul(value, self.constant(factor))
            else:
                total = self.fma(value, self.constant(factor), total)
        return total

    def leaky(self, value: Any, slope: Any) -> Any:
        """The larger of the value and `slope` times it; NaN stays."""
        bent = self.builder.fmul(value, slope)
        return self.builder.select(self.builder.fcmp_ordered(">", bent, value), bent, value)

    def prefetch(self, address: Any) -> None:
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _WORD, _WORD, _WORD])
        function = _declare(self.builder.module, kind, "llvm.prefetch.p0i8")
        self.builder.call(
            function, [self.builder.inttoptr(address, byte), _WORD(0), _WORD(3), _WORD(1)]
        )

    def _load(self, address: Any, kind: Any) -> Any:
        loaded = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        loaded.align = FLOAT_BYTES
        return loaded


def unpacked(builder: Any, value: Any, count: int) -> list[Any]:
    return [builder.extract_value(value, i) for i in range(count)]


def _type_tile(_: Any, n_rows: Any, n_panels: Any, where: Any) -> Any:
    """Rows times panels, their sums in registers throughout.

    `where` is (source, its row and group in bytes, weights, groups, depth, start, target, its row).
    """
    if not isinstance(n_rows, types.IntegerLiteral):
        return None  # numba asks again with the literal's value
    rows, panels = n_rows.literal_value, n_panels.literal_value

    def emit(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        _Tile(builder, rows, panels, unpacked(builder, arguments[2], 9)).emit()
        return context.get_dummy_value()

    return types.void(n_rows, n_panels, where), emit


class _Tile:
    """The loops of `tile`: over groups, and within over the depth."""

    def __init__(self, builder: Any, rows: int, panels: int, where: list[Any]) -> None:
        self.builder, self.rows, self.panels = builder, rows, panels
        self.source, self.row, self.group, self.weights = where[:4]
        self.groups, self.depth, self.start, self.target, self.target_row = where[4:]
        self.vectors = Emitter(builder, LANES)

    def emit(self) -> None:
        build, vectors = self.builder, self.vectors
        starts = [vectors.load(build.add(self.start, self._panel(p))) for p in range(self.panels)]
        entry = build.block
        group, inner, after, done = (build.append_basic_block() for _ in range(4))
        build.branch(group)
        build.position_at_end(group)
        at = [build.phi(_INT) for _ in range(3)]  # the group, its source and its weights
        before = [build.phi(vectors.vector) for _ in range(self.rows * self.panels)]
        build.branch(inner)
        build.position_at_end(inner)
        k = build.phi(_INT)
        sums = [build.phi(vectors.vector) for _ in before]
        new = self._sums(k, at[1], at[2], sums)
        next_k = build.add(k, _INT(1))
        self._join([k], [_INT(0)], group, [next_k], inner)
        self._join(sums, before, group, new, inner)
        build.cbranch(build.icmp_signed("<", next_k, self.depth), inner, after)
        build.position_at_end(after)
        steps = [_INT(1), self.group, build.mul(self.depth, _INT(_PANEL_ROW_BYTES))]
        moved = [build.add(value, step) for value, step in zip(at, steps, strict=True)]
        self._join(at, [_INT(0), self.source, self.weights], entry, moved, after)
        self._join(before, starts * self.rows, entry, new, after)
        build.cbranch(build.icmp_signed("<", moved[0], self.groups), group, done)
        build.position_at_end(done)
        for number, value in enumerate(new):
            row, panel = divmod(number, self.panels)
            place = vectors.offset(self.target, self.target_row, row)
            vectors.store(value, build.add(place, self._panel(panel)))

    def _sums(self, k: Any, source: Any, weights: Any, sums: list[Any]) -> list[Any]:
        build, vectors = self.builder, self.vectors
        stride = build.mul(build.mul(self.groups, self.depth), _INT(_PANEL_ROW_BYTES))
        loaded = []
        for panel in range(self.panels):
            place = build.add(weights, vectors.offset(_INT(0), stride, panel))
            place = build.add(place, build.mul(k, _INT(_PANEL_ROW_BYTES)))
            vectors.prefetch(build.add(place, _INT(_AHEAD_BYTES)))
            loaded.append(vectors.load(place))
        found = []
        for row in range(self.rows):
            place = vectors.offset(source, self.row, row)
            value = vectors.spread(build.add(place, build.mul(k, _INT(FLOAT_BYTES))))
            for panel in range(self.panels):
                number = row * self.panels + panel
                found.append(vectors.fma(value, loaded[panel], sums[number]))
        return found

    @staticmethod
    def _panel(panel: int) -> Any:
        return _INT(panel * _PANEL_ROW_BYTES)

    @staticmethod
    def _join(phis: list[Any], first: list[Any], here: Any, later: list[Any], there: Any) -> None:
        for phi, a, b in zip(phis, first, later, strict=True):
            phi.add_incoming(a, here)
            phi.add_incoming(b, there)


tile = cast(Callable[..., None], intrinsic(_type_tile))


@compiled
def address(array: NDArray[Any]) -> Any:
    """Where an array's first value lies."""
    return np.int64(array.ctypes.data)


@compiled
def multiply_rows(n: int, where: Any) -> None:
    """One panel for `n` rows, at most six; the row count must be known when compiling."""
    if n == 6:
        tile(6, 1, where)
    elif n == 5:
        tile(5, 1, where)
    elif n == 4:
        tile(4, 1, where)
    elif n == 3:
        tile(3, 1, where)
    elif n == 2:
        tile(2, 1, where)
    else:
        tile(1, 1, where)


@compiled
def multiply_pairs(n: int, where: Any) -> None:
    """Two panels for `n` rows, at most six."""
    if n == 6:
        tile(6, 2, where)
    elif n == 5:
        tile(5, 2, where)
    elif n == 4:
        tile(4, 2, where)
    elif n == 3:
        tile(3, 2, where)
    elif n == 2:
        tile(2, 2, where)
    else:
        tile(1, 2, where)


@compiled
def multiply_wide(n: int, where: Any) -> None:
    """Several panels for few rows, which with one would wait for their own sums."""
    if n == 1:
        tile(1, 4, where)
    elif n == 2:
        tile(2, 2, where)
    else:
        tile(3, 2, where)


@compiled
def multiply(n_rows: int, source: Rows, weight: Array, start: Array, target: Rows) -> None:
    """Each row of `target` = start + the sum over groups of a source row times the group's weight.

    `weight` [panels, groups, depth, 16] is packed; `start` and the target's rows hold whole panels.
    """
    panels, groups, depth, lanes = weight.shape
    row, group, onto = source.row, source.group, target.row
    size = groups * depth * lanes * 4
    first, starts = address(weight), address(start)
    done = 0
    if n_rows <= 3:
        wide = 4 if n_rows == 1 else 2
        while done + wide <= panels:
            at = starts + done * lanes * 4
            to = target.address + done * lanes * 4
            weights = first + done * size
            where = (source.address, row, group, weights, groups, depth, at, to, onto)
            multiply_wide(n_rows, where)
            done += wide
    while done < panels:
        pair = WIDE and done + 2 <= panels
        at = starts + done * lanes * 4
        to = target.address + done * lanes * 4
        weights = first + done * size
        r = 0
        while r < n_rows:
            n = n_rows - r
            if n > 6:
                # The last twelve or fewer in halves: fewer than four rows are slow.
                n = 6 if n >= 12 else (n + 1) // 2
            here, there = source.address + r * row, to + r * onto
            where = (here, row, group, weights, groups, depth, at, there, onto)
            if pair:
                multiply_pairs(n, where)
            else:
                multiply_rows(n, where)
            r += n
        done += 2 if pair else 1
