"""Who may import whom, and what the API must never load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "numpy", "modelscope", "soundfile", "soxr", "worker")
# Importing these makes the whole API and the whole command line.
ENTRANCES = ("api.app", "api.server", "api.cli")


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_api_loads_no_model_audio_or_numerics_library(entrance):
    script = f"import sys, {entrance}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert entrance in loaded
    assert not set(HEAVY) & set(loaded)


def test_imports_keep_the_contracts():
    linted = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def test_nothing_reads_settings_or_connects_while_it_is_imported():
    """A setting that does not fit would stop the import, and an address is none to call yet."""
    script = (
        "import pkgutil, importlib\n"
        "for name in ('api', 'shared', 'worker'):\n"
        "    package = importlib.import_module(name)\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{name}.'):\n"
        "        if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    unfit = {"TTSFARM_REDIS_URL": "nowhere://", "TTSFARM_API_PORT": "no port"}
    imported = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**os.environ, **unfit},
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stderr
