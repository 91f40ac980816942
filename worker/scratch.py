"""Scratch folders on the local disk, and the removal of those a killed process left behind."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import InternalError

PREFIX = "ttsfarm-scratch-"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
YOUNG_S = 60.0  # so long a folder may be without the lock of who has just made it


class ScratchFull(Exception):
    """The disk of the temporary directory is full; what was to be written there can wait."""


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder of the caller's own, removed with all it holds after the block.

    Raises `ScratchFull` where the block found no room in it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
            handle = os.open(name, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield Path(name)
            finally:
                os.close(handle)
    except (OSError, InternalError) as error:
        cause = error.__cause__ if isinstance(error, InternalError) else error
        if not isinstance(cause, OSError) or cause.errno not in NO_ROOM:
            raise
        raise ScratchFull(f"{tempfile.gettempdir()} is full: make room there") from error


def clear_leftovers(parent: Path | None = None) -> int:
    """Remove the scratch folders of processes that have ended; answers how many.

    A folder in use is locked, and a kill gives the lock back; the folders of another user stay.
    """
    n_removed, before_s = 0, time.time() - YOUNG_S
    for folder in (parent or Path(tempfile.gettempdir())).glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked, or removed by its owner meanwhile
            found = folder.lstat()
            if found.st_uid != os.getuid() or found.st_mtime > before_s or folder.is_symlink():
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                n_removed += 1
            finally:
                os.close(handle)
    return n_removed
