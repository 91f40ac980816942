"""The HiFi-GAN generator: the checkpoint's tensors, and the faster form they are folded into.

Folding is exact but for rounding: a stage's transposed convolution and its repeat-then-convolve
branch are both linear in the same input, so one transposed kernel does both; convolutions run as
two-dimensional ones of height 1 in channels-last memory, which the CPU kernels prefer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.engine.sambert.config import VocoderConfig

FINAL_SLOPE = 0.01  # of the last activation only, PyTorch's default there


class Conv(nn.Module):
    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1d = nn.Conv1d(n_in, n_out, kernel, stride=stride)


class Deconv(nn.Module):
    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose1d(n_in, n_out, kernel, stride=stride)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, n_layers: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(Conv(channels, channels, kernel) for _ in range(n_layers))
        self.convs2 = nn.ModuleList(Conv(channels, channels, kernel) for _ in range(n_layers))


class SourceModule(nn.Module):
    def __init__(self, n_harmonics: int) -> None:
        super().__init__()
        self.ffn = nn.ModuleList([nn.Conv1d(n_harmonics + 1, 1, 1)])


class Generator(nn.Module):
    """The checkpoint's module tree; it holds tensors, `fold` makes what runs."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        size, last = config.kernel_size, config.channels >> len(config.scales)
        self.conv_pre = Conv(config.in_channels, config.channels, size)
        self.transpose_upsamples = nn.ModuleList()
        self.repeat_upsamples = nn.ModuleList()
        self.conv_blocks = nn.ModuleList()
        for i, (scale, kernel) in enumerate(zip(config.scales, config.up_kernels, strict=True)):
            n_in, n_out = config.channels >> i, config.channels >> (i + 1)
            deconv, repeat = Deconv(n_in, n_out, kernel, scale), Conv(n_in, n_out, size)
            # Training kept an activation, and a repeat, before these; the indices remain.
            self.transpose_upsamples.append(nn.ModuleList([nn.Identity(), deconv]))
            self.repeat_upsamples.append(nn.ModuleList([nn.Identity(), nn.Identity(), repeat]))
            for block, rates in zip(config.block_kernels, config.block_dilations, strict=True):
                self.conv_blocks.append(ResidualBlock(n_out, block, len(rates)))
        self.conv_post = Conv(last, 1, size)
        if config.n_harmonics is not None:
            self.source_module = SourceModule(config.n_harmonics)
            self.source_downs = nn.ModuleList(
                Conv(1, config.channels >> (i + 1), *down_shape(config, i))
                for i in range(len(config.scales))
            )


def down_shape(config: VocoderConfig, stage: int) -> tuple[int, int]:
    """Kernel and stride that bring the excitation to a stage's rate."""
    ratio = 1
    for scale in config.scales[stage + 1 :]:
        ratio *= scale
    return (1, 1) if ratio == 1 else (2 * ratio, ratio)


@dataclass(frozen=True, kw_only=True)
class FoldedConv:
    """A convolution over time as a height-1 image's: weight [out, in, 1, kernel], channels last.

    `left` and `right` are the zeros it pads with.
    """

    weight: Tensor
    bias: Tensor | None
    left: int
    right: int
    stride: int = 1
    dilation: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """x [1, in, 1, time] to [1, out, 1, time / stride]."""
        y = F.conv2d(
            x,
            self.weight,
            self.bias,
            stride=(1, self.stride),
            padding=(0, self.left),
            dilation=(1, self.dilation),
        )
        # Padding both sides by `left` and cutting costs less than a copy padded on one side.
        return y if self.left == self.right else y[..., : x.shape[3] // self.stride]


@dataclass(frozen=True, kw_only=True)
class FoldedUp:
    """A stage's upsampling: weight [in, out, 1, kernel], `lead` outputs before the first kept."""

    weight: Tensor
    bias: Tensor
    scale: int
    lead: int

    def __call__(self, x: Tensor) -> Tensor:
        """x [1, in, 1, time] to [1, out, 1, time * scale]."""
        time, kernel = x.shape[3] * self.scale, self.weight.shape[3]
        # Ends are cut alike by the padding; what is then too long or short is cut or added.
        extra = max(0, 2 * self.lead + self.scale - kernel)
        y = F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            stride=(1, self.scale),
            padding=(0, self.lead),
            output_padding=(0, extra),
        )
        return y[..., :time]


Pair = tuple[FoldedConv, FoldedConv]
Block = Callable[[Tensor], Tensor]
Faster = Callable[[tuple[Pair, ...]], Block | None]


@dataclass(frozen=True, kw_only=True)
class FoldedStage:
    up: FoldedUp
    down: FoldedConv | None
    blocks: tuple[tuple[Pair, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A generator ready to run. `merge` [1, harmonics] and its bias make the excitation."""

    config: VocoderConfig
    pre: FoldedConv
    stages: tuple[FoldedStage, ...]
    post: FoldedConv
    merge: tuple[Tensor, Tensor] | None


def fold(net: Generator, config: VocoderConfig, block_type: torch.dtype = torch.float32) -> Folded:
    """The generator's fast form; `block_type` is what the residual blocks' convolutions use."""
    causal = config.causal
    n_blocks = len(config.block_kernels)
    stages = []
    for i in range(len(config.scales)):
        blocks = cast(list[ResidualBlock], list(net.conv_blocks))[i * n_blocks :][:n_blocks]
        stages.append(
            FoldedStage(
                up=_fold_up(net, config, i),
                down=_fold_down(net, config, i),
                blocks=tuple(
                    tuple(_fold_pairs(block, rates, causal, block_type))
                    for block, rates in zip(blocks, config.block_dilations, strict=True)
                ),
            )
        )
    merge = None
    if config.n_harmonics is not None:
        conv = cast(nn.Conv1d, net.source_module.ffn[0])
        merge = (conv.weight.detach()[:, :, 0], cast(Tensor, conv.bias).detach())
    return Folded(
        config=config,
        pre=_fold_conv(net.conv_pre.conv1d, causal),
        stages=tuple(stages),
        post=_fold_conv(net.conv_post.conv1d, causal),
        merge=merge,
    )


def _fold_conv(
    conv: nn.Conv1d, causal: bool, dilation: int = 1, kind: torch.dtype = torch.float32
) -> FoldedConv:
    span = (conv.kernel_size[0] - 1) * dilation
    left, right = (span, 0) if causal else (span // 2, span // 2)
    bias = cast(Tensor, conv.bias)
    return FoldedConv(
        weight=_image(conv.weight, kind),
        bias=bias.detach().to(kind),
        left=left,
        right=right,
        dilation=dilation,
    )


def _fold_pairs(
    block: ResidualBlock, rates: tuple[int, ...], causal: bool, kind: torch.dtype
) -> Iterable[Pair]:
    for first, second, rate in zip(block.convs1, block.convs2, rates, strict=True):
        first_conv, second_conv = cast(Conv, first).conv1d, cast(Conv, second).conv1d
        yield _fold_conv(first_conv, causal, rate, kind), _fold_conv(second_conv, causal, 1, kind)


def _fold_down(net: Generator, config: VocoderConfig, stage: int) -> FoldedConv | None:
    if config.n_harmonics is None:
        return None
    conv = cast(Conv, net.source_downs[stage]).conv1d
    kernel, stride = down_shape(config, stage)
    left = 0 if kernel == 1 else kernel - 1 if config.causal else stride // 2
    return FoldedConv(
        weight=_image(conv.weight),
        bias=cast(Tensor, conv.bias).detach(),
        left=left,
        # Any other number than `left`: with a stride the output's end is always cut.
        right=-1,
        stride=stride,
    )


def _fold_up(net: Generator, config: VocoderConfig, stage: int) -> FoldedUp:
    """Both upsampling branches as one transposed kernel.

    With u = (output position) - scale * (input position), the transposed branch covers
    u = -cut .. kernel - 1 - cut, and the repeat branch, a box as wide as the scale convolved with
    its kernel, u = back - (size - 1) .. back + scale - 1 (`back` is its left padding):

        transposed        |-cut ............ kernel-1-cut|
        repeat     |back-size+1 ..................... back+scale-1|
        merged     |-lead ................................. last|
    """
    up = cast(Deconv, cast(nn.ModuleList, net.transpose_upsamples[stage])[1]).deconv
    repeat = cast(Conv, cast(nn.ModuleList, net.repeat_upsamples[stage])[2]).conv1d
    scale, kernel, size = config.scales[stage], config.up_kernels[stage], config.kernel_size
    cut = 0 if config.causal else (kernel - scale) // 2
    back = size - 1 if config.causal else (size - 1) // 2
    lead = max(cut, size - 1 - back)
    last = max(kernel - 1 - cut, back + scale - 1)
    shape = (*up.weight.shape[:2], lead + last + 1)
    merged = torch.zeros(shape, dtype=torch.float64, device=up.weight.device)
    merged[:, :, lead - cut : lead - cut + kernel] += up.weight.detach().double()
    taps = repeat.weight.detach().double().transpose(0, 1)  # [in, out, size]
    for tap in range(size):
        start = lead + back - tap
        merged[:, :, start : start + scale] += taps[:, :, tap, None]
    bias = cast(Tensor, up.bias).double() + cast(Tensor, repeat.bias).double()
    return FoldedUp(weight=_image(merged), bias=bias.detach().float(), scale=scale, lead=lead)


def _image(weight: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
    image = weight.detach().unsqueeze(2).to(kind)
    return image.contiguous(memory_format=torch.channels_last)
