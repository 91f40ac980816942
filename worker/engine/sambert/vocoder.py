"""Mel frames to samples, chunk by chunk, so memory does not grow with length.

A chunk is rendered with as many frames around it as the generator's receptive field reaches, and
only the utterance's own ends are true edges: the result is that of one pass, to rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine.sambert.config import VocoderConfig
from worker.engine.sambert.device import CPU
from worker.engine.sambert.hifigan import FINAL_SLOPE, Faster, Folded, FoldedStage, Pair
from worker.engine.sambert.loops import Array
from worker.engine.sambert.source import Source, SourceNoise

CHUNK_FRAMES = 400


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many frames before and after a frame its samples depend on."""

    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of frames to render: `lead` and `trail` of them are only context."""

    start: int
    end: int
    lead: int
    trail: int


@dataclass(frozen=True, kw_only=True)
class VocoderInput:
    """One utterance: mel [frames, mels] and, for vocoders with a source, [frames * hop] of it."""

    mel: Array
    excitation: Array | None


class WindowRenderer(Protocol):
    """A generator in some precision."""

    def render(self, mel: Tensor, excitation: Tensor | None, lead: int, trail: int) -> Tensor:
        """Samples [(frames - lead - trail) * hop] of mel [channels, frames].

        `excitation` [frames * hop] belongs to the same frames.
        """


def reaches(config: VocoderConfig) -> list[Reach]:
    """What each point of the generator needs: before conv_pre, after it, after each stage."""
    span = config.kernel_size - 1
    before, after = (span, 0) if config.causal else (span // 2, span // 2)
    rate, found = config.hop, []
    spans = [
        sum((k - 1) * (d + 1) for d in rates)
        for k, rates in zip(config.block_kernels, config.block_dilations, strict=True)
    ]
    for scale, kernel in zip(reversed(config.scales), reversed(config.up_kernels), strict=True):
        found.append(Reach(before=-(-before // rate), after=-(-after // rate)))
        before += max(spans) if config.causal else max(spans) // 2
        after += 0 if config.causal else max(spans) // 2
        cut = 0 if config.causal else (kernel - scale) // 2
        back = span if config.causal else span // 2
        before = (before + max(kernel - 1 - cut, back + scale - 1)) // scale
        after = (scale - 1 + after + max(cut, span - back)) // scale
        rate //= scale
    found.append(Reach(before=before, after=after))
    before, after = (
        before + (span if config.causal else span // 2),
        after + (0 if config.causal else span // 2),
    )
    found.append(Reach(before=before, after=after))
    return found[::-1]


def windows(n_frames: int, chunk: int, reach: Reach) -> Iterator[Window]:
    """Windows whose kept parts cover all frames once, none much shorter than the others."""
    count = max(1, -(-n_frames // chunk))
    edges = [n_frames * i // count for i in range(count + 1)]
    for first, last in pairwise(edges):
        start, end = max(0, first - reach.before), min(n_frames, last + reach.after)
        yield Window(start=start, end=end, lead=first - start, trail=end - last)


class Vocoder:
    """Renders utterances through a window renderer, one chunk at a time."""

    def __init__(
        self,
        renderer: WindowRenderer,
        config: VocoderConfig,
        source: Source | None,
        chunk_frames: int = CHUNK_FRAMES,
        device: torch.device = CPU,
    ) -> None:
        self.renderer, self.config, self.source = renderer, config, source
        self.chunk_frames, self.device = chunk_frames, device
        self.reach = reaches(config)[0]

    def excitation(self, mel: Array, noise: SourceNoise) -> Array | None:
        """The NSF excitation [frames * hop], None for vocoders without a source."""
        if self.source is None:
            return None
        return self.source.excite(mel[:, -2], mel[:, -1], noise)

    def render_all(self, items: Sequence[VocoderInput]) -> list[Array]:
        """The samples of each."""
        return [self.render(item.mel, item.excitation) for item in items]

    def render(self, mel: Array, excitation: Array | None) -> Array:
        """Samples [frames * hop] in [-1, 1] of mel [frames, mels]."""
        out = np.empty(len(mel) * self.config.hop, dtype=np.float32)
        at = 0
        for chunk in self.stream(mel, excitation):
            out[at : at + len(chunk)] = chunk
            at += len(chunk)
        return out

    @torch.inference_mode()
    def stream(self, mel: Array, excitation: Array | None) -> Iterator[Array]:
        """The same samples, a chunk as soon as it is made."""
        if not len(mel):
            return
        hop = self.config.hop
        channels = torch.from_numpy(mel[:, : self.config.in_channels]).to(self.device).t()
        for window in windows(len(mel), self.chunk_frames, self.reach):
            part = None
            if excitation is not None:
                own = excitation[window.start * hop : window.end * hop]
                part = torch.from_numpy(own).to(self.device)
            frames = channels[:, window.start : window.end]
            yield self.renderer.render(frames, part, window.lead, window.trail).cpu().numpy()


class TorchRenderer:
    """A folded generator in PyTorch.

    Context is dropped as soon as no later layer needs it: most of it is the first stage's.
    """

    def __init__(self, folded: Folded, faster: Faster | None = None) -> None:
        self.folded = folded
        self.slope = folded.config.slope
        self.needs = reaches(folded.config)[1:]
        self.blocks = [
            [(faster and faster(pairs)) or DirectBlock(pairs, self.slope) for pairs in stage.blocks]
            for stage in folded.stages
        ]

    def render(self, mel: Tensor, excitation: Tensor | None, lead: int, trail: int) -> Tensor:
        x = self.folded.pre(mel.t().contiguous().t()[None, :, None])
        source = None if excitation is None else excitation[None, None, None]
        flow = _Flow(x=x, source=source, lead=lead, trail=trail)
        for stage, blocks, need in zip(self.folded.stages, self.blocks, self.needs, strict=False):
            flow = flow.trim(need, self.folded.config.hop)
            x = F.leaky_relu_(flow.x.sin() + flow.x, self.slope)
            x, rate = upsample(stage, x, flow.source), flow.rate * stage.up.scale
            total = blocks[0](x)
            for block in blocks[1:]:
                total += block(x)
            flow = replace(flow, x=total.div_(len(blocks)), rate=rate)
        flow = flow.trim(self.needs[-1], self.folded.config.hop)
        samples = self.folded.post(F.leaky_relu_(flow.x, FINAL_SLOPE)).tanh_().reshape(-1)
        return samples[flow.lead * flow.rate : len(samples) - flow.trail * flow.rate]


def upsample(stage: FoldedStage, x: Tensor, source: Tensor | None) -> Tensor:
    """A stage's first half: activated x at its rate, the excitation added."""
    x = stage.up(x)
    if stage.down is not None and source is not None:
        x += stage.down(source)
    return x


class DirectBlock:
    """A residual block as its convolutions say."""

    def __init__(self, pairs: tuple[Pair, ...], slope: float) -> None:
        self.pairs, self.slope = pairs, slope

    def __call__(self, x: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Residual stream in float32; a 16-bit block's convolutions see rounded copies of it.

        Convolutions see zeros at the positions in `gaps`.
        """
        for number, (first, second) in enumerate(self.pairs):
            hidden = silenced(F.leaky_relu(x, self.slope).to(first.weight.dtype), gaps)
            hidden = silenced(F.leaky_relu_(first(hidden), self.slope), gaps)
            # The first sum makes a new tensor: x is the input of the other blocks too.
            x = x + second(hidden) if number == 0 else x.add_(second(hidden))
        return x


def silenced(x: Tensor, gaps: Tensor | None) -> Tensor:
    """x [1, channels, 1, time], itself set to zero at the positions in `gaps`."""
    return x if gaps is None else x.index_fill_(3, gaps, 0)


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """A window on its way: x [1, channels, 1, frames * rate], context counted in frames."""

    x: Tensor
    source: Tensor | None
    lead: int
    trail: int
    rate: int = 1

    def trim(self, need: Reach, hop: int) -> "_Flow":
        """Without the context frames that nothing after this point depends on."""
        left, right = max(0, self.lead - need.before), max(0, self.trail - need.after)
        x = self.x[..., left * self.rate : self.x.shape[3] - right * self.rate]
        source = self.source
        if source is not None:
            source = source[..., left * hop : source.shape[3] - right * hop]
        return replace(self, x=x, source=source, lead=self.lead - left, trail=self.trail - right)
