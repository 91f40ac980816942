"""Memory the kernels work in: huge pages where the system has them, used again and again.

Weights and samples are many megabytes that a pass reads from end to end. In pages of 4 KiB,
finding each page's place costs a fifth, and taking fresh ones as much as the sums in them.
"""

import mmap
from contextlib import suppress
from math import prod

import numpy as np
from numpy.typing import NDArray

from worker.engine.sambert.loops import Array

_HUGE = 2 * 1024 * 1024
_LINE = 64
# Memory that processes could share is shared memory to Linux, which has no huge pages by default.
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def huge_block(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes, at least `size`, in huge pages where the system has them."""
    pages = mmap.mmap(-1, size + 2 * _HUGE, **_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # A kernel built without them refuses; ordinary pages do as well, only slower.
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    block = np.frombuffer(pages, dtype=np.uint8)
    return block[-block.ctypes.data % _HUGE :]


def gather(arrays: list[Array]) -> list[Array]:
    """The same arrays side by side in one block, in the order given."""
    block = huge_block(sum(_aligned(array.nbytes) for array in arrays))
    moved, at = [], 0
    for array in arrays:
        copy = block[at : at + array.nbytes].view(np.float32).reshape(array.shape)
        copy[...] = array
        moved.append(copy)
        at += _aligned(array.nbytes)
    return moved


class Scratch:
    """Named memory for whoever comes next; what it holds is left from the last use."""

    def __init__(self) -> None:
        self._parts: dict[str, Array] = {}

    def take(self, name: str, *shape: int) -> Array:
        size = prod(shape)
        part = self._parts.get(name)
        if part is None or part.size < size:
            part = self._parts[name] = huge_block(4 * size).view(np.float32)
        return part[:size].reshape(shape)


def _aligned(size: int) -> int:
    """`size` rounded up to whole cache lines."""
    return -(-size // _LINE) * _LINE
