"""Measures the text frontend beside open libraries for its stages, in one run.

    python -m benchmarks.text [--seconds 5]

Every entry runs alone in a process of its own, on the same sentences: seconds to import and load,
resident memory after, characters of CPU second. Libraries that are not installed are named and
left out. Results go to `benchmarks/results/text.json` and `text.md`.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
SENTENCES = HERE / "text_sentences.txt"
Run = Callable[[str], object]


def frontend() -> Run:
    from worker.text.frontend import Frontend

    ours = Frontend()
    ours.load()
    return lambda text: list(ours.segments(text))


def frontend_without_symbols() -> Run:
    from worker.text.frontend import Frontend, Options

    ours = Frontend()
    ours.load(symbols=False)
    return lambda text: list(ours.segments(text, Options(symbols=False)))


def normaliser() -> Run:
    from worker.text.normalise import Normaliser

    return Normaliser().spoken


def wetext() -> Run:
    from wetext import Normalizer

    return Normalizer(lang="zh", operator="tn").normalize


def wetextprocessing() -> Run:
    from tn.chinese.normalizer import Normalizer

    return Normalizer().normalize


def cn2an() -> Run:
    import cn2an

    return lambda text: cn2an.transform(text, "an2cn")


def jieba_words() -> Run:
    import jieba.posseg

    jieba.initialize()
    return lambda text: list(jieba.posseg.cut(text))


def rjieba_words() -> Run:
    import rjieba

    return rjieba.Jieba().tag


def pypinyin() -> Run:
    from pypinyin import Style, pinyin

    return lambda text: pinyin(text, style=Style.TONE3)


def g2pm() -> Run:
    from g2pM import G2pM

    return G2pM()


# Name, the stage it does, the module that must be there, how to make it.
ENTRIES: dict[str, tuple[str, str, Callable[[], Run]]] = {
    "ttsfarm frontend": ("all stages to symbols", "worker", frontend),
    "ttsfarm, text engines": ("split and normalise", "worker", frontend_without_symbols),
    "ttsfarm normaliser": ("normalise", "worker", normaliser),
    "wetext": ("normalise", "wetext", wetext),
    "WeTextProcessing": ("normalise", "tn", wetextprocessing),
    "cn2an": ("numbers only", "cn2an", cn2an),
    "jieba posseg": ("words", "jieba", jieba_words),
    "rjieba": ("words", "rjieba", rjieba_words),
    "pypinyin": ("readings", "pypinyin", pypinyin),
    "g2pM": ("readings", "g2pM", g2pm),
}


def measure(name: str, seconds: float) -> dict[str, float]:
    """Runs one entry in this process: load time, memory, speed."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    before_s = time.perf_counter()
    run = ENTRIES[name][2]()
    run(lines[0])
    load_s = time.perf_counter() - before_s
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    characters = 0
    began_s = time.process_time()
    while time.process_time() - began_s < seconds:
        for line in lines:
            run(line)
            characters += len(line)
    speed = characters / (time.process_time() - began_s)
    return {
        "load_s": round(load_s, 3),
        "memory_mb": round(memory_mb, 1),
        "characters_per_s": round(speed),
    }


def in_own_process(name: str, seconds: float) -> dict[str, float]:
    # One thread each: the figures are for one core.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.text", "--one", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--one", choices=ENTRIES)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.seconds)))
        return
    results = {}
    for name, (stage, module, _) in ENTRIES.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed, left out")
            continue
        results[name] = {"stage": stage, **in_own_process(name, chosen.seconds)}
        print(f"{name}: {results[name]}")
    write(results)


def write(results: dict[str, dict[str, object]]) -> None:
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    data = {"machine": machine, "results": results}
    (folder / "text.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    rows = ["| | stage | load s | memory MB | characters/s |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {r['stage']} | {r['load_s']} | {r['memory_mb']} | {r['characters_per_s']:,} |"
        for name, r in results.items()
    ]
    head = f"Python {machine['python']}, one of {machine['cores']} cores, {machine['date']}."
    (folder / "text.md").write_text(head + "\n\n" + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
