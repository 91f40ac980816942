"""Building blocks the encoder, predictors, decoder and postnet share.

Attribute names are the checkpoint's. Tensors are [batch, time, channels]; `mask` is
[batch, time, 1], 1 at units that exist and 0 at padding.
"""

from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.engine.sambert.config import FsmnShape, TransformerShape

NORM_EPS = 1e-6  # trained so; PyTorch's default of 1e-5 costs an order of magnitude


def layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=NORM_EPS)


class Near(nn.Conv1d):
    """A convolution over [batch, time, channels] as one product of neighbours side by side.

    For a sentence's few units a convolution would spend its time rearranging the weight.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, kernel, bias=bias)
        self._flat: Tensor | None = None

    def flat(self) -> Tensor:
        """The weight [out, kernel * in]."""
        return self.weight.detach().permute(0, 2, 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        if self._flat is None:
            self._flat = self.flat()
        return F.linear(self.beside(x, self.kernel_size[0]), self._flat, self.bias)

    @staticmethod
    def beside(x: Tensor, kernel: int) -> Tensor:
        """Each unit with its neighbours: [batch, time, kernel * channels]."""
        if kernel == 1:
            return x
        time = x.shape[1]
        wide = F.pad(x, (0, 0, kernel // 2, kernel // 2))
        return torch.cat([wide[:, tap : tap + time] for tap in range(kernel)], dim=2)


class SelfAttention(nn.Module):
    """Pre-norm multi-head attention; heads are contiguous slices of the channels."""

    def __init__(self, width: int, shape: TransformerShape) -> None:
        super().__init__()
        self.n_heads = shape.n_heads
        self.layer_norm = layer_norm(width)
        self.w_qkv = nn.Linear(width, 3 * shape.units)
        self.fc = nn.Linear(shape.units, shape.units)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, time, width = x.shape
        qkv = self.w_qkv(self.layer_norm(x))
        heads = qkv.view(batch, time, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = heads  # [batch, heads, time, head_units] each
        scores = (q / sqrt(q.shape[-1])) @ k.transpose(-1, -2)
        scores = scores.masked_fill(mask[:, None, None, :, 0] == 0, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time, -1)
        out: Tensor = self.fc(mixed)
        # The first block widens embedding to units, so it has nothing to add.
        return out + x if width == out.shape[-1] else out


class ConvFeedForward(nn.Module):
    """Pre-norm two-layer network whose first layer sees `kernel` neighbours."""

    def __init__(self, shape: TransformerShape, kernel: int) -> None:
        super().__init__()
        self.layer_norm = layer_norm(shape.units)
        self.w_1 = Near(shape.units, shape.ffn_units, kernel)
        self.w_2 = Near(shape.ffn_units, shape.units, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # A padding row normalises to the norm's bias, which must not leak into its neighbours.
        normed = self.layer_norm(x) * mask
        out: Tensor = x + self.w_2(F.relu(self.w_1(normed)))
        return out


class FsmnFeedForward(nn.Module):
    def __init__(self, width: int, shape: FsmnShape) -> None:
        super().__init__()
        self.w_1 = Near(width, shape.ffn_units, 1)
        self.w_2 = Near(shape.ffn_units, shape.memory_units, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w_2(F.relu(self.w_1(x)))
        return out


class Blend(nn.Conv1d):
    """A convolution over [batch, time, channels] of each channel by itself, zeros around."""

    def __init__(self, units: int, kernel: int, around: tuple[int, int]) -> None:
        super().__init__(units, units, kernel, groups=units, bias=False)
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        wide = F.pad(x.transpose(1, 2), self.around)
        return super().forward(wide).transpose(1, 2)


class FsmnMemory(nn.Module):
    """Adds to each frame a learned blend of its neighbours, per channel."""

    def __init__(self, shape: FsmnShape, padding: tuple[int, int]) -> None:
        super().__init__()
        self.conv_dw = Blend(shape.memory_units, shape.filter_size, padding)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.conv_dw(h)
        return out


class Fsmn(nn.Module):
    """Feed-forward sequential memory network: [batch, time, width] to [batch, time, memory]."""

    def __init__(self, width: int, shape: FsmnShape) -> None:
        super().__init__()
        widths = [width] + [shape.memory_units] * (len(shape.paddings) - 1)
        self.ffn_lst = nn.ModuleList(FsmnFeedForward(w, shape) for w in widths)
        self.memory_block_lst = nn.ModuleList(FsmnMemory(shape, p) for p in shape.paddings)
        self.reach = max(map(max, shape.paddings))  # of one block, in frames

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for ffn, memory in zip(self.ffn_lst, self.memory_block_lst, strict=True):
            m = memory(ffn(x) * mask) * mask
            x = m + x if m.shape == x.shape else m
        return x


class Prenet(nn.Module):
    """Linear and ReLU per entry of `units`, then a plain Linear when `out_units` is given.

    The indices step by three because training had a dropout after each ReLU.
    """

    def __init__(self, width: int, units: tuple[int, ...], out_units: int | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((width, *units)):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Identity()]
        if out_units is not None:
            layers.append(nn.Linear(units[-1], out_units))
        self.fcs = nn.Sequential(*layers)

    def linears(self) -> list[nn.Linear]:
        return [layer for layer in self.fcs if isinstance(layer, nn.Linear)]
