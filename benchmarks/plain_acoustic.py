"""The acoustic model as its description reads, one operation after another, one utterance alone.

What the reference does in its decoder, and so the yardstick within a run: masks over all steps
made anew at every step, attention over all of the past and all of the memory, convolutions for
the feed-forward, nothing folded, nothing compiled.
"""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine.sambert.acoustic import AcousticModel, Spread
from worker.engine.sambert.adaptor import Durations
from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.decoder import DecoderBlock, HybridAttentionDecoder


class PlainAcoustic(AcousticModel):
    """An acoustic model with the plain decoder; made with eager loops."""

    def _decode(self, spread: Spread, durations: Sequence[Durations]) -> list[Tensor]:
        decoder = self.net.mel_decoder.mel_dec
        frames = []
        for memory, own in zip(torch.split(spread.memory, spread.steps), durations, strict=True):
            made = decode_plain(decoder, self.config, memory, own.band)
            made[own.n_frames :] = 0
            frames.append(made)
        return frames


def decode_plain(
    decoder: HybridAttentionDecoder, config: AcousticConfig, memory: Tensor, band: int
) -> Tensor:
    """Mel frames [steps * r, mels] of memory [steps, memory_units]."""
    steps, n_heads = len(memory), config.decoder.n_heads
    memory = memory[None]
    blocks = decoder.blocks()
    ahead = [block.pnca_attn.w_h_kv(memory).chunk(2, -1) for block in blocks]
    past: list[tuple[Tensor, Tensor] | None] = [None] * len(blocks)
    last, found = torch.zeros(1, 1, config.n_mels), []
    for t in range(steps):
        x = torch.cat([memory[:, t : t + 1], decoder.prenet.fcs(last)], dim=-1)
        x = decoder.dec_in_proj(x) * sqrt(config.decoder.units)
        self_mask, memory_mask = _masks(steps, band)
        for i, block in enumerate(blocks):
            attention = block.pnca_attn
            q, k, v = attention.w_x_qkv(attention.layer_norm(x)).chunk(3, -1)
            before = past[i]
            if before is not None:
                k, v = torch.cat([before[0], k], dim=1), torch.cat([before[1], v], dim=1)
            past[i] = k, v
            own = _attend(q, k, v, self_mask[t, : t + 1], n_heads)
            other = _attend(q, *ahead[i], memory_mask[t], n_heads)
            x = x + attention.fc_x(own) + attention.fc_h(other)
            x = x + _feed_forward(block, x)
        mel = decoder.dec_out_proj(decoder.ln(x))
        found.append(mel)
        last = mel[..., -config.n_mels :]
    return torch.cat(found, dim=1).reshape(-1, config.n_mels)


def _masks(steps: int, band: int) -> tuple[Tensor, Tensor]:
    """Which steps a step does not see of the past, and of the memory: [steps, steps] each."""
    at = torch.arange(steps)
    away = at[None] - at[:, None]
    return (away > 0) | (away < -band), (away < 0) | (away > band)


def _attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, n_heads: int) -> Tensor:
    q, k, v = (x.reshape(x.shape[1], n_heads, -1).transpose(0, 1) for x in (q, k, v))
    scores = torch.bmm(q / sqrt(q.shape[-1]), k.transpose(1, 2))
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return torch.bmm(weights, v).transpose(0, 1).reshape(1, 1, -1)


def _feed_forward(block: DecoderBlock, x: Tensor) -> Tensor:
    ffn = block.pos_ffn
    y = ffn.layer_norm(x).transpose(1, 2)
    y = F.relu(F.conv1d(y, ffn.w_1.weight, ffn.w_1.bias))
    return F.conv1d(y, ffn.w_2.weight, ffn.w_2.bias).transpose(1, 2)
