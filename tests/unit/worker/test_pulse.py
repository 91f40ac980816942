"""The sign of health a worker leaves for who looks from outside."""

import os
from pathlib import Path

import pytest

from worker.pulse import Pulse


def test_each_sign_of_health_renews_the_files_time(tmp_path: Path) -> None:
    file = tmp_path / "healthy"
    Pulse(file).healthy()
    os.utime(file, (0, 0))
    Pulse(file).healthy()
    assert file.stat().st_mtime > 0


def test_a_place_that_can_not_be_written_stops_no_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Pulse(tmp_path / "missing" / "healthy").healthy()
    assert "no sign of health" in caplog.text


def test_without_a_file_there_is_no_sign() -> None:
    Pulse().healthy()
