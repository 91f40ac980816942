"""The stored reference: variants, their utterances and what upstream computed from them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.sambert.compiled import CompiledLoops
from worker.engine.sambert.device import find_device
from worker.engine.sambert.eager import EagerLoops
from worker.engine.sambert.folder import find_voices
from worker.engine.sambert.grades import Grade
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.source import GivenNoise
from worker.engine.sambert.voice import SambertVoice
from worker.types import Utterance

GOLDEN = Path(__file__).parent / "golden"
VARIANTS = ("plain", "nsf", "se_nsf_global", "causal_nomask")
NSF_VARIANTS = ("nsf", "se_nsf_global")
# How a voice may run. On a machine without a CUDA GPU the third is not collected, since nothing
# of it but the device's name could be tested there.
RUNS = ("compiled", "eager", *(["cuda"] if torch.cuda.is_available() else []))

ACOUSTIC_LIMIT = 2e-5
F0_LIMIT_HZ = 1e-3
WAVE_LIMIT = 5e-5
EXCITATION_LIMIT = 1e-3
NSF_WAVE_LIMIT = 1e-2
FLOAT_STAGES = (
    "encoder_out",
    "pitch",
    "energy",
    "log_duration",
    "lr_text",
    "memory",
    "dec_out",
    "postnet_out",
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One utterance and its expected stages."""

    name: str
    symbols: str
    expected: dict[str, NDArray[Any]]

    @property
    def utterance(self) -> Utterance:
        return Utterance(text="", symbols=self.symbols)

    def noise(self, n_harmonics: int) -> GivenNoise:
        """The random numbers upstream was given, as tests/golden/README.md describes them."""
        shape = (1, n_harmonics + 1)
        phases = np.random.RandomState(int(self.expected["nsf_phase_seed"]))
        start = phases.uniform(-np.pi, np.pi, (*shape, 1)).astype(np.float32)[0, :, 0]
        start[0] = 0
        draws = np.random.RandomState(int(self.expected["nsf_noise_seed"]))
        noise = draws.standard_normal((*shape, len(self.expected["wav"]))).astype(np.float32)
        return GivenNoise(start=start, noise=noise[0] * np.float32(0.003))


@cache
def references(variant: str) -> tuple[Reference, ...]:
    lines = (GOLDEN / variant / "utts.tsv").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        name, symbols = line.split("\t")
        with np.load(GOLDEN / variant / "utts" / f"{name}.npz") as stored:
            found.append(Reference(name=name, symbols=symbols, expected=dict(stored)))
    return tuple(found)


@cache
def voice(
    variant: str, run: str = "compiled", chunk_frames: int = 400, grade: Grade = Grade.EXACT
) -> SambertVoice:
    """A voice in any grade, also one the engine refuses here because it would be slow."""
    files = find_voices(GOLDEN / variant / "model")[0]
    device = find_device("cuda" if run == "cuda" else "cpu")
    loops = CompiledLoops() if run == "compiled" else EagerLoops(device)
    options = SambertOptions(chunk_frames=chunk_frames, device=device.type, grade=grade)
    return SambertVoice(files, options, loops)


def worst(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference; the shapes must agree."""
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float64) - expected).max()) if found.size else 0.0


def snr_db(found: NDArray[Any], expected: NDArray[Any]) -> float:
    error = found.astype(np.float64) - expected
    return float(10 * np.log10((expected.astype(np.float64) ** 2).sum() / (error**2).sum()))
