"""Names of voices are found without loading an engine into the asking process."""

import subprocess
import sys

import pytest

from shared.errors import EngineUnavailable
from shared.settings import Settings
from worker.offer import offered_names


def test_names_are_those_of_the_setting() -> None:
    assert offered_names(Settings(voices="espeak,fake")) == ("espeak-zh", "espeak-en", "fake")


def test_an_unknown_name_is_refused_with_what_exists() -> None:
    with pytest.raises(EngineUnavailable, match="espeak-zh"):
        offered_names(Settings(voices="nobody"))


def test_the_asking_process_loads_no_engine() -> None:
    program = (
        "import sys; from shared.settings import Settings; from worker.offer import offered_names;"
        "offered_names(Settings(voices='espeak'));"
        "print([m for m in sys.modules if m.startswith('worker.engine.espeak')])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.strip() == b"[]"
