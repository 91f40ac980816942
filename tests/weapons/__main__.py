"""`python -m tests.weapons MINUTES`: all of schemathesis' phases at a farm, for half that time."""

import sys
import tempfile
from pathlib import Path

from tests.e2e.conftest import farm_maker
from tests.weapons.farm_fuzz import run_schemathesis, start_farm


def main(minutes: float) -> int:
    with tempfile.TemporaryDirectory() as place, farm_maker(Path(place)) as make_farm:
        farm = start_farm(make_farm)
        seconds = max(1, int(minutes * 60 / 2))
        done = run_schemathesis(farm, "--max-time", str(seconds))
        print(done.stdout, done.stderr)
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
