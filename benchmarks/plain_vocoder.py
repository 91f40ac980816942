"""The generator as its checkpoint describes it, one convolution after another, unfolded.

What the reference does, and so the yardstick within a run: the same arithmetic in the plainest
PyTorch, on the same machine at the same time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.engine.sambert.config import VocoderConfig
from worker.engine.sambert.hifigan import FINAL_SLOPE, Generator


@torch.inference_mode()
def render_plain(net: Generator, config: VocoderConfig, mel: Tensor) -> Tensor:
    """Samples [frames * hop] of mel [channels, frames]; non-causal generators without a source."""
    slope = config.slope
    x = _same(net.conv_pre.conv1d, mel[None])
    blocks = list(net.conv_blocks)
    n_blocks = len(config.block_kernels)
    for i, scale in enumerate(config.scales):
        x = x.sin() + x
        active = F.leaky_relu(x, slope)
        deconv = net.transpose_upsamples[i][1].deconv
        cut = (config.up_kernels[i] - scale) // 2
        up = F.conv_transpose1d(active, deconv.weight, deconv.bias, stride=scale, padding=cut)
        repeated = active.repeat_interleave(scale, dim=2)
        x = _same(net.repeat_upsamples[i][2].conv1d, repeated)
        x = x + up[:, :, : x.shape[2]]
        outs = []
        for block, rates in zip(blocks[i * n_blocks :], config.block_dilations, strict=False):
            y = x
            for first, second, rate in zip(block.convs1, block.convs2, rates, strict=True):
                hidden = _same(first.conv1d, F.leaky_relu(y, slope), rate)
                y = y + _same(second.conv1d, F.leaky_relu(hidden, slope))
            outs.append(y)
        x = sum(outs) / n_blocks
    return _same(net.conv_post.conv1d, F.leaky_relu(x, FINAL_SLOPE)).tanh().reshape(-1)


def flop_per_second(config: VocoderConfig, rate_hz: int) -> float:
    """Floating-point operations of the unfolded network for a second of audio."""
    frames = rate_hz / config.hop
    size = config.kernel_size
    total, rate = config.in_channels * config.channels * size * frames, frames
    for i, scale in enumerate(config.scales):
        n_in, n_out = config.channels >> i, config.channels >> (i + 1)
        total += n_in * n_out * config.up_kernels[i] * rate
        rate *= scale
        total += n_in * n_out * size * rate
        for kernel, rates in zip(config.block_kernels, config.block_dilations, strict=True):
            total += 2 * len(rates) * n_out * n_out * kernel * rate
    return 2 * (total + (config.channels >> len(config.scales)) * size * rate)


def _same(conv: nn.Conv1d, x: Tensor, dilation: int = 1) -> Tensor:
    span = (conv.kernel_size[0] - 1) * dilation
    return F.conv1d(x, conv.weight, conv.bias, padding=span // 2, dilation=dilation)
