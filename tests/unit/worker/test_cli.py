"""The `ttsfarm-worker` command, without a farm."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from shared.settings import Settings
from shared.storage import open_store
from worker.cli import COMMANDS, main
from worker.doctor import examine


def test_every_command_explains_itself():
    for name in COMMANDS:
        shown = CliRunner().invoke(main, [name, "--help"], prog_name="ttsfarm-worker")
        assert shown.exit_code == 0
        assert f"Usage: ttsfarm-worker {name}" in shown.stdout


def test_a_courier_with_a_voice_is_refused():
    result = CliRunner().invoke(main, ["run", "--courier", "--voice", "fake"])
    assert result.exit_code == 2
    assert "--courier or --voice" in result.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--voice", "no-such"], "no engine has the voice 'no-such'; there are espeak:"),
        (["--courier"], "Redis does not answer"),
    ],
)
def test_a_worker_that_can_not_begin_says_why_in_one_line(args, told):
    ended = subprocess.run(
        [sys.executable, "-m", "worker.cli", "run", *args],
        env={**os.environ, "TTSFARM_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: {told}")


def test_the_doctor_tells_a_voice_that_speaks_from_a_redis_that_is_silent(tmp_path):
    farm = Settings(redis_url="redis://127.0.0.1:1/0", storage_dir=tmp_path, voices="fake")
    open_store(farm).ensure()
    checks = {check.name: check for check in examine(farm)}
    assert [name for name, check in checks.items() if not check.ok] == ["redis"]
    assert checks["voices"].found == "fake speak"


def test_the_doctor_names_a_voice_nobody_has(tmp_path):
    farm = Settings(redis_url="redis://127.0.0.1:1/0", storage_dir=tmp_path, voices="no-such")
    (voices,) = [check for check in examine(farm) if check.name == "voices"]
    assert not voices.ok
    assert "no-such" in voices.found
