"""What stands in the way of a first `make up` is told with what to do about it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def make_up(folder: Path, **variables: str) -> str:
    """What a failing `make up` says."""
    given = [f"{name}={value}" for name, value in variables.items()]
    ran = subprocess.run(
        ["make", "up", f"VENV={folder / 'venv'}", *given],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode != 0
    return ran.stdout


def program(path: Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_is_named_with_the_one_to_choose(tmp_path: Path) -> None:
    old = program(tmp_path / "python3.9", "exit 1")
    told = make_up(tmp_path, PYTHON=old)
    assert f"ttsfarm needs Python 3.11 or newer; '{old}' is not" in told
    assert "make up PYTHON=python3.11" in told
    assert "Python 3.11 or newer" in make_up(tmp_path, PYTHON="no-such-python")


def test_a_python_that_makes_no_environment_says_what_to_install(tmp_path: Path) -> None:
    bare = program(tmp_path / "bare", '[ "$1" != -m ]')
    assert "apt-get install python3-venv" in make_up(tmp_path, PYTHON=bare)


def test_an_install_without_network_says_how_to_go_on(tmp_path: Path) -> None:
    program(tmp_path / "venv/bin/python", '[ "$1" != -m ] || { echo "no network"; exit 1; }')
    told = make_up(tmp_path)
    assert "PIP_INDEX_URL" in told
    assert "PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels make up" in told
    assert not (tmp_path / "venv/.farm").exists()


def test_a_full_disk_stops_the_install_before_it_begins(tmp_path: Path) -> None:
    def check(needed_mb: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "scripts/check_room.py", str(tmp_path), needed_mb]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    full = check(str(10**12))
    assert full.returncode == 1
    assert "MB are free under" in full.stderr
    assert "make up VENV=" in full.stderr
    assert check("0").returncode == 0
