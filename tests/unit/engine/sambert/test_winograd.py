"""Tiled convolutions give what direct ones give, at every size where a tile could go wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden.make_voice import FULL
from tests.reference import WAVE_LIMIT, worst
from worker.engine.sambert.config import parse_vocoder
from worker.engine.sambert.hifigan import FoldedConv, Generator, fold
from worker.engine.sambert.memory import Scratch
from worker.engine.sambert.vocoder import DirectBlock, TorchRenderer, Vocoder
from worker.engine.sambert.winograd import TiledBlock, tiled_blocks, transforms

SLOPE = 0.1
SCRATCH = Scratch()


def conv_of(channels: int, kernel: int, dilation: int, causal: bool) -> FoldedConv:
    torch.manual_seed(kernel * 100 + dilation)
    span = (kernel - 1) * dilation
    weight = torch.randn(channels, channels, 1, kernel) / (channels * kernel) ** 0.5
    return FoldedConv(
        weight=weight.contiguous(memory_format=torch.channels_last),
        bias=torch.randn(channels),
        left=span if causal else span // 2,
        right=0 if causal else span // 2,
        dilation=dilation,
    )


def test_the_matrices_compute_a_convolution() -> None:
    spread, weights, gather = transforms()
    x, taps = np.arange(7.0) ** 2 - 3, np.array([0.5, -2.0, 1.0, 4.0])
    found = gather @ ((spread @ x) * (weights @ taps))
    assert found == pytest.approx(np.correlate(x, taps))


@settings(max_examples=60, deadline=None)
@given(
    time=st.integers(1, 90),
    kernel=st.sampled_from([1, 3, 5, 7, 11]),
    dilation=st.sampled_from([1, 2, 3, 5, 7]),
    causal=st.booleans(),
)
def test_a_tiled_convolution_is_the_direct_one(
    time: int, kernel: int, dilation: int, causal: bool
) -> None:
    channels = 16
    first, second = conv_of(channels, kernel, dilation, causal), conv_of(channels, 3, 1, causal)
    x = torch.randn(1, channels, 1, time).contiguous(memory_format=torch.channels_last)
    expected = DirectBlock(((first, second),), SLOPE)(x)
    found = TiledBlock(((first, second),), SLOPE, SCRATCH)(x)
    assert worst(found.numpy(), expected.numpy()) < 2e-5


def test_a_convolution_whose_context_fills_a_block_is_left_to_pytorch() -> None:
    wide, narrow = conv_of(512, 15, 7, False), conv_of(512, 3, 1, False)
    assert not TiledBlock.pays(((wide, narrow),))
    assert not TiledBlock.pays(((narrow, narrow), (wide, narrow)))
    assert TiledBlock.pays(((narrow, narrow),))
    assert tiled_blocks(SLOPE)(((wide, narrow),)) is None


@pytest.mark.parametrize("causal", [False, True])
def test_a_generator_of_full_width_is_the_same_in_tiles(causal: bool) -> None:
    torch.manual_seed(3)
    kernels = [20, 10, 4, 4] if causal else FULL.vocoder["upsample_kernal_sizes"]
    params = FULL.vocoder | {"causal": causal, "upsample_kernal_sizes": kernels}
    config = parse_vocoder({"Model": {"Generator": {"params": params}}}, "test")
    folded = fold(Generator(config), config)
    tiled = TorchRenderer(folded, tiled_blocks(config.slope))
    kinds = [[type(block) is TiledBlock for block in blocks] for blocks in tiled.blocks]
    assert kinds == [[True] * 3] * 4
    mel = np.random.default_rng(0).standard_normal((23, 80)).astype(np.float32)
    direct = Vocoder(TorchRenderer(folded), config, None).render(mel, None)
    assert worst(Vocoder(tiled, config, None).render(mel, None), direct) < WAVE_LIMIT
    assert worst(Vocoder(tiled, config, None, 9).render(mel, None), direct) < WAVE_LIMIT
