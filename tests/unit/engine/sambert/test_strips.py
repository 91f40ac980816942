"""A batch's windows in one pass, as a GPU renders them, against the reference."""

import pytest

from tests.reference import VARIANTS, WAVE_LIMIT, references, voice, worst
from worker.engine.sambert.device import CPU
from worker.engine.sambert.strips import StripVocoder, gap_frames
from worker.engine.sambert.vocoder import VocoderInput


def strips(variant: str, strip_frames: int) -> StripVocoder:
    spoken = voice(variant, "eager")
    return StripVocoder(spoken._folded, spoken.vocoder.source, CPU, strip_frames)


def errors(vocoder: StripVocoder, variant: str) -> list[float]:
    """How far each utterance's wave is from the reference, all rendered as one batch."""
    chosen = [
        reference.expected
        for reference in references(variant)
        if vocoder.source is None or "excitation" in reference.expected
    ]
    items = [VocoderInput(mel=e["mel"], excitation=e.get("excitation")) for e in chosen]
    waves = vocoder.render_all(items)
    return [worst(wave, e["wav"]) for wave, e in zip(waves, chosen, strict=True)]


@pytest.mark.parametrize("strip_frames", [4096, 150, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_strip_of_any_length_gives_each_utterance_its_own(
    variant: str, strip_frames: int
) -> None:
    """Whole utterances on one strip, several strips, and utterances cut over several."""
    found = errors(strips(variant, strip_frames), variant)
    assert found
    assert max(found) <= WAVE_LIMIT


@pytest.mark.parametrize("variant", ["plain", "causal_nomask"])
def test_utterances_too_near_each_other_would_be_heard(variant: str) -> None:
    """The test above would notice a gap that a convolution reaches across."""
    vocoder = strips(variant, 4096)
    assert vocoder.gap == gap_frames(vocoder.config) > 2
    vocoder.gap = 1
    assert max(errors(vocoder, variant)) > WAVE_LIMIT


def test_no_frames_and_no_utterances_are_no_samples() -> None:
    vocoder = strips("plain", 4096)
    mel = references("plain")[0].expected["mel"]
    items = [VocoderInput(mel=part, excitation=None) for part in (mel[:0], mel[:5], mel[:0])]
    assert [len(wave) for wave in vocoder.render_all(items)] == [0, 5 * vocoder.config.hop, 0]
    assert vocoder.render_all([]) == []
