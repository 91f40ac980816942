"""What happens to an environment that does not fit."""

import os
import subprocess
import sys

import pytest


def run(module: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("api.cli", ["up", "--port", "0", "--data-dir", "never-made"]),
        ("api.cli", ["serve"]),
        ("api.cli", ["doctor"]),
        ("worker.cli", ["run"]),
        ("worker.cli", ["doctor"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_setting_that_does_not_fit_ends_a_command_with_its_name(
    module: str, args: list[str]
) -> None:
    ended = run(module, *args, TTSFARM_LEASE_S="long", TTSFARM_REDIS_URL="http://:s3cret@host")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "TTSFARM_LEASE_S: Input should be a valid number" in line
    assert "TTSFARM_REDIS_URL: Value error, should begin with one of redis://" in line
    assert "s3cret" not in line
