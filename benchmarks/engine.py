"""How fast and how exact the engine `sambert` is here: `make bench-engine`.

Times are processor seconds for a second of audio, the median of interleaved rounds, so that what
else runs on the machine disturbs all rows alike. A machine's speed is told by its own matrix
product; the reference's published figures are scaled by it to stand beside ours.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.plain_acoustic import PlainAcoustic
from benchmarks.plain_vocoder import flop_per_second, render_plain
from shared.errors import EngineUnavailable
from tests.golden.make_voice import FULL, make_voice
from worker.engine.sambert.acoustic import AcousticModel
from worker.engine.sambert.checkpoint import load_strictly, read_checkpoint, vocoder_state
from worker.engine.sambert.config import VocoderConfig
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.grades import CPU_INFO, Grade, cpu_flags, slow_here
from worker.engine.sambert.hifigan import Generator
from worker.engine.sambert.loops import Array
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.voice import SambertVoice, sentences
from worker.types import Utterance

RESULTS = Path(__file__).parent / "results"
VOICE = "zhitian_emo"
SYMBOLS = [symbols for _, symbols in sentences()]
PARAGRAPH = SYMBOLS + SYMBOLS[:2]
# As utterances: the farm speaks a paragraph as a batch of its sentences.
TEXTS = {
    "sentence": [SYMBOLS[3]],
    "paragraph as one": [" ".join(PARAGRAPH)],
    "paragraph": PARAGRAPH,
}
# Upstream on the machine it was studied on: real-time factors, and that machine's fp32 product.
_LONG = {"am": 0.265, "voc": 0.21}
REFERENCE = {
    "sentence": {"am": 0.225, "voc": 0.19},
    "paragraph as one": _LONG,
    "paragraph": _LONG,
}
REFERENCE_PEAK_GFLOPS = 86.5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One grade on one text.

    `plain_*` are against plain PyTorch in the same run, `times_*` against the reference's
    published figures at equal matrix speed.
    """

    grade: str
    text: str
    audio_s: float
    am_rtf: float
    voc_rtf: float
    peak_share: float
    plain_am: float
    plain_all: float
    times_am: float
    times_all: float
    am_error: float
    snr_db: float
    max_abs: float


def cpu_time(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def matmul_gflops() -> float:
    """The best of a few large fp32 products on one core."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return max(2 * 1024**3 / cpu_time(lambda: a @ b) / 1e9 for _ in range(12))


def cpu_name() -> str:
    """What the processor calls itself, and which of the instructions the grades use it has."""
    found = re.search(r"^model name\s*:\s*(.*)$", CPU_INFO.read_text(), flags=re.MULTILINE)
    gains = sorted(cpu_flags() & {"avx512_bf16", "amx_bf16", "avx512_vnni", "amx_int8"})
    return f"{found[1] if found else 'A processor'} ({', '.join(gains) or 'no bf16, no VNNI'})"


def options_of(folder: Path, **more: Any) -> SambertOptions:
    return SambertOptions(model_dirs=(folder,), max_units=3000, max_audio_s=600, **more)


def load(folder: Path, cache: Path, grade: Grade) -> SambertVoice:
    return SambertEngine(options_of(folder, cache_dir=cache, grade=grade)).loaded(VOICE)


def loaded_grades(folder: Path, cache: Path) -> tuple[dict[str, SambertVoice], dict[str, str]]:
    """The grades this machine serves, and why it does not serve the others."""
    voices, refused = {}, {}
    for grade in Grade:
        try:
            voices[grade.value] = load(folder, cache, grade)
        except EngineUnavailable as error:
            refused[grade.value] = error.message
    return voices, refused


def loaded_anyway(exact: SambertVoice, grade: Grade) -> SambertVoice:
    """The voice in a grade that the engine refuses on this machine, for its error alone.

    Any processor can do the arithmetic; only how long it takes is what the engine refuses.
    """
    options = SambertOptions(grade=grade)
    return SambertVoice(exact.files, options, exact.acoustic.loops)


def measure_refused(exact: SambertVoice, folder: Path, refused: dict[str, str]) -> dict[str, Any]:
    """Why each refused grade is, and its error on the sentence where it can be computed."""
    [item] = [exact.encode(0, _say(s)) for s in TEXTS["sentence"]]
    [output] = exact.acoustic.render([item])
    _, generator = plain_networks(exact, folder)
    truth = render_plain(generator, exact.vocoder.config, _channels(output.mel)).numpy()
    found: dict[str, Any] = {}
    for grade, why in refused.items():
        found[grade] = {"why": why}
        if grade == Grade.FAST:
            wave = loaded_anyway(exact, Grade.FAST).vocoder.render(output.mel, None)
            found[grade] |= error_of(wave, truth)
    return found


def error_of(wave: Array, truth: Array) -> dict[str, float]:
    """The signal-to-noise ratio in dB and the largest difference."""
    error = wave.astype(np.float64) - truth
    power = float((error**2).sum())
    snr_db = 10 * np.log10(float((truth**2).sum()) / power) if power else float("inf")
    return {"snr_db": float(snr_db), "max_abs": float(np.abs(error).max())}


def plain_networks(exact: SambertVoice, folder: Path) -> tuple[AcousticModel, Generator]:
    """Both models of a voice as their descriptions read, the yardsticks of a run."""
    plain = Generator(exact.vocoder.config)
    path = exact.files.voc_checkpoint
    load_strictly(plain, vocoder_state(read_checkpoint(path), path), path)
    eager = SambertEngine(options_of(folder, compiled=False)).loaded(VOICE).acoustic
    acoustic = PlainAcoustic(
        eager.net,
        eager.config,
        eager.loops,
        speaker=eager.speaker,
        pitch_scale=eager.pitch_scale,
        max_frames=eager.max_frames,
    )
    return acoustic, plain


def measure_grades(voices: dict[str, SambertVoice], folder: Path, rounds: int) -> list[Row]:
    exact = voices["exact"]
    acoustic, generator = plain_networks(exact, folder)
    peak = matmul_gflops()
    flop = flop_per_second(exact.vocoder.config, exact.rate_hz) / 1e9
    rows = []
    for text, sentences_of in TEXTS.items():
        items = [exact.encode(i, _say(s)) for i, s in enumerate(sentences_of)]
        mels = [output.mel for output in exact.acoustic.render(items)]
        audio_s = sum(map(len, mels)) * exact.hop / exact.rate_hz
        config = exact.vocoder.config

        def plain_waves(mels: list[Array] = mels, config: VocoderConfig = config) -> Array:
            parts = [render_plain(generator, config, _channels(mel)).numpy() for mel in mels]
            return np.concatenate(parts)

        def waves(grade: str, mels: list[Array] = mels) -> Array:
            return np.concatenate([voices[grade].vocoder.render(mel, None) for mel in mels])

        work: dict[str, Callable[[], Any]] = {
            "am": lambda items=items: exact.acoustic.render(items),
            "plain am": lambda items=items: [acoustic.render([item]) for item in items],
            "plain": plain_waves,
        }
        work |= {grade: lambda g=grade: waves(g) for grade in voices}
        times = interleaved(work, rounds)
        truth = plain_waves()
        plain_am = np.concatenate([acoustic.render([item])[0].mel for item in items])
        am_error = float(np.abs(np.concatenate(mels) - plain_am).max())
        reference = REFERENCE[text]
        scale = REFERENCE_PEAK_GFLOPS / peak
        for name in ("plain", *voices):
            am = times["plain am" if name == "plain" else "am"] / audio_s
            voc = times[name] / audio_s
            error = error_of(truth if name == "plain" else waves(name), truth)
            rows.append(
                Row(
                    grade=name,
                    text=text,
                    audio_s=audio_s,
                    am_rtf=am,
                    voc_rtf=voc,
                    peak_share=flop / voc / peak,
                    plain_am=times["plain am"] / audio_s / am,
                    plain_all=(times["plain am"] + times["plain"]) / audio_s / (am + voc),
                    times_am=reference["am"] * scale / am,
                    times_all=(reference["am"] + reference["voc"]) * scale / (am + voc),
                    am_error=0.0 if name == "plain" else am_error,
                    **error,
                )
            )
    return rows


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median processor time of each, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            spent = cpu_time(run)
            if number:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def measure_batches(voice: SambertVoice, rounds: int) -> dict[str, float]:
    """The acoustic model's real-time factor by batch size, over the same eight sentences."""
    chosen = [_say((SYMBOLS * 2)[i]) for i in range(8)]
    items = [voice.encode(i, utterance) for i, utterance in enumerate(chosen)]
    outputs = voice.acoustic.render(items)
    audio_s = sum(len(o.mel) for o in outputs) * voice.hop / voice.rate_hz

    def run(size: int) -> None:
        for first in range(0, len(items), size):
            voice.acoustic.render(items[first : first + size])

    work = {str(size): lambda size=size: run(size) for size in (1, 2, 4, 8)}
    return {size: spent / audio_s for size, spent in interleaved(work, rounds).items()}


def measure_threads(voice: SambertVoice, rounds: int) -> dict[str, dict[str, float]]:
    """Processor and wall seconds for a second of audio, the paragraph, whole pipeline."""
    utterance = _say(*TEXTS["paragraph as one"])
    found: dict[str, dict[str, list[float]]] = {}
    audio_s = 1.0
    for _ in range(rounds):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            wall, cpu = time.perf_counter(), time.process_time()
            [rendering] = voice.render([utterance])
            audio_s = rendering.wave.duration_s
            entry = found.setdefault(str(threads), {"cpu": [], "wall": []})
            entry["wall"].append((time.perf_counter() - wall) / audio_s)
            entry["cpu"].append((time.process_time() - cpu) / audio_s)
    torch.set_num_threads(1)
    return {t: {k: statistics.median(v) for k, v in e.items()} for t, e in found.items()}


def measure_child(*arguments: str) -> Any:
    """What this module prints when run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def peak_memory(folder: Path, cache: Path, audio_s: float) -> dict[str, float]:
    """Length, time and peak memory of one utterance of about `audio_s`, or of loading only."""
    wall, cpu = time.perf_counter(), time.process_time()
    voice = load(folder, cache, Grade.EXACT)
    found = {"load_cpu_s": time.process_time() - cpu, "load_wall_s": time.perf_counter() - wall}
    if audio_s:
        [probe] = voice.render([_say(SYMBOLS[0])])
        count = max(1, round(audio_s / probe.wave.duration_s))
        cpu = time.process_time()
        [rendering] = voice.render([_say(" ".join([SYMBOLS[0]] * count))])
        found["audio_s"] = rendering.wave.duration_s
        found["rtf"] = (time.process_time() - cpu) / rendering.wave.duration_s
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    found["peak_mb"] = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
    return found


def run_all(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "model", Path(temporary) / "cache"
        make_voice(folder, VOICE, size=FULL)
        first = measure_child("--child", str(folder), str(cache), "0")
        voices, refused = loaded_grades(folder, cache)
        grades = [asdict(row) for row in measure_grades(voices, folder, rounds)]
        batches = measure_batches(voices["exact"], rounds)
        refusals = measure_refused(voices["exact"], folder, refused)
        threads = measure_threads(voices["exact"], rounds)
        memory = [
            measure_child("--child", str(folder), str(cache), s) for s in ("0", "10", "30", "90")
        ]
    return {
        "machine": {
            "matmul_gflops": matmul_gflops(),
            "isa": torch.backends.cpu.get_cpu_capability(),
            "cpu": cpu_name(),
        },
        "grades": grades,
        "refused": refusals,
        "slow_here": {g: lack for g in voices if (lack := slow_here(Grade(g), cpu_flags()))},
        "am_batches": batches,
        "threads": threads,
        "first_load": first,
        "memory": memory,
    }


def report(found: dict[str, Any]) -> str:
    machine = found["machine"]
    lines = [
        "# Engine sambert, measured",
        "",
        f"{machine['cpu']}, one core: {machine['matmul_gflops']:.0f} GFLOP/s in a 1024-cube fp32 "
        f"product ({machine['isa']}). Random full-size weights. RTF: processor seconds for a "
        "second of audio. *plain*: both networks in plain PyTorch, each sentence alone, the "
        "yardstick of this run. *× reference*: against upstream's published figures at equal "
        "matrix speed. The paragraph is a batch of its sentences, as the farm speaks it, or one "
        "long utterance.",
        "",
        "| text | grade | acoustic RTF | vocoder RTF | of peak | AM × plain | vocoder × plain "
        "| all × plain | AM × reference | all × reference | SNR dB | max error | mel error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    plain = {row["text"]: row["voc_rtf"] for row in found["grades"] if row["grade"] == "plain"}
    for row in found["grades"]:
        lines.append(
            f"| {row['text']} {row['audio_s']:.1f} s | {row['grade']} | {row['am_rtf']:.3f} "
            f"| {row['voc_rtf']:.3f} | {row['peak_share']:.0%} "
            f"| {row['plain_am']:.1f} | {plain[row['text']] / row['voc_rtf']:.2f} "
            f"| {row['plain_all']:.2f} | {row['times_am']:.1f} | {row['times_all']:.2f} "
            f"| {row['snr_db']:.1f} | {row['max_abs']:.1e} | {row['am_error']:.1e} |"
        )
    lines += ["", *map(_refusal, found["refused"].items())]
    lines += [
        f"Served here without gain: {grade}, for want of {lack}."
        for grade, lack in found["slow_here"].items()
    ]
    lines.append("")
    batches = ", ".join(f"{size}: {rtf:.4f}" for size, rtf in found["am_batches"].items())
    lines += [f"Acoustic RTF by batch of short sentences: {batches}.", ""]
    for threads, entry in found["threads"].items():
        lines.append(
            f"Paragraph with {threads} thread(s): CPU {entry['cpu']:.3f}, wall {entry['wall']:.3f}."
        )
    first = found["first_load"]
    lines += ["", f"First load on a machine (compiles): {first['load_wall_s']:.1f} s.", ""]
    lines += ["| audio in one utterance | load s | peak memory MB | RTF |", "|---|---|---|---|"]
    for row in found["memory"]:
        lines.append(
            f"| {row.get('audio_s', 0):.0f} s | {row['load_wall_s']:.1f} | {row['peak_mb']:.0f} "
            f"| {row.get('rtf', 0):.3f} |"
        )
    return "\n".join(lines) + "\n"


def _refusal(refused: tuple[str, dict[str, Any]]) -> str:
    grade, found = refused
    line = f"Not served here: {grade}. {found['why']}."
    if "snr_db" in found:
        line += (
            f" Its error on the sentence, from the same arithmetic done slowly: "
            f"{found['snr_db']:.1f} dB, at most {found['max_abs']:.1e}."
        )
    return line


def _say(symbols: str) -> Utterance:
    return Utterance(text="", symbols=symbols)


def _channels(mel: np.ndarray[Any, np.dtype[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(mel).t()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="engine", help="of the result files")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.child:
        folder, cache, audio_s = given.child
        print(json.dumps(peak_memory(Path(folder), Path(cache), float(audio_s))))
        return
    found = run_all(given.rounds)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{given.name}.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report(found)
    (RESULTS / f"{given.name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
