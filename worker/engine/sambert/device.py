"""Where a voice's tensors live: the processor, or a CUDA GPU that was asked for and is there."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shared.errors import EngineUnavailable, FarmError

CPU = torch.device("cpu")
_ACCELERATOR: type[BaseException] | tuple[()] = getattr(torch, "AcceleratorError", ())
_GPU_FAULT = re.compile(r"CUDA|cuDNN|CUBLAS")  # how torch's errors name it, old and new
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


@contextmanager
def gpu_faults(full: type[FarmError]) -> Iterator[None]:
    """Turns torch's errors of a GPU into the farm's: `full` where its memory was too small.

    After any other the process can use the GPU no more, so they become `EngineUnavailable`.
    """
    try:
        yield
    except RuntimeError as error:
        # A recording that ran out of memory ends with an error of its own.
        if any(isinstance(e, torch.OutOfMemoryError) for e in (error, error.__context__)):
            # What was made so far hangs on the error, and a smaller batch needs the room.
            traceback.clear_frames(error.__traceback__)
            torch.cuda.empty_cache()
            raise full("The GPU's memory is too small for this") from error
        if isinstance(error, _ACCELERATOR) or _GPU_FAULT.search(str(error)):
            reason = str(error).strip().partition("\n")[0]
            raise EngineUnavailable(
                f"The GPU failed ({reason}); start the worker's process again"
            ) from error
        raise
