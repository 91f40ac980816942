"""What can be set about the engine."""

from dataclasses import dataclass
from pathlib import Path

from worker.engine.sambert.grades import Grade, Half
from worker.engine.sambert.vocoder import CHUNK_FRAMES


@dataclass(frozen=True, kw_only=True)
class SambertOptions:
    """How to load and run voices.

    `model_dirs` are ModelScope model folders. `cache_dir` holds what is compiled or built once a
    machine; None keeps compiled loops beside the code or in `~/.cache` and int8 graphs in memory.
    `compiled` False runs the sequential parts without numba even where it is installed. `device`
    is cpu, cuda or cuda:N; `half` is what grade fast computes residual blocks in. `batch_size` 0
    is 4 utterances on a processor and 32 on a GPU. `chunk_frames` is the processor's.
    """

    model_dirs: tuple[Path, ...] = ()
    grade: Grade = Grade.EXACT
    threads: int = 1
    batch_size: int = 0
    cache_dir: Path | None = None
    compiled: bool = True
    device: str = "cpu"
    half: Half = Half.BFLOAT16
    chunk_frames: int = CHUNK_FRAMES
    max_units: int = 1500
    max_audio_s: float = 120.0
