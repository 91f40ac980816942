"""Grade fast's arithmetic, which any processor can do slowly: how far it is from the reference."""

import pytest
import torch

from shared.errors import EngineUnavailable
from tests.reference import GOLDEN, VARIANTS, Reference, references, snr_db, voice
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.grades import Grade, cpu_flags, slow_here
from worker.engine.sambert.options import SambertOptions

LEAST_SNR_DB = 44.0
# More than bf16 can reach: at this the convolutions would not have been bf16 at all.
MOST_SNR_DB = 60.0


def wave_snr_db(variant: str, reference: Reference) -> float:
    fast, expected = voice(variant, grade=Grade.FAST), reference.expected
    wave = fast.vocoder.render(expected["mel"], expected.get("excitation"))
    return snr_db(wave, expected["wav"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_blocks_stay_near_the_reference(variant: str) -> None:
    assert LEAST_SNR_DB < wave_snr_db(variant, references(variant)[0]) < MOST_SNR_DB


def test_only_the_residual_blocks_are_bf16() -> None:
    folded = voice("plain", grade=Grade.FAST)._folded
    kinds = {conv.weight.dtype for s in folded.stages for b in s.blocks for p in b for conv in p}
    assert kinds == {torch.bfloat16}
    assert {folded.pre.weight.dtype, folded.post.weight.dtype} == {torch.float32}
    assert {stage.up.weight.dtype for stage in folded.stages} == {torch.float32}


def test_the_engine_serves_bf16_where_the_processor_has_it_and_refuses_elsewhere() -> None:
    """Whichever this machine is: the refusal names the instructions it lacks."""
    options = SambertOptions(model_dirs=(GOLDEN / "plain" / "model",), grade=Grade.FAST)
    engine = SambertEngine(options)
    if slow_here(Grade.FAST, cpu_flags()) is None:
        engine.load("zhitian_emo")
    else:
        with pytest.raises(EngineUnavailable, match=r"avx512_bf16, amx_bf16 or Arm bf16"):
            engine.load("zhitian_emo")
