"""The postnet: a correction added to the decoder's frames."""

from collections.abc import Callable

from torch import Tensor, nn

from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.layers import Fsmn


class MelPostnet(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units = config.postnet_lstm_units
        self.fsmn = Fsmn(config.n_mels, config.postnet)
        self.lstm = nn.LSTM(config.postnet.memory_units, units, batch_first=True)
        self.fc = nn.Linear(units, config.n_mels)

    def correct(self, frames: Tensor, mask: Tensor, lstm: Callable[[Tensor], Tensor]) -> Tensor:
        """One utterance's frames [frames, mels] corrected, zero where `mask` [frames, 1] is."""
        memory = self.fsmn(frames[None], mask[None])[0]
        correction: Tensor = self.fc(lstm(memory))
        return (frames + correction) * mask
