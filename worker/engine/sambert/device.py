"""Where a voice's tensors live: the processor, or a CUDA GPU that was asked for and is there."""

import re

import torch

from shared.errors import EngineUnavailable

CPU = torch.device("cpu")
_NAMES = re.compile(r"cpu|cuda(?::\d+)?")


def find_device(name: str) -> torch.device:
    """The device of that name, ready to compute as exactly as the processor does.

    Raises `EngineUnavailable` when there is no such device, saying what there is.
    """
    if not _NAMES.fullmatch(name):
        raise EngineUnavailable(f"The device {name!r} is unknown; give cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or not count:
        why = "finds no GPU it can use" if torch.version.cuda else "is built without CUDA"
        raise EngineUnavailable(
            f"The device {name} was asked for, and torch {torch.__version__} {why}; install a "
            "CUDA build and a driver for it, or set TTSFARM_SAMBERT_DEVICE=cpu"
        )
    if (device.index or 0) >= count:
        raise EngineUnavailable(
            f"The device {name} was asked for, and there are {count}: cuda:0 to cuda:{count - 1}"
        )
    # TF32 keeps ten bits of each factor; left on, convolutions would miss every tolerance.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return device
