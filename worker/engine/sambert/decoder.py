"""The mel decoder's tensors, and their folding into what the decoding loops read."""

from collections.abc import Sequence
from math import sqrt
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.layers import ConvFeedForward, Prenet, layer_norm
from worker.engine.sambert.loops import Array, DecoderInput, DecoderWeights, as_array


class HybridAttention(nn.Module):
    """Attention over past steps and over the memory ahead, one query for both."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units = config.decoder.units
        self.layer_norm = layer_norm(units)
        self.w_x_qkv = nn.Linear(units, 3 * units)
        self.fc_x = nn.Linear(units, units)
        self.w_h_kv = nn.Linear(config.memory_units, 2 * units)
        self.fc_h = nn.Linear(units, units)


class DecoderBlock(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.pnca_attn = HybridAttention(config)
        self.pos_ffn = ConvFeedForward(config.decoder, kernel=1)


class HybridAttentionDecoder(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        units, r_mels = config.decoder.units, config.outputs_per_step * config.n_mels
        self.prenet = Prenet(config.n_mels, config.decoder_prenet_units, units)
        self.dec_in_proj = nn.Linear(config.memory_units + units, units)
        self.pnca = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder.n_layers))
        self.ln = layer_norm(units)
        self.dec_out_proj = nn.Linear(units, r_mels)

    def blocks(self) -> list[DecoderBlock]:
        return [block for block in self.pnca if isinstance(block, DecoderBlock)]


class MelDecoder(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.mel_dec = HybridAttentionDecoder(config)


class MemoryProjection:
    """Turns decoder memory into every step's input part and every layer's keys and values."""

    def __init__(self, decoder: HybridAttentionDecoder, config: AcousticConfig) -> None:
        units, n_memory = config.decoder.units, config.memory_units
        scale = sqrt(units)
        project = decoder.dec_in_proj
        last = decoder.prenet.linears()[-1]
        # The prenet's last bias passes through the input projection, so it ends up here too.
        in_b = project.weight.double()[:, n_memory:] @ last.bias.double() + project.bias.double()
        in_w = project.weight.double()[:, :n_memory]
        kv = [block.pnca_attn.w_h_kv for block in decoder.blocks()]
        rows = _alternate(config, 2)
        self.units = units
        self.n_layers = len(kv)
        self.weight = torch.cat([in_w * scale] + [k.weight.double()[rows] for k in kv]).float()
        self.bias = torch.cat([in_b * scale] + [k.bias.double()[rows] for k in kv]).float()

    def __call__(
        self, memory: Tensor, steps: Sequence[int], bands: Sequence[int]
    ) -> list[DecoderInput]:
        """`memory` [all steps, memory_units] of utterances one after another, `steps` of each."""
        both = torch.addmm(self.bias, memory, self.weight.t())
        kv = both[:, self.units :].reshape(len(memory), self.n_layers, 2 * self.units)
        kv = kv.transpose(0, 1)
        found, at = [], 0
        for n, band in zip(steps, bands, strict=True):
            own = slice(at, at + n)
            inputs = both[own, : self.units]
            found.append(DecoderInput(inputs=inputs, memory_kv=kv[:, own], band=band))
            at += n
        return found


def pack_decoder(decoder: HybridAttentionDecoder, config: AcousticConfig) -> DecoderWeights:
    """The step's weights with every exact rewrite of them done, in float64, stored as float32.

    Folded: each norm's scale and bias into the next map, 1/sqrt(head) into queries, sqrt(units)
    and the prenet's last map into the input projection, the two attention outputs into one map.
    Inside attention, channel u of head h moves from h * units + u to u * heads + h.
    """
    units, n_memory = config.decoder.units, config.memory_units
    prenet = decoder.prenet.linears()
    in_w = decoder.dec_in_proj.weight.double()[:, n_memory:] @ prenet[-1].weight.double()
    blocks = [_pack_block(block, config) for block in decoder.blocks()]
    stacked = {name: np.stack([block[name] for block in blocks]) for name in blocks[0]}
    mel_w, mel_b = _behind_norm(decoder.dec_out_proj.weight, decoder.dec_out_proj.bias, decoder.ln)
    return DecoderWeights(
        prenet_w=tuple(as_array(linear.weight) for linear in prenet[:-1]),
        prenet_b=tuple(as_array(linear.bias) for linear in prenet[:-1]),
        in_w=as_array(in_w * sqrt(units)),
        mel_w=as_array(mel_w),
        mel_b=as_array(mel_b),
        n_heads=config.decoder.n_heads,
        n_mels=config.n_mels,
        **stacked,
    )


def _pack_block(block: DecoderBlock, config: AcousticConfig) -> dict[str, Array]:
    """One block's arrays by their names in `DecoderWeights`."""
    attention, ffn = block.pnca_attn, block.pos_ffn
    qkv_w, qkv_b = _behind_norm(
        attention.w_x_qkv.weight, attention.w_x_qkv.bias, attention.layer_norm
    )
    gain = torch.ones_like(qkv_b)
    gain[: config.decoder.units] = 1 / sqrt(config.decoder.head_units)
    mix_w = torch.cat([attention.fc_x.weight, attention.fc_h.weight], dim=1)
    mix_b = attention.fc_x.bias.double() + attention.fc_h.bias.double()
    up_w, up_b = _behind_norm(ffn.w_1.weight[:, :, 0], cast(Tensor, ffn.w_1.bias), ffn.layer_norm)
    return {
        "qkv_w": as_array((qkv_w * gain[:, None])[_alternate(config, 3)]),
        "qkv_b": as_array((qkv_b * gain)[_alternate(config, 3)]),
        "mix_w": as_array(mix_w[:, _alternate(config, 2)]),
        "mix_b": as_array(mix_b),
        "up_w": as_array(up_w),
        "up_b": as_array(up_b),
        "down_w": as_array(ffn.w_2.weight[:, :, 0]),
        "down_b": as_array(cast(Tensor, ffn.w_2.bias)),
    }


def _alternate(config: AcousticConfig, parts: int) -> Tensor:
    """The order that makes heads alternate along the channels of each of `parts` parts."""
    shape = config.decoder
    order = torch.arange(shape.units).view(shape.n_heads, -1).t().reshape(-1)
    return torch.cat([part * shape.units + order for part in range(parts)])


def _behind_norm(weight: Tensor, bias: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """A map of a norm's output as a map of the bare normalised value."""
    weight, bias = weight.double(), bias.double()
    return weight * norm.weight.double(), bias + weight @ norm.bias.double()
