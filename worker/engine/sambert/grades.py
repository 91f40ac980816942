"""How exact and how fast a voice is rendered, and whether this machine can.

`exact` meets the reference to rounding. `fast` runs the residual blocks' convolutions in bf16,
which a CPU without bf16 instructions does many times slower than float32, so it is refused there.
`int8` quantises them and needs ONNX Runtime.
"""

import importlib.util
import platform
import re
from collections.abc import Set
from enum import StrEnum
from pathlib import Path

from shared.errors import EngineUnavailable

CPU_INFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is Arm's name
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
_INT8_PACKAGES = ("onnxruntime", "onnx")


class Grade(StrEnum):
    EXACT = "exact"
    FAST = "fast"
    INT8 = "int8"


_NAMES = {Grade.FAST: "bf16", Grade.INT8: "VNNI"}


class Half(StrEnum):
    """The 16-bit type of grade fast. float16 keeps three bits more, and is a GPU's only."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def cpu_flags(path: Path = CPU_INFO) -> frozenset[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = re.findall(r"^(?:flags|Features)\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return frozenset(lines[0].split()) if lines else frozenset()


def require_grade(grade: Grade, flags: Set[str], half: Half = Half.BFLOAT16) -> None:
    """Raises `EngineUnavailable` with the reason when this processor cannot serve `grade`."""
    if grade is Grade.FAST and half is Half.FLOAT16:
        raise EngineUnavailable(
            "Grade fast in float16 needs a GPU; on a processor set TTSFARM_SAMBERT_HALF=bfloat16"
        )
    if grade is Grade.FAST and not flags & _BF16:
        raise EngineUnavailable(
            "Grade fast needs a processor with bf16 instructions (avx512_bf16, amx_bf16 or Arm "
            f"bf16); this one ({platform.machine()}) lacks them and would be many times slower. "
            "Choose exact or int8"
        )
    missing = [name for name in _INT8_PACKAGES if importlib.util.find_spec(name) is None]
    if grade is Grade.INT8 and missing:
        raise EngineUnavailable(
            f"Grade int8 needs {' and '.join(missing)}: install the int8 extra, or choose exact"
        )


def require_cuda_grade(grade: Grade, *, half: Half, has_bf16: bool) -> None:
    """Raises `EngineUnavailable` with the reason when a GPU cannot serve `grade`."""
    if grade is Grade.INT8:
        raise EngineUnavailable(
            "Grade int8 runs on processors only; on a GPU choose exact or fast, or set "
            "TTSFARM_SAMBERT_DEVICE=cpu"
        )
    if grade is Grade.FAST and half is Half.BFLOAT16 and not has_bf16:
        raise EngineUnavailable(
            "Grade fast in bfloat16 needs a GPU that has it; set TTSFARM_SAMBERT_HALF=float16"
        )


def has_vnni(flags: Set[str]) -> bool:
    """Whether 8-bit products add up without saturating at 16 bits."""
    return bool(flags & _VNNI)


def slow_here(grade: Grade, flags: Set[str]) -> str | None:
    """Which instructions `grade` gains by that this processor lacks; None where it has them."""
    wanted = {Grade.FAST: _BF16, Grade.INT8: _VNNI}.get(grade)
    if wanted is None or flags & wanted:
        return None
    return f"{_NAMES[grade]} ({', '.join(sorted(wanted))})"
