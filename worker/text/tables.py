"""The language data beside this module, read once: TSV rows and compiled files.

A line that starts with `#` is a comment. Readers below parse; nothing else opens a data file.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files


def data_bytes(name: str) -> bytes:
    """The content of the data file `name`."""
    return files("worker.text").joinpath("data", name).read_bytes()


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """The fields of every line of the table `name`, comments and empty lines left out."""
    lines = data_bytes(name).decode().splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and line[0] != "#")


@cache
def mapping(name: str) -> dict[str, str]:
    """The first column of the table `name` to its second; shared, not to be changed."""
    return {row[0]: row[1] for row in rows(name)}


@cache
def words(name: str, key: str) -> tuple[str, ...]:
    """The words of the table `name` under `key`: rows of a key and words with spaces between."""
    found = [word for row in rows(name) if row[0] == key for word in row[1].split()]
    if not found:
        raise KeyError(f"{name} has no row {key!r}")
    return tuple(found)


@cache
def word_set(name: str, key: str) -> frozenset[str]:
    """The words of `words` as a set."""
    return frozenset(words(name, key))


def any_of(choices: Iterable[str]) -> str:
    """A pattern for one of `choices`, the longest that fits."""
    return "(?:" + "|".join(re.escape(c) for c in sorted(choices, key=len, reverse=True)) + ")"
