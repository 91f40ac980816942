"""A farm without keys listens for nobody but its own machine, unless somebody said so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.exposure import require_guarded
from shared.problems import WrongSetting
from shared.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_keys_loopback_is_fine(host: str) -> None:
    require_guarded(Settings(api_host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.7", "203.0.113.7", "farm.example.com", "10.0.0.1"]
)  # fmt: skip
def test_without_keys_any_other_address_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(WrongSetting, match=r"TTSFARM_AUTH=keys.*TTSFARM_OPEN_TO_NETWORK=true"):
        require_guarded(Settings(api_host=host))
    require_guarded(Settings(api_host=host, auth="keys"))
    require_guarded(Settings(api_host=host, auth="jwt"))
    require_guarded(Settings(api_host=host, open_to_network=True))


@pytest.mark.parametrize("args", [["serve"], ["up", "--host", "0.0.0.0", "--data-dir", "made"]])
def test_the_commands_end_before_anything_is_started(tmp_path: Path, args: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api.cli", *args],
        env={**os.environ, "TTSFARM_API_HOST": "0.0.0.0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert "TTSFARM_OPEN_TO_NETWORK" in ended.stderr
    assert list(tmp_path.iterdir()) == []
