"""The kernels' memory: the process's own, and in huge pages where the kernel offers them."""

import re
from pathlib import Path

import pytest

from worker.engine.sambert.memory import Scratch, gather, huge_block

SMAPS = Path("/proc/self/smaps")
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MIB = 1024 * 1024


def mapping(address: int) -> str:
    """What the kernel tells of the mapping that holds the address."""
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", SMAPS.read_text(), flags=re.MULTILINE)[1:]:
        first, last = (int(end, 16) for end in part.split(" ", 1)[0].split("-"))
        if first <= address < last:
            return part
    raise LookupError(hex(address))


@pytest.mark.skipif(not SMAPS.is_file(), reason="this system does not tell how memory is mapped")
def test_a_block_belongs_to_its_process_alone() -> None:
    block = huge_block(MIB)
    assert mapping(block.ctypes.data).split()[1] == "rw-p"


@pytest.mark.skipif(
    not OFFERED.is_file() or "[never]" in OFFERED.read_text(),
    reason="this kernel offers no huge pages",
)
def test_a_block_lies_in_huge_pages() -> None:
    block = huge_block(32 * MIB)
    assert not block.any()
    block[:] = 1
    [found] = re.findall(r"AnonHugePages: +(\d+) kB", mapping(block.ctypes.data))
    assert int(found) >= 16 * 1024


def test_what_lies_side_by_side_is_what_was_given() -> None:
    given = [Scratch().take("one", 3, 5), Scratch().take("two", 7)]
    for number, array in enumerate(given):
        array[...] = number + 1
    moved = gather(given)
    assert all((a == b).all() for a, b in zip(given, moved, strict=True))
    assert all(array.ctypes.data % 64 == 0 for array in moved)
