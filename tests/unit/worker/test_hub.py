"""Fetching models: whole or not at all, going on where it stopped, honest about what failed.

The client is the real one; the hub is on this machine.
"""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import EngineUnavailable, Unavailable
from tests.fake_hub import FakeHub, fake_hub
from tests.reference import GOLDEN
from worker.engine.sambert.folder import CHECKSUMS
from worker.hub import ModelRef, fetch, parse_ref, translate

REF = ModelRef(owner="iic", name="tiny", revision="v1.0.0")
VOC = "voices/zhitian_emo/voc/ckpt/checkpoint_7.pth"
pytest.importorskip("modelscope", reason="the modelscope extra is not installed")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    folder = shutil.copytree(GOLDEN / "plain" / "model", tmp_path / "served")
    with fake_hub(Path(folder), REF.id, REF.revision) as served:
        yield served


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != CHECKSUMS
    }


def test_a_model_is_fetched_once_with_progress_and_used_offline(hub: FakeHub, models: Path) -> None:
    lines: list[str] = []
    folder = fetch(REF, models, endpoint=hub.url, report=lines.append)
    assert folder == models / "iic" / "tiny@v1.0.0"
    assert files(folder) == files(hub.folder)
    assert any("checkpoint_7.pth: done" in line for line in lines)
    hub.asked.clear()
    assert fetch(REF, models, endpoint=hub.url) == fetch(REF, models, offline=True) == folder
    assert not hub.asked


def test_what_arrived_damaged_is_refused_and_only_that_is_fetched_again(
    hub: FakeHub, models: Path
) -> None:
    original = (hub.folder / VOC).read_bytes()
    hub.swapped[VOC] = original[:-1] + b"?"
    with pytest.raises(EngineUnavailable, match="arrived damaged"):
        fetch(REF, models, endpoint=hub.url)
    assert not REF.folder(models).exists()
    hub.swapped.clear()
    hub.asked.clear()
    folder = fetch(REF, models, endpoint=hub.url)
    assert {name for name, _ in hub.asked} == {VOC}
    assert files(folder) == files(hub.folder)


def test_a_file_changed_later_is_named(hub: FakeHub, models: Path) -> None:
    folder = fetch(REF, models, endpoint=hub.url)
    (folder / VOC).write_bytes(b"x")
    with pytest.raises(EngineUnavailable, match=f"{VOC} differ from SHA256SUMS"):
        fetch(REF, models, offline=True)


@pytest.mark.parametrize("offline", [False, True])
def test_a_folder_put_there_by_hand_is_used_unchecked(
    hub: FakeHub, models: Path, offline: bool
) -> None:
    placed = Path(shutil.copytree(hub.folder, REF.folder(models)))
    lines: list[str] = []
    found = fetch(REF, models, endpoint=hub.url, offline=offline, report=lines.append)
    assert found == placed
    assert lines == [f"iic/tiny@v1.0.0 is in {placed}, unchecked: it has no SHA256SUMS"]
    assert not hub.asked


def test_of_two_that_fetch_at_once_the_second_takes_what_the_first_got(
    hub: FakeHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def late(partial: Path, folder: Path) -> Path:
        shutil.copytree(partial, folder)
        return rename(partial, folder)

    monkeypatch.setattr(Path, "rename", late)
    folder = fetch(REF, models, endpoint=hub.url)
    assert files(folder) == files(hub.folder)
    assert fetch(REF, models, offline=True) == folder


def test_offline_without_the_model_says_how_to_get_it(models: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"ttsfarm-worker fetch iic/tiny@v1\.0\.0"):
        fetch(REF, models, offline=True)


def test_a_revision_the_hub_lacks_is_not_worth_a_retry(hub: FakeHub, models: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"check id and revision"):
        fetch(ModelRef(owner="iic", name="tiny", revision="v9"), models, endpoint=hub.url)


def test_a_folder_that_cannot_be_made_is_named(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineUnavailable, match="file cannot be written"):
        fetch(REF, tmp_path / "file", endpoint=hub.url)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_place_where_nothing_can_be_written_is_named(number: int, models: Path) -> None:
    found = translate(OSError(number, "not here"), REF, models)
    assert f"{models} cannot be written" in found.message


def test_a_full_disk_is_told_as_such(hub: FakeHub, models: Path) -> None:
    """A file system of 500 kB, in a name space of its own."""
    models.mkdir()
    script = (
        f"mount -t tmpfs -o size=500k none {models} || exit 77; exec {sys.executable} -c '"
        "from pathlib import Path; from worker.hub import fetch, parse_ref; "
        f'fetch(parse_ref("{REF.id}@{REF.revision}"), Path("{models}"), endpoint="{hub.url}")\''
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr.splitlines()[-1]:
        pytest.skip("this machine allows no file system of our own")
    assert f"EngineUnavailable: The disk of {models}" in done.stderr
    assert "is full; free some space" in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_a_full_disk_is_translated(number: int, models: Path) -> None:
    assert "is full" in translate(OSError(number, "no space"), REF, models).message


def test_a_hub_that_does_not_answer_is_worth_a_retry(models: Path) -> None:
    found = translate(ConnectionError("no route"), REF, models)
    assert type(found) is Unavailable
    assert found.retryable


@pytest.mark.parametrize(
    ("text", "revision", "expected"),
    [
        ("iic/tiny", None, ModelRef(owner="iic", name="tiny", revision="master")),
        ("iic/tiny@v2", None, ModelRef(owner="iic", name="tiny", revision="v2")),
        ("iic/tiny@v2", "v3", ModelRef(owner="iic", name="tiny", revision="v3")),
    ],
)
def test_references_are_read(text: str, revision: str | None, expected: ModelRef) -> None:
    assert parse_ref(text, revision) == expected


@pytest.mark.parametrize("text", ["tiny", "a/b/c", "../x", "iic/..", "iic/", "iic/x@../y"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(EngineUnavailable, match="names no model"):
        parse_ref(text)
