"""Files that commands write: whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click


def try_writing(path: Path) -> None:
    """Find out before the farm has spoken a book that it can not be kept."""
    part = _part(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _unwritable(path: Path, error: OSError) -> click.ClickException:
    return click.ClickException(f"{path} can not be written: {error.strerror}.")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes `path`'s name when the block ends well, and is gone when it does not."""
    part = _part(path)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)
