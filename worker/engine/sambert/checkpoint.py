"""Reads checkpoints into state dicts that a module tree accepts strictly, or says why not.

Only tensors are unpickled (`weights_only`), the file is memory-mapped where its format allows, and
training state is never read. Weight norm is folded here, once, in float64.
"""

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.errors import EngineUnavailable

State = dict[str, Tensor]
_SHOWN = 5  # faults spelled out in a message; a wrong config makes hundreds
# How a checkpoint from before torch's zip format begins, which cannot be memory-mapped.
_UNZIPPED = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
# What torch lets pass from a file that ends, or goes wrong, in the middle of its pickle.
_CUT_SHORT = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    struct.error,
)

# How weight norm's direction and gain are named by torch before and since 2.0.
_NORM_NAMES = (
    ("weight_v", "weight_g"),
    ("parametrizations.weight.original1", "parametrizations.weight.original0"),
)


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The checkpoint's top-level entries, tensors still on disk.

    Raises `EngineUnavailable` when the file is missing, truncated or not made of plain tensors.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_UNZIPPED))
        if not head:
            raise EngineUnavailable(f"{path} is empty; fetch the model again")
        mapped = head != _UNZIPPED
        entries = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError as error:
        raise EngineUnavailable(f"{path} is missing; fetch the model again") from error
    except _CUT_SHORT as error:
        raise EngineUnavailable(
            f"{path} is truncated or no checkpoint ({_first_line(error)}); fetch the model again"
        ) from error
    except pickle.UnpicklingError as error:
        raise EngineUnavailable(
            f"{path} holds more than tensors, or is damaged, and was not loaded{_asked_for(error)}"
        ) from error
    if not isinstance(entries, Mapping):
        raise EngineUnavailable(f"{path} holds a {type(entries).__name__}, expected entries")
    return entries


def acoustic_state(entries: Mapping[str, Any], path: Path) -> tuple[State, list[str]]:
    """The acoustic model's tensors, and the names of those inference does not use."""
    state = _tensors(entries.get("model"), path, "model")
    if any(name.startswith("FP_predictor.") for name in state):
        raise EngineUnavailable(f"{path} is a filled-pause model, which is not supported")
    unused = [name for name in state if name.startswith("align_attention.")]
    return {name: state[name] for name in state if name not in set(unused)}, unused


def vocoder_state(entries: Mapping[str, Any], path: Path) -> State:
    """The generator's tensors with weight norm folded."""
    model = entries.get("model")
    generator = model.get("generator") if isinstance(model, Mapping) else None
    try:
        return fold_weight_norm(_tensors(generator, path, "model.generator"))
    except ValueError as error:
        raise EngineUnavailable(f"{path} does not fit: {error}") from error


def fold_weight_norm(state: State) -> State:
    """The state dict with plain `weight`s: w = v * g / |v|, the norm over all axes but the first.

    A transposed convolution's first axis is its input, which is what upstream normalises over.
    Raises `ValueError` naming a direction and gain that are not of one tensor.
    """
    folded = {}
    for name, tensor in state.items():
        for direction, gain in _NORM_NAMES:
            if (
                name.endswith(direction)
                and (prefix := name.removesuffix(direction)) + gain in state
            ):
                v, g = tensor.double(), state[prefix + gain].double()
                if not v.dim() or g.numel() != len(v):
                    raise ValueError(
                        f"{name} has shape {tuple(v.shape)}, which {gain} of shape "
                        f"{tuple(g.shape)} has no gains for"
                    )
                norm = v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.dim() - 1))
                folded[prefix + "weight"] = (v * (g.reshape_as(norm) / norm)).float()
                break
            if name.endswith(gain):
                break
        else:
            folded[name] = tensor
    return folded


def load_strictly(module: nn.Module, state: State, path: Path) -> None:
    """Copy `state` into `module`; every name and shape must agree and every value be finite.

    Raises `EngineUnavailable` naming the tensors that do not, with both shapes.
    """
    own = module.state_dict()
    faults = [f"{name} is missing" for name in own if name not in state]
    faults += [f"{name} is not part of this architecture" for name in state if name not in own]
    faults += [
        f"{name} has shape {tuple(state[name].shape)}, the config says {tuple(own[name].shape)}"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    if not faults:
        faults = [f"{n} holds NaN or infinity" for n, t in state.items() if not t.isfinite().all()]
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise EngineUnavailable(f"{path} does not fit: " + "; ".join(faults[:_SHOWN]) + more)
    module.load_state_dict(state)


def rows_of(state: State, name: str, path: Path) -> int:
    """How many rows an embedding table has."""
    if name not in state or state[name].dim() != 2:
        raise EngineUnavailable(f"{path} does not fit: {name} is missing or no table")
    return state[name].shape[0]


def read_array(path: Path | None, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    """A `.npy` file's finite values. Raises `EngineUnavailable` on another shape or no file."""
    if path is None:
        raise EngineUnavailable(f"The model needs {what}, which its folder lacks")
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EngineUnavailable(f"{path} could not be read: {error}") from error
    if not isinstance(values, np.ndarray) or values.shape != shape:
        found = getattr(values, "shape", type(values).__name__)
        raise EngineUnavailable(f"{path} has shape {found}, the config says {shape}")
    if values.dtype.kind not in "fiu":
        raise EngineUnavailable(f"{path} holds {values.dtype.name}, expected numbers")
    if not np.isfinite(values).all():
        raise EngineUnavailable(f"{path} holds NaN or infinity")
    return values.astype(np.float32)


def _tensors(values: Any, path: Path, entry: str) -> State:
    if not isinstance(values, Mapping) or not values:
        raise EngineUnavailable(f"{path} has no entry {entry}: a checkpoint of another kind")
    wrong = [name for name, value in values.items() if not isinstance(value, Tensor)]
    if wrong:
        raise EngineUnavailable(f"{path}: {entry}.{wrong[0]} is no tensor")
    return {str(name): value for name, value in values.items()}


def _asked_for(error: pickle.UnpicklingError) -> str:
    """What the file would have run. The rest of torch's message says how to run it all the same."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f": it asks for {found[1]}" if found else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "end of file"
