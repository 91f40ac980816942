"""Model folders from ModelScope's hub: fetched once by id and revision, then used offline.

A folder appears under `<models>/<owner>/<name>@<revision>` only when it is whole and has its
`SHA256SUMS`; until then what has arrived waits beside it and the next try goes on from there. A
folder there without one was put there by hand and is used as it is.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import EngineUnavailable, Unavailable
from worker.engine.sambert.folder import CHECKSUMS, is_plain, read_checksums, sha256_of

DEFAULT_REVISION = "master"
Report = Callable[[str], None]
# What the system says of a place where nothing can be written, however often one tries.
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_MIB = 1024 * 1024
_STEP_BYTES = 8 * _MIB  # progress is reported each time this much of a file has arrived


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model of the hub. Pin `revision` to a tag or commit: `master` moves."""

    owner: str
    name: str
    revision: str = DEFAULT_REVISION

    @property
    def id(self) -> str:
        return f"{self.owner}/{self.name}"

    def folder(self, models: Path) -> Path:
        return models / self.owner / f"{self.name}@{self.revision}"


def parse_ref(text: str, revision: str | None = None) -> ModelRef:
    """`owner/name` or `owner/name@revision`; `revision` overrides.

    Raises `EngineUnavailable` when it is neither.
    """
    name, _, tail = text.partition("@")
    parts = name.split("/")
    chosen = revision or tail or DEFAULT_REVISION
    if len(parts) != 2 or not all(is_plain(part) for part in (*parts, chosen)):
        raise EngineUnavailable(
            f"{text!r} names no model: expected owner/name or owner/name@revision, such as "
            "iic/speech_sambert-hifigan_tts_zhitian_emo_zh-cn_16k@v1.0.0"
        )
    return ModelRef(owner=parts[0], name=parts[1], revision=chosen)


def fetch(
    ref: ModelRef,
    models: Path,
    *,
    offline: bool = False,
    endpoint: str | None = None,
    report: Report = lambda _: None,
) -> Path:
    """The model's folder, fetched if it is not there yet.

    `endpoint` replaces the hub's address. Raises `EngineUnavailable` when files are damaged, the
    disk is full or nothing is there offline, and `Unavailable` when the hub does not answer.
    """
    folder = ref.folder(models)
    if (folder / CHECKSUMS).is_file():
        report(f"{ref.id}@{ref.revision} is in {folder}")
        check(folder)
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        report(f"{ref.id}@{ref.revision} is in {folder}, unchecked: it has no {CHECKSUMS}")
        return folder
    if offline:
        raise EngineUnavailable(
            f"{ref.id}@{ref.revision} is not in {models}, and fetching is turned off; run "
            f"ttsfarm-worker fetch {ref.id}@{ref.revision} where there is a network"
        )
    _fetch(ref, folder, models, endpoint, report)
    report(f"{ref.id}@{ref.revision} is in {folder}")
    return folder


def _fetch(ref: ModelRef, folder: Path, models: Path, endpoint: str | None, report: Report) -> None:
    partial = folder.with_name(folder.name + ".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _download(ref, partial, endpoint, report)
        # The client's own notes are about the download, not the model.
        shutil.rmtree(partial / "._____temp", ignore_errors=True)
        _write_checksums(partial)
        partial.rename(folder)
    except OSError as error:
        # Two may fetch at once, and the other was first.
        if not (folder / CHECKSUMS).is_file():
            raise translate(error, ref, models) from error
        shutil.rmtree(partial, ignore_errors=True)


def check(folder: Path) -> None:
    """Raises `EngineUnavailable` naming every file that is missing or not as it was fetched."""
    expected = read_checksums(folder) or {}
    damaged = [
        name
        for name, digest in expected.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]
    if damaged:
        raise EngineUnavailable(
            f"{folder} is damaged: {', '.join(damaged[:5])} differ from {CHECKSUMS}; delete the "
            "folder and fetch the model again"
        )


def _download(ref: ModelRef, folder: Path, endpoint: str | None, report: Report) -> None:
    try:
        from modelscope.hub.callback import ProgressCallback
        from modelscope.hub.snapshot_download import snapshot_download
        from modelscope_hub.errors import FileIntegrityError, HubError
    except ImportError as error:
        raise EngineUnavailable(
            "Fetching models needs the modelscope package: install the hub extra, or put "
            "the model's folder in place by hand"
        ) from error

    class Progress(ProgressCallback):  # type: ignore[misc]  # modelscope has no types
        """Reports a file's progress in steps; the client makes one for each file."""

        def __init__(self, filename: str, file_size: int) -> None:
            super().__init__(filename, file_size)
            self._done = self._told = 0

        def update(self, size: int) -> None:
            self._done += size
            if self._done - self._told >= _STEP_BYTES:
                self._told = self._done
                report(f"{self.filename}: {self._done // _MIB} of {self.file_size // _MIB} MiB")

        def end(self) -> None:
            report(f"{self.filename}: done, {self.file_size / _MIB:.1f} MiB")

    try:
        snapshot_download(
            ref.id,
            revision=ref.revision,
            local_dir=str(folder),
            endpoint=endpoint,
            progress_callbacks=[Progress],
        )
    except FileIntegrityError as error:
        raise _damaged(ref, error) from error
    except HubError as error:
        causes = list(_causes(error))
        if any(isinstance(cause, FileIntegrityError) for cause in causes):
            raise _damaged(ref, error) from error
        full = next((c for c in causes if _is_full(c)), None)
        raise translate(full or error, ref, folder) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and the errors of single files inside it."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None:
            continue
        yield current
        waiting += [current.__cause__, current.__context__]
        waiting += list(getattr(current, "failed_files", {}).values())


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _damaged(ref: ModelRef, error: BaseException) -> EngineUnavailable:
    return EngineUnavailable(
        f"{ref.id}@{ref.revision} arrived damaged ({_line(error)}); fetch it again, or tell the "
        "model's owner if it stays so"
    )


def translate(error: BaseException, ref: ModelRef, folder: Path) -> Unavailable:
    """The farm's error for a failed fetch, saying what to do."""
    what = f"{ref.id}@{ref.revision}"
    if _is_full(error):
        return EngineUnavailable(
            f"The disk of {folder} is full; free some space and fetch {what} again, it goes on "
            "where it stopped"
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403, 404):
        return EngineUnavailable(
            f"The hub has no model {what} for everyone (HTTP {status}); check id and revision"
        )
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return EngineUnavailable(f"{folder} cannot be written: {error}")
    return Unavailable(
        f"{what} could not be fetched ({_line(error)}); try again, it goes on where it stopped"
    )


def _write_checksums(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != CHECKSUMS)
    rows = [
        f"{sha256_of(path)}  {name}\n"
        for path in files
        if not (name := path.relative_to(folder).as_posix()).startswith(".")
    ]
    (folder / CHECKSUMS).write_text("".join(rows), encoding="utf-8")


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
