"""Which emotions a checkpoint was trained on; every table has a row for all of them.

A row the optimiser never moved has no second moment, which tells for certain where the checkpoint
kept its training state. Otherwise the published family decides: voices named `*_emo` have the
seven ModelScope documents, others speak neutrally.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from worker.engine.sambert.symbols import emotions

PUBLISHED = ("neutral", "happy", "angry", "sad", "fear", "hate", "surprise")
_N_LEADING = 1  # the row of `none`


def voice_emotions(name: str, table: Tensor, checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The emotions a voice speaks, neutral first; `table` is its emotion embedding."""
    known = emotions()[: len(table) - _N_LEADING]
    moments = _second_moments(checkpoint, table)
    if moments is None:
        published = PUBLISHED if name.endswith("_emo") else PUBLISHED[:1]
        return tuple(e for e in published if e in known)
    moved = [e for e, row in zip(known, moments[_N_LEADING:], strict=False) if row.any()]
    return ("neutral", *(e for e in moved if e != "neutral"))


def _second_moments(checkpoint: Mapping[str, Any], table: Tensor) -> Tensor | None:
    """Adam's second moment of the table, found by its shape, None where not kept."""
    optimizer = checkpoint.get("optimizer")
    state = optimizer.get("state") if isinstance(optimizer, Mapping) else None
    entries = state.values() if isinstance(state, Mapping) else ()
    moments = [e["exp_avg_sq"] for e in entries if isinstance(e, Mapping) and "exp_avg_sq" in e]
    fitting = [m for m in moments if isinstance(m, Tensor) and m.shape == table.shape]
    return fitting[0] if len(fitting) == 1 else None
