"""Many windows in one pass of the generator, for a GPU.

A GPU waits for most of a sentence's pass, so the windows of a whole batch are laid side by side
along time. What lies between two is set to zero before every convolution: each window sees the
zeros that its own ends would have had, and gives what it alone gives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine.sambert.config import VocoderConfig
from worker.engine.sambert.hifigan import FINAL_SLOPE, Folded
from worker.engine.sambert.loops import Array
from worker.engine.sambert.source import Source
from worker.engine.sambert.vocoder import (
    DirectBlock,
    TorchRenderer,
    Vocoder,
    VocoderInput,
    Window,
    silenced,
    upsample,
    windows,
)

STRIP_FRAMES = 4096


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A window of one of the utterances, and the frame of its strip where it begins."""

    item: int
    window: Window
    at: int

    @property
    def n_frames(self) -> int:
        return self.window.end - self.window.start


def gap_frames(config: VocoderConfig) -> int:
    """How many frames of zeros no convolution of the generator reaches across."""
    gap, rate = config.kernel_size - 1, 1
    for scale, kernel in zip(config.scales, config.up_kernels, strict=True):
        # Input frames that a merged kernel covers, and the excitation's kernel of two of its steps.
        gap = max(gap, -(-((kernel + scale) // scale + config.kernel_size) // rate), 2)
        rate *= scale
        spans = [
            (size - 1) * max(rates)
            for size, rates in zip(config.block_kernels, config.block_dilations, strict=True)
        ]
        gap = max(gap, -(-max(spans) // rate))
    return gap


class StripVocoder(Vocoder):
    """A vocoder that renders the utterances of a batch together."""

    def __init__(
        self,
        folded: Folded,
        source: Source | None,
        device: torch.device,
        strip_frames: int = STRIP_FRAMES,
    ) -> None:
        """`strip_frames` is the most frames that go through the generator at once."""
        super().__init__(TorchRenderer(folded), folded.config, source, strip_frames, device)
        self.folded, self.gap = folded, gap_frames(folded.config)
        self.blocks = [
            [DirectBlock(pairs, folded.config.slope) for pairs in stage.blocks]
            for stage in folded.stages
        ]

    @torch.inference_mode()
    def render_all(self, items: Sequence[VocoderInput]) -> list[Array]:
        hop = self.config.hop
        found = [np.empty(len(item.mel) * hop, dtype=np.float32) for item in items]
        for pieces in self._strips([len(item.mel) for item in items]):
            samples = self._render(pieces, items)
            for piece in pieces:
                window = piece.window
                kept = slice((piece.at + window.lead) * hop, _end(piece, window.trail) * hop)
                first, last = window.start + window.lead, window.end - window.trail
                found[piece.item][first * hop : last * hop] = samples[kept]
        return found

    def _strips(self, lengths: Sequence[int]) -> Iterator[list[Piece]]:
        """All windows of all utterances, as many a strip as have room on it."""
        strip: list[Piece] = []
        for item, n_frames in enumerate(lengths):
            for window in windows(n_frames, self.chunk_frames, self.reach) if n_frames else ():
                at = _end(strip[-1]) + self.gap if strip else 0
                if strip and at + window.end - window.start > self.chunk_frames:
                    yield strip
                    strip, at = [], 0
                strip.append(Piece(item=item, window=window, at=at))
        if strip:
            yield strip

    def _render(self, pieces: Sequence[Piece], items: Sequence[VocoderInput]) -> Array:
        """The samples of a strip; those between its pieces mean nothing."""
        hop, total = self.config.hop, _end(pieces[-1])
        mel = np.zeros((total, self.config.in_channels), dtype=np.float32)
        source = None if self.source is None else np.zeros(total * hop, dtype=np.float32)
        for piece in pieces:
            window, item = piece.window, items[piece.item]
            part = item.mel[window.start : window.end, : self.config.in_channels]
            mel[piece.at : _end(piece)] = part
            if source is not None and item.excitation is not None:
                own = item.excitation[window.start * hop : window.end * hop]
                source[piece.at * hop : _end(piece) * hop] = own
        gaps = [np.arange(_end(before), after.at) for before, after in pairwise(pieces)]
        between = np.concatenate([np.zeros(0, dtype=np.int64), *gaps])
        return self._generate(
            torch.from_numpy(mel).to(self.device),
            None if source is None else torch.from_numpy(source).to(self.device),
            torch.from_numpy(between).to(self.device),
        )

    def _generate(self, mel: Tensor, excitation: Tensor | None, between: Tensor) -> Array:
        """Samples of mel [frames, channels] with nothing at the frames `between`."""
        x = self.folded.pre(mel.t()[None, :, None])
        source = None if excitation is None else excitation[None, None, None]
        gaps, rate = between, 1
        for stage, blocks in zip(self.folded.stages, self.blocks, strict=True):
            x = silenced(F.leaky_relu_(x.sin() + x, self.config.slope), gaps)
            x = upsample(stage, x, source)
            rate *= stage.up.scale
            steps = torch.arange(rate, device=self.device)
            gaps = (between[:, None] * rate + steps).reshape(-1)
            total = blocks[0](x, gaps)
            for block in blocks[1:]:
                total += block(x, gaps)
            x = total.div_(len(blocks))
        x = silenced(F.leaky_relu_(x, FINAL_SLOPE), gaps)
        samples: Array = self.folded.post(x).tanh_().reshape(-1).cpu().numpy()
        return samples


def _end(piece: Piece, trail: int = 0) -> int:
    """The strip's frame after the piece's last but `trail`."""
    return piece.at + piece.n_frames - trail
