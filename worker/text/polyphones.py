"""The reading of a polyphone from its sentence: g2pM's bidirectional LSTM, run with numpy.

Weights and alphabet are g2pM's (Park and Lee 2020, arXiv:2004.03136; Apache-2.0), converted by
`scripts/build_text_data.py`. Which polyphones are asked is decided by `g2p`.
"""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.text import tables

Floats = NDArray[np.float32]

# Characters on either side of a polyphone that the model sees; more changes next to nothing.
_CONTEXT: Final = 16
_HALF: Final = np.float32(0.5)


class PolyphoneModel:
    """Chooses among the readings of characters; holds the weights, no state between calls."""

    def __init__(self) -> None:
        with np.load(io.BytesIO(tables.data_bytes("polyphone_model.npz"))) as data:
            self._ids = {str(c): i for i, c in enumerate(data["characters"]) if c}
            self._classes = {str(c): i for i, c in enumerate(data["classes"])}
            self._unknown, self._begin, self._end = (int(i) for i in data["special"])
            weights = {k: data[k].astype(np.float32) for k in data.files if "_" in k}
        self._inputs, self._recurrent = _fused(weights)
        self._backward = _backward(self._recurrent.shape[0])
        self._layers = [
            (weights[f"logit_layer_{n}_weight"].T, weights[f"logit_layer_{n}_bias"]) for n in (0, 2)
        ]
        choices = {row[0]: row[1].split(" ") for row in tables.rows("polyphones.tsv")}
        self._choices = {
            char: (readings, np.array([self._classes[r] for r in readings]))
            for char, readings in choices.items()
            if char in self._ids and all(r in self._classes for r in readings)
        }

    def knows(self, char: str) -> bool:
        """Whether `char` is a polyphone the model was trained on."""
        return char in self._choices

    def readings(self, text: str, places: Sequence[int]) -> list[str]:
        """The reading of each character of `text` at `places`, which `knows` has said yes to."""
        if not places:
            return []
        low = max(0, places[0] - _CONTEXT)
        high = min(len(text), places[-1] + _CONTEXT + 1)
        ids = [self._ids.get(char, self._unknown) for char in text[low:high]]
        wanted = self._hidden(
            [self._begin, *ids, self._end], [place - low + 1 for place in places]
        )  # [places, 2H]
        (weight, bias), (last_weight, last_bias) = self._layers
        scores = np.maximum(wanted @ weight + bias, 0) @ last_weight + last_bias
        found = []
        for place, row in zip(places, scores, strict=True):
            readings, classes = self._choices[text[place]]
            found.append(readings[int(np.argmax(row[classes]))])
        return found

    def _hidden(self, ids: list[int], places: list[int]) -> Floats:
        """What both directions hold at `places` (ascending), [places, 2H].

        They run at once, the second half of every step from the end, and only as far as the last
        place on their way.
        """
        n = len(ids)
        count = max(places[-1] + 1, n - places[0])
        size = self._recurrent.shape[0]
        ahead, back = self._inputs[ids[:count]], self._inputs[ids[: -count - 1 : -1]]
        steps = np.where(self._backward, back, ahead)  # [count, 8H]
        cell = np.zeros(size, np.float32)
        outputs = np.zeros((count + 1, size), np.float32)  # the state before each step, and last
        # One buffer for all steps: input, forget and output gate, then what the cell may take in.
        gates = np.empty(4 * size, np.float32)
        opened, taken = gates[: 3 * size], gates[3 * size :]
        enter, keep, leave = opened[:size], opened[size : 2 * size], opened[2 * size :]
        for state, step, following in zip(outputs, steps, outputs[1:], strict=False):
            state.dot(self._recurrent, out=gates)
            np.add(step, gates, out=gates)
            np.tanh(gates, out=gates)
            np.multiply(opened, _HALF, out=opened)
            np.add(opened, _HALF, out=opened)
            np.multiply(keep, cell, out=cell)
            np.multiply(enter, taken, out=taken)
            np.add(cell, taken, out=cell)
            np.tanh(cell, out=taken)
            np.multiply(leave, taken, out=following)
        half = size // 2
        forward = outputs[[place + 1 for place in places], :half]
        return np.concatenate([forward, outputs[[n - place for place in places], half:]], axis=1)


def _backward(size: int) -> NDArray[np.bool_]:
    """Which of the 4 * `size` gate columns belong to the direction that runs from the end."""
    half = size // 2
    return np.tile(np.repeat([False, True], half), 4)


def _fused(weights: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Input table [characters, 8H] and recurrent matrix [2H, 8H] of both directions in one.

    Columns are input, forget, output and cell gate, each of both directions. The first three are
    halved, because sigmoid(x) = (tanh(x / 2) + 1) / 2 lets one tanh serve all four.
    """
    ways = ("", "_reverse")
    half = weights["lstm_weight_hh_l0"].shape[1]
    embedding = weights["embedding_weight"]
    inputs, blocks = [], []
    for gate, scale in ((0, 0.5), (1, 0.5), (3, 0.5), (2, 1.0)):  # stored as i, f, g, o
        for at, way in enumerate(ways):
            rows = slice(gate * half, (gate + 1) * half)
            bias = (weights[f"lstm_bias_ih_l0{way}"] + weights[f"lstm_bias_hh_l0{way}"])[rows]
            inputs.append((embedding @ weights[f"lstm_weight_ih_l0{way}"][rows].T + bias) * scale)
            block = np.zeros((2 * half, half), np.float32)
            block[at * half : (at + 1) * half] = weights[f"lstm_weight_hh_l0{way}"][rows].T * scale
            blocks.append(block)
    table = np.concatenate(inputs, axis=1).astype(np.float32)
    return table, np.concatenate(blocks, axis=1).astype(np.float32)
