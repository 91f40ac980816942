"""The postnet: a correction added to the decoder's frames."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.layers import Fsmn
from worker.engine.sambert.loops import Lstm


class MelPostnet(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units = config.postnet_lstm_units
        self.fsmn = Fsmn(config.n_mels, config.postnet)
        self.lstm = nn.LSTM(config.postnet.memory_units, units, batch_first=True)
        self.fc = nn.Linear(units, config.n_mels)

    def correct(self, items: Sequence[Tensor], lstm: Lstm) -> list[Tensor]:
        """Each utterance's frames [frames, mels], one at least, corrected.

        All pass as one, a row of them with as many zeros between as a memory block reaches.
        """
        lengths = [len(frames) for frames in items]
        gap = items[0].new_zeros(self.fsmn.reach, items[0].shape[1])
        strip = torch.cat([part for frames in items for part in (frames, gap)])
        present = torch.cat([part for n in lengths for part in (gap.new_ones(n), gap[:, 0])])
        memory = self.fsmn(strip[None], present[None, :, None])[0]
        spans = [part for n in lengths for part in (n, len(gap))]
        states = lstm(memory.split(spans)[::2])
        corrections = self.fc(torch.cat(states)).split(lengths)
        return [frames + more for frames, more in zip(items, corrections, strict=True)]
