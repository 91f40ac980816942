"""Grade fast's arithmetic, which any processor can do slowly: how far it is from the reference."""

import pytest
import torch

from tests.reference import VARIANTS, references, snr_db, voice
from worker.engine.sambert.checkpoint import load_strictly, read_checkpoint, vocoder_state
from worker.engine.sambert.hifigan import Generator, fold
from worker.engine.sambert.vocoder import TorchRenderer, Vocoder

LEAST_SNR_DB = 35.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_blocks_stay_near_the_reference(variant: str) -> None:
    exact = voice(variant)
    path = exact.files.voc_checkpoint
    net = Generator(exact.vocoder.config)
    load_strictly(net, vocoder_state(read_checkpoint(path), path), path)
    folded = fold(net, exact.vocoder.config, torch.bfloat16)
    vocoder = Vocoder(TorchRenderer(folded), exact.vocoder.config, exact.vocoder.source)
    expected = references(variant)[0].expected
    wave = vocoder.render(expected["mel"], expected.get("excitation"))
    # At 80 dB or more the convolutions would not have been bf16 at all.
    assert LEAST_SNR_DB < snr_db(wave, expected["wav"]) < 80
