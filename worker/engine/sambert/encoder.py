"""The text encoder: table rows of phones and tones to one vector a unit."""

from math import sqrt

import torch
from torch import Tensor, nn

from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.layers import ConvFeedForward, SelfAttention, layer_norm


def position_code(first: int, last: int, width: int) -> Tensor:
    """Sines then cosines of positions `first`..`last` (from one): [last - first + 1, width].

    Computed in float64 and rounded, which agrees with what checkpoints store.
    """
    half = width // 2
    positions = torch.arange(first, last + 1, dtype=torch.float64)
    rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    angles = positions[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


class PositionTable(nn.Module):
    """The stored position code; longer input continues it by formula without changing it."""

    def __init__(self, max_len: int, width: int) -> None:
        super().__init__()
        self.position_enc = nn.Parameter(torch.zeros(1, max_len, width), requires_grad=False)

    def forward(self, time: int) -> Tensor:
        stored = self.position_enc[0, :time]
        if stored.shape[0] == time:
            return stored
        rest = position_code(stored.shape[0] + 1, time, stored.shape[1])
        return torch.cat([stored, rest.to(stored)])  # [time, width]


class EncoderBlock(nn.Module):
    def __init__(self, width: int, config: AcousticConfig) -> None:
        super().__init__()
        self.slf_attn = SelfAttention(width, config.encoder)
        self.pos_ffn = ConvFeedForward(config.encoder, kernel=3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = self.pos_ffn(self.slf_attn(x, mask), mask)
        return out


class LinguisticEncoder(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units = config.encoder.units
        self.scale = sqrt(units)  # of the units, though what it scales is embedding_dim wide
        self.position_enc = PositionTable(config.max_len, config.embedding_dim)
        widths = [config.embedding_dim] + [units] * (config.encoder.n_layers - 1)
        self.fft = nn.ModuleList(EncoderBlock(width, config) for width in widths)
        self.ln = layer_norm(units)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * self.scale + self.position_enc(x.shape[1])
        for block in self.fft:
            x = block(x, mask)
        out: Tensor = self.ln(x)
        return out


class TextEncoder(nn.Module):
    """Rows [4, batch, time] (phone, tone, syllable, word) to [batch, time, projection]."""

    def __init__(self, config: AcousticConfig, rows: tuple[int, ...]) -> None:
        super().__init__()
        width = config.embedding_dim
        self.sy_emb = nn.Embedding(rows[0], width)
        self.tone_emb = nn.Embedding(rows[1], width)
        self.syllable_flag_emb = nn.Embedding(rows[2], width)
        self.ws_emb = nn.Embedding(rows[3], width)
        self.ling_enc = LinguisticEncoder(config)
        self.ling_proj = nn.Linear(config.encoder.units, config.projection_units, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.sy_emb(ids[0]) + self.tone_emb(ids[1])
        x = x + self.syllable_flag_emb(ids[2]) + self.ws_emb(ids[3])
        out: Tensor = self.ling_proj(self.ling_enc(x, mask))
        return out
