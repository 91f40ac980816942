"""The kernels as they are compiled for vectors of 512 bits; any processor can run them."""

import os
import subprocess
import sys
from pathlib import Path

SPEAKS = """
from worker.engine.sambert import tiles
assert "worker.engine.sambert.winograd" not in sys.modules
tiles.WIDE = True
from tests.unit.engine.sambert.test_golden import check, speak
from tests.reference import references, voice
from worker.engine.sambert import winograd
assert winograd._CHANNELS == tiles.LANES
for variant in ("plain", "nsf"):
    chosen = references(variant)[:3]
    for stages, reference in zip(speak(voice(variant), chosen), chosen, strict=True):
        check(variant, stages, reference)
print(tiles.multiply_pairs.nopython_signatures)
"""


def test_wide_kernels_meet_the_reference(tmp_path: Path) -> None:
    """Compiled into a place of their own, for what a cache keeps has no mark of this."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys" + SPEAKS],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("[(int64"), done.stdout
