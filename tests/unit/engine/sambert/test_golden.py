"""Every stage against what upstream computed, one utterance at a time and all as one batch.

Limits are those of tests/golden/README.md: above upstream's own noise, far below any mistake.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.reference import (
    ACOUSTIC_LIMIT,
    EXCITATION_LIMIT,
    F0_LIMIT_HZ,
    FLOAT_STAGES,
    NSF_VARIANTS,
    NSF_WAVE_LIMIT,
    RUNS,
    VARIANTS,
    WAVE_LIMIT,
    Reference,
    references,
    voice,
    worst,
)
from worker.engine.sambert.source import SourceNoise
from worker.engine.sambert.voice import SambertVoice, Stages


def speak(spoken: SambertVoice, chosen: Sequence[Reference]) -> list[Stages]:
    """All stages of these utterances as one batch, with the reference's random numbers."""
    harmonics = spoken.vocoder.config.n_harmonics
    noise: dict[int, SourceNoise] = {}
    if harmonics is not None:
        noise = {i: reference.noise(harmonics) for i, reference in enumerate(chosen)}
    return spoken.stages([reference.utterance for reference in chosen], noise)


def check(variant: str, stages: Stages, expected: Reference) -> None:
    got, want = stages.acoustic, expected.expected
    assert (stages.ids == want["ids"]).all()
    assert (got.durations == want["durations"]).all()
    assert got.x_band_width == want["x_band_width"]
    assert got.n_frames == want["n_frames"]
    for stage in FLOAT_STAGES:
        assert worst(getattr(got, stage), want[stage]) <= ACOUSTIC_LIMIT, stage
    bins = want["mel"].shape[1] - (2 if variant in NSF_VARIANTS else 0)
    assert worst(got.mel[:, :bins], want["mel"][:, :bins]) <= ACOUSTIC_LIMIT
    if variant in NSF_VARIANTS:
        assert worst(got.mel[:, -2], want["mel"][:, -2]) <= F0_LIMIT_HZ
        assert (got.mel[:, -1] == want["mel"][:, -1]).all()
    limit = NSF_WAVE_LIMIT if variant in NSF_VARIANTS else WAVE_LIMIT
    assert worst(stages.wave, want["wav"]) <= limit


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_utterance_alone_meets_the_reference(variant: str, run: str) -> None:
    for reference in references(variant):
        [stages] = speak(voice(variant, run), [reference])
        check(variant, stages, reference)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_of_all_meets_the_reference(variant: str, run: str) -> None:
    chosen = references(variant)
    for stages, reference in zip(speak(voice(variant, run), chosen), chosen, strict=True):
        check(variant, stages, reference)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_vocoder_alone_meets_the_reference(variant: str, run: str) -> None:
    vocoder = voice(variant, run).vocoder
    for reference in references(variant):
        expected = reference.expected
        if variant in NSF_VARIANTS and "excitation" not in expected:
            continue
        wave = vocoder.render(expected["mel"], expected.get("excitation"))
        assert worst(wave, expected["wav"]) <= WAVE_LIMIT


@pytest.mark.parametrize("variant", NSF_VARIANTS)
def test_the_excitation_meets_the_reference(variant: str) -> None:
    vocoder = voice(variant).vocoder
    assert vocoder.config.n_harmonics is not None
    for reference in references(variant):
        expected = reference.expected
        noise = reference.noise(vocoder.config.n_harmonics)
        excitation = vocoder.excitation(expected["mel"], noise)
        assert excitation is not None
        if "excitation" in expected:
            assert worst(excitation, expected["excitation"]) <= EXCITATION_LIMIT
        assert worst(vocoder.render(expected["mel"], excitation), expected["wav"]) <= (
            EXCITATION_LIMIT
        )


@pytest.mark.parametrize("chunk_frames", [7, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_chunks_of_any_size_give_the_whole(variant: str, chunk_frames: int) -> None:
    vocoder = voice(variant, chunk_frames=chunk_frames).vocoder
    for reference in references(variant):
        expected = reference.expected
        if variant in NSF_VARIANTS and "excitation" not in expected:
            continue
        chunks = list(vocoder.stream(expected["mel"], expected.get("excitation")))
        assert len(chunks) == -(-len(expected["mel"]) // chunk_frames)
        assert worst(np.concatenate(chunks), expected["wav"]) <= WAVE_LIMIT


def test_too_little_context_shows() -> None:
    """The chunk test would notice a receptive field that is a frame too short."""
    short = voice("plain", chunk_frames=40).vocoder
    expected = references("plain")[2].expected
    mel = expected["mel"]
    cut = short.reach.before // 2
    part = short.render(mel[60 - cut :], None)[cut * 200 :]
    assert worst(part[:200], expected["wav"][60 * 200 : 61 * 200]) > WAVE_LIMIT
