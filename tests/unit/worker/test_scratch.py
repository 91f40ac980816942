import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from worker.scratch import PREFIX, YOUNG_S, clear_leftovers, scratch


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    before_s = folder.stat().st_mtime - 2 * YOUNG_S
    os.utime(folder, (before_s, before_s))


def test_a_scratch_folder_goes_with_its_block(place: Path) -> None:
    with scratch() as folder:
        (folder / "audio").write_bytes(b"x")
        assert folder.parent == place
    assert list(place.iterdir()) == []


def work_until_killed(answers: Connection) -> None:
    with scratch() as folder:
        (folder / "audio").write_bytes(b"x")
        answers.send(folder)
        answers.recv()


def test_what_a_killed_process_left_is_removed_and_nothing_else(place: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=work_until_killed, args=(theirs,))
    process.start()
    theirs.close()
    folder: Path = ours.recv()
    age(folder)
    other = place / "somebody-elses"
    young, file = place / f"{PREFIX}young", place / f"{PREFIX}file"
    other.mkdir()
    young.mkdir()
    file.write_text("no folder")
    age(file)
    assert clear_leftovers() == 0  # it lives
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    ours.close()
    assert clear_leftovers() == 1
    assert sorted(place.iterdir()) == sorted([other, young, file])
