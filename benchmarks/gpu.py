"""What the engine `sambert` costs on a CUDA GPU, and how exact it is there: `make bench-gpu`.

Wall seconds for a second of audio, the median of interleaved rounds, the GPU waited for each time.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engine import RESULTS, SYMBOLS, VOICE, error_of, plain_networks
from benchmarks.plain_vocoder import render_plain
from tests.golden.make_voice import FULL, make_voice
from worker.engine.sambert import eager
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.grades import Grade, Half
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.vocoder import VocoderInput
from worker.engine.sambert.voice import SambertVoice
from worker.types import Utterance

GRADES = {
    "exact": (Grade.EXACT, Half.BFLOAT16),
    "fast, bfloat16": (Grade.FAST, Half.BFLOAT16),
    "fast, float16": (Grade.FAST, Half.FLOAT16),
}
LOADS = {
    "a sentence": [SYMBOLS[3]],
    "7 sentences as one": [" ".join(SYMBOLS + SYMBOLS[:2])],
    "a batch of 8": (SYMBOLS * 2)[:8],
    "a batch of 32": (SYMBOLS * 7)[:32],
    "a batch of 64": (SYMBOLS * 13)[:64],
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One grade on one load.

    `launched_am_rtf` is without the recorded graph, `alone_voc_rtf` one utterance after another.
    """

    grade: str
    load: str
    audio_s: float
    am_rtf: float
    launched_am_rtf: float
    voc_rtf: float
    alone_voc_rtf: float
    peak_mb: float
    snr_db: float


def wall_time(work: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@contextmanager
def launched() -> Iterator[None]:
    """The decoder's steps launched one by one instead of played from a graph."""
    play = eager._play
    eager._play = eager.Decoding.run
    try:
        yield
    finally:
        eager._play = play


def load(folder: Path, grade: str, cache: Path) -> SambertVoice:
    kind, half = GRADES[grade]
    options = SambertOptions(
        model_dirs=(folder,),
        grade=kind,
        half=half,
        device="cuda",
        cache_dir=cache,
        max_units=3000,
        max_audio_s=600,
    )
    return SambertEngine(options).loaded(VOICE)


def measure(voice: SambertVoice, symbols: Sequence[str], rounds: int) -> dict[str, float]:
    items = [voice.encode(i, Utterance(text="", symbols=s)) for i, s in enumerate(symbols)]
    mels = [output.mel for output in voice.acoustic.render(items)]
    audio_s = sum(map(len, mels)) * voice.hop / voice.rate_hz

    def launch() -> None:
        with launched():
            voice.acoustic.render(items)

    spoken = [VocoderInput(mel=mel, excitation=None) for mel in mels]
    work: dict[str, Callable[[], Any]] = {
        "am_rtf": lambda: voice.acoustic.render(items),
        "launched_am_rtf": launch,
        "voc_rtf": lambda: voice.vocoder.render_all(spoken),
        "alone_voc_rtf": lambda: [voice.vocoder.render_all([item]) for item in spoken],
    }
    torch.cuda.reset_peak_memory_stats()
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            spent = wall_time(run)
            if number:
                times[name].append(spent / audio_s)
    found = {name: statistics.median(spent) for name, spent in times.items()}
    peak_mb = torch.cuda.max_memory_allocated() / 2**20
    return {"audio_s": audio_s, "peak_mb": peak_mb, **found}


def errors(voices: dict[str, SambertVoice], folder: Path) -> dict[str, dict[str, float]]:
    """Each grade's wave of the first sentence against plain PyTorch's on the processor."""
    options = SambertOptions(model_dirs=(folder,), max_units=3000)
    exact = SambertEngine(options).loaded(VOICE)
    _, generator = plain_networks(exact, folder)
    item = exact.encode(0, Utterance(text="", symbols=LOADS["a sentence"][0]))
    [output] = exact.acoustic.render([item])
    channels = torch.from_numpy(output.mel).t()
    truth = render_plain(generator, exact.vocoder.config, channels).numpy()
    found = {}
    for grade, voice in voices.items():
        [own] = voice.acoustic.render([item])
        [wave] = voice.vocoder.render_all([VocoderInput(mel=output.mel, excitation=None)])
        found[grade] = error_of(wave, truth)
        found[grade]["mel"] = float(np.abs(own.mel - output.mel).max())
    return found


def run_all(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "model", Path(temporary) / "cache"
        make_voice(folder, VOICE, size=FULL)
        voices, load_s = {}, {}
        for grade in GRADES:
            start = time.perf_counter()
            voices[grade] = load(folder, grade, cache)
            load_s[grade] = time.perf_counter() - start
        off = errors(voices, folder)
        rows = [
            Row(
                grade=grade, load=name, snr_db=off[grade]["snr_db"], **measure(voice, texts, rounds)
            )
            for name, texts in LOADS.items()
            for grade, voice in voices.items()
        ]
    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "load_s": load_s,
        "errors": off,
        "rows": [asdict(row) for row in rows],
    }


def report(found: dict[str, Any]) -> str:
    lines = [
        "# Engine sambert on a GPU, measured",
        "",
        f"{found['gpu']}, torch {found['torch']}. Random full-size weights. RTF: wall seconds for "
        "a second of audio. *launched*: the decoder's steps launched one by one instead of played "
        "from a graph. *alone*: one utterance after another. SNR: a sentence's wave against plain "
        "PyTorch on the processor.",
        "",
        "| load | grade | acoustic RTF | launched | vocoder RTF | alone | × real time "
        "| GPU peak MB | SNR dB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        whole = row["am_rtf"] + row["voc_rtf"]
        lines.append(
            f"| {row['load']}, {row['audio_s']:.1f} s | {row['grade']} | {row['am_rtf']:.5f} "
            f"| {row['launched_am_rtf']:.5f} | {row['voc_rtf']:.5f} | {row['alone_voc_rtf']:.5f} "
            f"| {1 / whole:.0f} | {row['peak_mb']:.0f} | {row['snr_db']:.1f} |"
        )
    loads = ", ".join(f"{grade} {spent:.1f} s" for grade, spent in found["load_s"].items())
    mel = max(error["mel"] for error in found["errors"].values())
    lines += ["", f"Load: {loads}. Mel frames at most {mel:.1e} from the processor's.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(min(8, os.cpu_count() or 1))
    found = run_all(given.rounds)
    given.out.mkdir(exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report(found)
    (given.out / "gpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
