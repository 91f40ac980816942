"""`ttsfarm doctor`: each thing it looks at is fine, or says how to mend it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli import main
from api.doctor import RUNNING, Running, examine, running_farm
from shared.checks import (
    Check,
    check_disk,
    check_python,
    check_queue_libraries,
    check_redis,
    check_storage,
    report,
)
from shared.settings import Settings


def test_a_report_says_how_to_mend_what_is_wrong():
    lines: list[str] = []
    checks = [
        Check(name="one", ok=True, found="here", mend="not shown"),
        Check(name="two", ok=False, found="gone", mend="put it back"),
    ]
    assert report(checks, lines.append) is False
    assert [line.split() for line in lines] == [
        ["ok", "one", "here"],
        ["wrong", "two", "gone"],
        ["->", "put", "it", "back"],
    ]


def test_a_report_without_a_fault_is_fine():
    assert report([Check(name="one", ok=True, found="here")], [].append) is True


def test_the_python_and_libraries_the_tests_run_on_are_fine():
    assert [check for check in (check_python(), *check_queue_libraries()) if not check.ok] == []


def test_a_disk_is_judged_where_the_directory_will_be(tmp_path):
    check = check_disk(tmp_path / "not" / "yet")
    assert check.ok
    assert "GB free" in check.found


def test_a_silent_redis_says_how_to_start_one():
    (check,) = check_redis("redis://127.0.0.1:1/0")
    assert not check.ok
    assert "ttsfarm up" in check.mend


def test_a_storage_directory_that_is_a_file_is_wrong(tmp_path):
    (tmp_path / "objects").write_text("")
    check = check_storage(Settings(storage_dir=tmp_path / "objects"))
    assert not check.ok
    assert "TTSFARM_STORAGE" in check.mend


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"url": "http://x"}'])
def test_a_broken_note_is_no_running_farm(tmp_path, text):
    (tmp_path / RUNNING).write_text(text)
    assert running_farm(tmp_path) is None


def test_the_note_of_a_running_farm_tells_its_addresses(tmp_path):
    note = {"url": "http://127.0.0.1:8081", "redis_url": "redis://x", "pid": os.getpid()}
    (tmp_path / RUNNING).write_text(json.dumps(note))
    assert running_farm(tmp_path) == Running(url="http://127.0.0.1:8081", redis_url="redis://x")


def test_the_note_of_a_farm_that_was_killed_is_none(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        pass
    note = {"url": "http://127.0.0.1:8081", "redis_url": "redis://x", "pid": ended.pid}
    (tmp_path / RUNNING).write_text(json.dumps(note))
    assert running_farm(tmp_path) is None


def test_without_a_farm_the_doctor_says_so_and_fails(tmp_path: Path):
    args = ["doctor", "--url", "http://127.0.0.1:1", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    assert "No farm answers at http://127.0.0.1:1" in result.stdout
    assert "-> Start the farm with 'ttsfarm up'" in result.stdout
    assert [line for line in result.stdout.splitlines() if "wrong" in line] == [
        "wrong  farm        No farm answers at http://127.0.0.1:1 (connection refused)"
    ]


def test_a_server_program_is_looked_for_only_where_no_redis_is_named(tmp_path: Path):
    def names(**given: str) -> list[str]:
        found = examine("http://127.0.0.1:1", tmp_path, Settings.model_validate(given))
        return [check.name for check in found]

    assert "server" in names()
    assert "server" not in names(redis_url="redis://127.0.0.1:1/0")
