"""Turns the frontend's symbol notation into table rows.

A sequence is space-separated units `{phone$tone$syllable_flag$word_segment$emotion$speaker}`;
fields beyond these are ignored. The tables are in `data/pinyin.tsv`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from shared.errors import EmptyAudio, TextRefused
from worker.engine.sambert.config import COLUMNS

# Rows after a table's values: `_` pad, `~` end, `@[MASK]`; legacy tables lack the last.
N_SPECIALS = 3
NEUTRAL, NO_EMOTION = "emotion_neutral", "emotion_none"
_DEFAULT_SPEAKER = "F7"
_UNIT = re.compile(r"\{([^{}]*)\}")
_SHOWN = 5
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One utterance's rows: `ids` is int64 [6, n_units + 1], the last column the end mark."""

    ids: NDArray[np.int64]
    n_units: int


@cache
def tables() -> dict[str, tuple[str, ...]]:
    """The values of each column but the speaker's, in row order."""
    found: dict[str, list[str]] = {}
    text = files(__package__).joinpath("data/pinyin.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        column, value = line.split("\t")
        found.setdefault(column, []).append(value)
    return {column: tuple(values) for column, values in found.items()}


@cache
def emotions() -> tuple[str, ...]:
    """Every emotion of the notation, without its `emotion_` prefix, `none` left out."""
    return tuple(e.removeprefix("emotion_") for e in tables()["emo_category"][1:])


class SymbolEncoder:
    """Encodes sequences for a model with these speakers.

    A speaker the model lacks is an error, except `F7`, which the frontend writes for every voice:
    the first speaker stands in. Models with a speaker embedding ignore the field.
    """

    def __init__(self, speakers: Sequence[str], *, ignore_speaker: bool, max_units: int) -> None:
        rows = {c: {v: i for i, v in enumerate(values)} for c, values in tables().items()}
        rows["speaker_category"] = {name: i for i, name in enumerate(speakers)}
        self._rows = [rows[column] for column in COLUMNS]
        self._ends = [len(row) + 1 for row in self._rows]
        self._rows[5].setdefault(_DEFAULT_SPEAKER, 0)
        self._ignore_speaker = ignore_speaker
        self._max_units = max_units

    def encode(self, symbols: str, emotion: str = "neutral") -> Encoding:
        """The rows of `symbols`, units that are neutral spoken with `emotion` instead.

        Breaks are `emotion_none` and stay so. Raises `EmptyAudio` when there is no unit,
        `TextRefused` naming position and field of what is not in a table, or when there is more
        than the limit.
        """
        units = self._split(symbols)
        faults: list[str] = []
        columns = np.zeros((len(COLUMNS), len(units) + 1), dtype=np.int64)
        spoken = f"emotion_{emotion}"
        for position, unit in enumerate(units):
            fields = unit.split("$")
            if len(fields) < len(COLUMNS):
                faults.append(f"unit {position + 1} has {len(fields)} fields, expected 6")
                continue
            if fields[4] == NEUTRAL:
                fields[4] = spoken
            for column in range(len(COLUMNS)):
                columns[column, position] = self._row(column, fields[column], position, faults)
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise TextRefused("Unknown symbols: " + "; ".join(faults[:_SHOWN]) + more)
        columns[:, -1] = self._ends
        return Encoding(ids=columns, n_units=len(units))

    def _split(self, symbols: str) -> list[str]:
        units = _UNIT.findall(symbols)
        if not symbols.strip():
            raise EmptyAudio("There are no symbols to speak")
        rest = _UNIT.sub(" ", symbols).strip()
        if rest:
            raise TextRefused(
                f"{rest[:_SHOWN_CHARACTERS]!r} is no unit; write each as in "
                "{h_c$tone3$s_begin$word_begin$emotion_neutral$F7}"
            )
        if len(units) > self._max_units:
            raise TextRefused(
                f"The segment has {len(units)} symbols, the limit is {self._max_units}; "
                "split the text into shorter sentences"
            )
        return units

    def _row(self, column: int, value: str, position: int, faults: list[str]) -> int:
        row = self._rows[column].get(value)
        if row is not None:
            return row
        if column == 5 and self._ignore_speaker:
            return 0
        # The phone or tone is notation of ours, not the caller's text, so it may be shown.
        faults.append(f"unit {position + 1}: {COLUMNS[column]} {value[:20]!r}")
        return 0
