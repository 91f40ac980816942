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
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from worker.text.clean import clean

HERE = Path(__file__).parent
SENTENCES = HERE / "text_sentences.txt"
NORMALISE = HERE / "text_normalise.txt"
POLYPHONES = HERE / "text_polyphones.txt"
LABEL = re.compile(r"\[(.)\]([a-z]+[1-5])")
Run = Callable[[str], object]


def frontend() -> Run:
    from worker.text.frontend import Frontend

    ours = Frontend()
    ours.load()
    return lambda text: list(ours.segments(text))


def frontend_without_symbols() -> Run:
    from worker.text.frontend import Frontend, Options
    from worker.text.passages import Traits, alone

    ours = Frontend()
    ours.load(symbols=False)
    plain = Options(cast=alone(Traits(symbols=False)))
    return lambda text: list(ours.segments(text, plain))


def normaliser() -> Callable[[str], str]:
    from worker.text.normalise import Normaliser

    return Normaliser().spoken


def readings_alone() -> Run:
    """Readings of sentences whose words are given."""
    reader, cut = _reader()
    say = normaliser()
    words = {line: [cut(spoken) for spoken in _spoken(line, say)] for line in _lines()}
    return lambda text: [reader(*given) for given in words[text]]


def words_and_readings() -> Run:
    """What the libraries for readings do: spoken sentences in, words found on the way."""
    reader, cut = _reader()
    say = normaliser()
    said = {line: _spoken(line, say) for line in _lines()}
    return lambda text: [reader(*cut(spoken)) for spoken in said[text]]


def _lines() -> list[str]:
    return SENTENCES.read_text(encoding="utf-8").splitlines()


def _spoken(line: str, say: Callable[[str], str]) -> list[str]:
    from worker.text.split import sentences

    text = clean(line).text
    return [say(text[s.start : s.end]) for s in sentences(text)]


def _reader() -> tuple[Callable[..., object], Callable[[str], tuple[str, object]]]:
    from worker.text.g2p import Reader
    from worker.text.words import Segmenter

    segmenter = Segmenter()
    return Reader(segmenter, {}).readings, lambda spoken: (spoken, segmenter.words(spoken))


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
    "ttsfarm, words to readings": ("readings, words given", "worker", readings_alone),
    "ttsfarm, text to readings": ("words and readings", "worker", words_and_readings),
    "pypinyin": ("words and readings", "pypinyin", pypinyin),
    "g2pM": ("readings", "g2pM", g2pm),
}


def measure(name: str, seconds: float) -> dict[str, float]:
    """Runs one entry in this process: load time, memory, speed."""
    lines = _lines()
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


def normalised() -> dict[str, str]:
    """How many of our written lines are said as expected, punctuation and spaces aside."""
    from worker.text.normalise import Normaliser

    says: dict[str, Callable[[str], str]] = {"ttsfarm normaliser": Normaliser().spoken}
    if importlib.util.find_spec("wetext"):
        from wetext import Normalizer

        says["wetext"] = Normalizer(lang="zh", operator="tn", remove_erhua=False).normalize
    lines = [
        line.split(" => ")
        for line in NORMALISE.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("# ")
    ]
    right = {
        name: sum(bare(say(clean(written).text)) == bare(spoken) for written, spoken in lines)
        for name, say in says.items()
    }
    return {name: f"{n} of {len(lines)}" for name, n in right.items()}


def bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def accuracy() -> dict[str, str]:
    """How many of our labelled polyphones each library that is installed reads right."""
    from worker.text.frontend import Frontend

    ours = Frontend()
    readers: dict[str, Callable[[str], list[str | None]]] = {
        "ttsfarm frontend": lambda text: [r for p in ours.parts(text) for r in p.pinyin],
    }
    if importlib.util.find_spec("pypinyin"):
        from pypinyin import Style
        from pypinyin import pinyin as convert

        readers["pypinyin"] = lambda text: [
            r[0] for r in convert(text, style=Style.TONE3, neutral_tone_with_five=True)
        ]
    if importlib.util.find_spec("g2pM"):
        from g2pM import G2pM

        model = G2pM()
        readers["g2pM"] = lambda text: [r.replace("u:", "v") for r in model(text, char_split=True)]
    right = dict.fromkeys(readers, 0)
    total = 0
    for line in POLYPHONES.read_text(encoding="utf-8").splitlines():
        if line[0] == "#":
            continue
        text = LABEL.sub(r"\1", line)
        labels, shift = [], 0
        for match in LABEL.finditer(line):
            labels.append((match.start() - shift, match.group(2)))
            shift += len(match.group()) - 1
        total += len(labels)
        for name, reader in readers.items():
            said = reader(text)
            right[name] += sum(said[at] == reading for at, reading in labels)
    return {name: f"{n} of {total}" for name, n in right.items()}


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
    counts = {"polyphones": accuracy(), "normalisation": normalised()}
    print(counts)
    write(results, counts)


def write(results: dict[str, dict[str, object]], counts: dict[str, dict[str, str]]) -> None:
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    data = {"machine": machine, "results": results, "right": counts}
    (folder / "text.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    rows = ["| | stage | load s | memory MB | characters/s |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {r['stage']} | {r['load_s']} | {r['memory_mb']} | {r['characters_per_s']:,} |"
        for name, r in results.items()
    ]
    right = "Our own lines read right. " + " ".join(
        f"{what.capitalize()}: {', '.join(f'{n} {c}' for n, c in found.items())}."
        for what, found in counts.items()
    )
    head = f"Python {machine['python']}, one of {machine['cores']} cores, {machine['date']}."
    (folder / "text.md").write_text(head + "\n\n" + "\n".join(rows) + "\n\n" + right + "\n")


if __name__ == "__main__":
    main()
