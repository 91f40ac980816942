"""The engine `sambert`: ModelScope's Sambert-HifiGAN voices behind the Engine protocol."""

import logging
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.resources import files as resources
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryFile

import torch

from shared.errors import EngineUnavailable, SynthesisError
from shared.schemas import Voice
from worker.engine.sambert.checkpoint import acoustic_state, read_checkpoint
from worker.engine.sambert.device import CPU, find_device, gpu_faults
from worker.engine.sambert.eager import EagerLoops
from worker.engine.sambert.emotions import voice_emotions
from worker.engine.sambert.folder import Unfit, VoiceFiles, find_voices, fingerprint
from worker.engine.sambert.grades import Grade, cpu_flags, require_cuda_grade, require_grade
from worker.engine.sambert.loops import Loops
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.voice import SambertVoice
from worker.types import Rendering, Utterance

log = logging.getLogger(__name__)
LANGUAGE = "zh-CN"
CPU_BATCH = 4  # more gain little there, and keep another tenant's sentence waiting
GPU_BATCH = 32  # takes a GPU little longer than one


class SambertEngine:
    """Voices of the model folders in its options. Belongs to one process and thread at a time."""

    name = "sambert"
    takes_symbols = True

    def __init__(self, options: SambertOptions) -> None:
        self.options = options
        self._loops: Loops | None = None
        self._files: dict[str, VoiceFiles] | None = None
        self._unfit: Unfit = {}
        self._offered: list[Voice] | None = None
        self._voices: dict[str, SambertVoice] = {}

    @property
    def batch_size(self) -> int:
        own = CPU_BATCH if self.options.device == "cpu" else GPU_BATCH
        return self.options.batch_size or own

    def voices(self) -> Sequence[Voice]:
        """Every voice of the model folders, with the emotions its checkpoint was trained on.

        One that misses a file is left out where its folder has others, and named in the log. Raises
        `EngineUnavailable` when a folder is unfit or two have a voice of the same name.
        """
        if self._offered is None:
            self._offered = [_offer(files, self.options) for files in self._found().values()]
        return self._offered

    def load(self, voice: str) -> None:
        """Load `voice`, and speak a sentence with it; the first time on a machine also compiles.

        Raises `EngineUnavailable` when the grade does not run here or a file does not fit.
        """
        if voice in self._voices:
            return
        device = find_device(self.options.device)
        _require_grade(self.options, device)
        torch.set_num_threads(self.options.threads)
        if self._loops is None:
            self._loops = choose_loops(self.options, device)
        files = self._named(voice)
        try:
            with gpu_faults(EngineUnavailable):
                loaded = SambertVoice(files, self.options, self._loops)
                loaded.warm_up()
        except (OSError, EOFError, UnpicklingError) as error:
            # A full disk, or a file that a crash cut short; numba tells neither by its own name.
            raise _unkept(self.options.cache_dir, error) from error
        self._voices[voice] = loaded

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One rendering for each utterance, timed by symbol.

        Raises `SynthesisError`; `details["item"]` says which utterance cannot be spoken. Without
        one the batch was too large for the GPU. Raises `EngineUnavailable` when the GPU failed.
        """
        loaded = self.loaded(voice)
        with gpu_faults(SynthesisError):
            return loaded.render(utterances)

    def loaded(self, voice: str) -> SambertVoice:
        """The voice, loaded now if it was not."""
        self.load(voice)
        return self._voices[voice]

    def _found(self) -> dict[str, VoiceFiles]:
        if self._files is None:
            found: dict[str, VoiceFiles] = {}
            unfit: Unfit = {}
            folders = self.options.model_dirs
            for files in (f for folder in folders for f in find_voices(folder, unfit)):
                if files.name in found:
                    raise EngineUnavailable(
                        f"{files.folder} and {found[files.name].folder} both have a voice "
                        f"{files.name}; leave one of them out"
                    )
                found[files.name] = files
            for name, error in unfit.items():
                log.warning("the voice %s is left out: %s", name, error.message)
            self._files, self._unfit = found, unfit
        return self._files

    def _named(self, voice: str) -> VoiceFiles:
        found = self._found()
        if voice not in found:
            if voice in self._unfit:
                raise self._unfit[voice]
            known = ", ".join(found) or "none"
            raise EngineUnavailable(f"No model folder has a voice {voice!r}; found: {known}")
        return found[voice]


def choose_loops(options: SambertOptions, device: torch.device = CPU) -> Loops:
    """Compiled loops where numba is installed and wanted, PyTorch's otherwise and on a GPU."""
    compiled = _compiled_loops(options)
    if device.type == "cpu" and compiled is not None:
        return compiled
    return EagerLoops(device, compiled)


def _compiled_loops(options: SambertOptions) -> Loops | None:
    if not options.compiled:
        return None
    try:
        import numba
    except ImportError:
        return None
    kept = kernel_folder(options.cache_dir)
    if kept is not None and "worker.engine.sambert.compiled" not in sys.modules:
        # Read when the kernels are declared, so it must be set before they are imported.
        vars(numba.config)["CACHE_DIR"] = str(kept)
    from worker.engine.sambert.compiled import CompiledLoops

    return CompiledLoops()


def kernel_folder(cache_dir: Path | None) -> Path | None:
    """Where these very kernels are kept compiled; None where the process may write nowhere.

    Raises `EngineUnavailable` when a `cache_dir` is given and cannot be written.
    """
    places = (cache_dir,) if cache_dir is not None else _own_places()
    for place in places:
        folder = place / "numba" / _kernels()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            if cache_dir is not None:
                raise _unkept(cache_dir, error) from error
        else:
            return folder
    return None


def _own_places() -> Iterator[Path]:
    yield Path(__file__).parent / "__pycache__"
    with suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".cache" / "ttsfarm"


def _unkept(cache_dir: Path | None, error: Exception) -> EngineUnavailable:
    return EngineUnavailable(
        f"What is compiled once could not be kept in or read from {cache_dir or 'its folder'} "
        f"({error!r}); free some space there, or delete its numba folder and it is compiled again"
    )


def _kernels() -> str:
    """Names the kernels' source: numba looks only at the file of the kernel it is asked for."""
    names = ("tiles.py", "slim.py", "kernels.py", "compiled.py", "winograd.py")
    source = b"".join(resources(__package__).joinpath(name).read_bytes() for name in names)
    return f"{zlib.crc32(source):08x}"


def _require_grade(options: SambertOptions, device: torch.device) -> None:
    if device.type == "cpu":
        require_grade(options.grade, cpu_flags(), options.half)
        return
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    require_cuda_grade(options.grade, half=options.half, has_bf16=has_bf16)


def _offer(files: VoiceFiles, options: SambertOptions) -> Voice:
    checkpoint = read_checkpoint(files.am_checkpoint)
    state, _ = acoustic_state(checkpoint, files.am_checkpoint)
    table = state.get("emo_tokenizer.weight")
    if table is None:
        raise EngineUnavailable(f"{files.am_checkpoint} does not fit: it has no emotions")
    return Voice(
        name=files.name,
        engine=SambertEngine.name,
        language=LANGUAGE,
        emotions=voice_emotions(files.name, table, checkpoint),
        sample_rate_hz=files.rate_hz,
        revision=_revision(files, options),
        description=f"Sambert-HifiGAN voice {files.name}",
    )


def _revision(files: VoiceFiles, options: SambertOptions) -> str:
    """Names the files and what is made of them: grades sound different, so segments may not mix."""
    whole = fingerprint(files)
    if options.grade is Grade.EXACT:
        return whole
    half = f"-{options.half}" if options.grade is Grade.FAST else ""
    return f"{whole}-{options.grade}{half}"
