"""Pitch, energy and durations of each unit, and units spread over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.layers import Fsmn, Prenet
from worker.engine.sambert.loops import Array, DurationWeights, Lstm, as_array


class VariancePredictor(nn.Module):
    """One unbounded scalar a unit: [batch, time, condition] to [batch, time]."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units = config.predictor_lstm_units
        self.fsmn = Fsmn(config.condition_units, config.predictor)
        self.blstm = nn.LSTM(
            config.predictor.memory_units, units, batch_first=True, bidirectional=True
        )
        self.fc = nn.Linear(2 * units, 1)

    def predict(
        self, condition: Tensor, mask: Tensor, lengths: Sequence[int], lstm: Lstm
    ) -> Tensor:
        """Zero at padding. The LSTM runs over each item's own length."""
        memory = self.fsmn(condition, mask)
        states = lstm([memory[b, :n] for b, n in enumerate(lengths)])
        values = self.fc(torch.cat(states))[:, 0]
        return pad_sequence(values.split(list(lengths)), batch_first=True)


class DurationPredictor(nn.Module):
    """Holds the checkpoint's tensors; `pack` prepares them for the loops that run them."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.condition_units = config.condition_units
        units, prenet = config.duration_lstm_units, config.duration_prenet_units
        self.prenet = Prenet(1, prenet)
        self.lstm = nn.LSTM(prenet[-1] + config.condition_units, units, num_layers=2)
        self.fc = nn.Linear(units, 1)

    def pack(self) -> DurationWeights:
        lstm = {name: value.detach() for name, value in self.lstm.named_parameters()}
        input_w = lstm["weight_ih_l0"][:, : -self.condition_units]
        linears = self.prenet.linears()
        return DurationWeights(
            prenet_w=tuple(as_array(linear.weight) for linear in linears),
            prenet_b=tuple(as_array(linear.bias) for linear in linears),
            first_w=as_array(torch.cat([input_w, lstm["weight_hh_l0"]], dim=1)),
            second_w=as_array(torch.cat([lstm["weight_ih_l1"], lstm["weight_hh_l1"]], dim=1)),
            second_b=as_array(lstm["bias_ih_l1"] + lstm["bias_hh_l1"]),
            out_w=as_array(self.fc.weight),
            out_b=as_array(self.fc.bias),
        )

    def project(self, condition: Tensor) -> Tensor:
        """The first layer's gates as far as the condition makes them: [..., 4H]."""
        lstm = dict(self.lstm.named_parameters())
        weight = lstm["weight_ih_l0"][:, -self.condition_units :]
        return condition @ weight.t() + lstm["bias_ih_l0"] + lstm["bias_hh_l0"]


class FramePosition(nn.Module):
    """The code of a frame's index in its unit: sine and cosine in alternate channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inv_timescales = nn.Parameter(torch.zeros(width), requires_grad=False)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices [frames], from one, 0 at padding: [frames, width]."""
        code = indices[:, None] / self.inv_timescales
        code[:, 0::2] = code[:, 0::2].sin()
        code[:, 1::2] = code[:, 1::2].cos()
        return code


class VarianceAdaptor(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        width = config.projection_units
        self.pitch_predictor = VariancePredictor(config)
        self.energy_predictor = VariancePredictor(config)
        self.pitch_emb = nn.Conv1d(1, width, 9, padding=4)
        self.energy_emb = nn.Conv1d(1, width, 9, padding=4)
        self.duration_predictor = DurationPredictor(config)
        self.dur_position_encoder = FramePosition(width)


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Whole frames a unit, and the decoder's window in steps.

    `frames` is int64 [units]; zeros occur.
    """

    frames: NDArray[np.int64]
    band: int

    @property
    def n_frames(self) -> int:
        return int(self.frames.sum())


def round_durations(log_duration: Array, speed: float, group: int) -> Durations:
    """Durations from log(1 + frames), `speed` times shorter.

    The window comes from the durations before rounding. `group` is the model's frames a step.
    Values too large to count come out as a number of frames no limit allows.
    """
    with np.errstate(over="ignore"):
        exact = (np.exp(log_duration) - np.float32(1)) / np.float32(speed)
    exact = np.minimum(exact, np.float32(1e9))
    frames = (exact + np.float32(0.5)).astype(np.int64)
    return Durations(frames=frames, band=int(exact.max() / np.float32(group) + np.float32(0.5)))
