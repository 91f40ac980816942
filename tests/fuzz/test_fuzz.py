"""A short, always equal run of every fuzz target; `make fuzz` runs them for longer."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import part
from tests.fuzz.targets import SEEDS, TARGETS

RUNS = 600


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_seed_is_taken(name: str) -> None:
    """Without a fuzzer: what each target begins with, empty bytes, and bytes of every value."""
    for data in (*SEEDS.get(name, ()), b"", bytes(range(256))):
        TARGETS[name](data)


def test_what_the_fuzzer_makes_up_raises_nothing_unforeseen() -> None:
    part("atheris", find_spec("atheris") and "atheris")
    command = [sys.executable, "-m", "tests.fuzz", f"-runs={RUNS}", "-seed=1"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert done.stdout.splitlines()[-1] == "all passed"
    assert done.stdout.count("fuzz ") == len(TARGETS)
