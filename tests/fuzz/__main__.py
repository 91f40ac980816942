"""Feed the targets with what libFuzzer finds: `python -m tests.fuzz [-runs=N] [NAME ...]`.

Options that begin with a dash are libFuzzer's, for each target. What a target has reached is kept
in the directory of `-corpus`, where one is given, and taken up again by the next run.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["api", "shared", "worker.courier", "worker.text"]):
    from tests.fuzz.targets import SEEDS, TARGETS

CORPUS = "-corpus="
MOST_BYTES = 2048


def fuzz(name: str, options: list[str], corpus: Path) -> int:
    """One target's run in a process of its own: libFuzzer ends the process it runs in."""
    place = corpus / name
    place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS.get(name, (b"a",))):
        (place / f"seed{number}").write_bytes(seed)
    child = os.fork()
    if child == 0:
        defaults = [f"-max_len={MOST_BYTES}", "-timeout=60", "-verbosity=0", "-print_final_stats=0"]
        atheris.Setup(
            [name, *defaults, *options, f"-artifact_prefix={corpus}/{name}-", str(place)],
            TARGETS[name],
        )
        atheris.Fuzz()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main(arguments: list[str]) -> int:
    names = [one for one in arguments if not one.startswith("-")] or sorted(TARGETS)
    options = [one for one in arguments if one.startswith("-") and not one.startswith(CORPUS)]
    kept = [one.removeprefix(CORPUS) for one in arguments if one.startswith(CORPUS)]
    with tempfile.TemporaryDirectory() as passing:
        corpus = Path(kept[0] if kept else passing)
        failed = []
        for name in names:
            print(f"fuzz {name}", flush=True)
            if fuzz(name, options, corpus):
                failed.append(name)
                for found in sorted(corpus.glob(f"{name}-*")):
                    print(f"{name} fails with {found.read_bytes()!r}", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
