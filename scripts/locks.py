"""What the locks hold: every package with its version, hashes and the lock it stands in.

For the scripts about licences, bills of materials and known faults, which must agree on it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements"
# Each image by the locks it is installed from; that of sambert has one of two builds of torch.
IMAGES = {
    "api": ("api",),
    "worker": ("worker",),
    "sambert-cpu": ("sambert", "torch-cpu"),
    "sambert-cuda": ("sambert", "torch-cuda"),
}

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One line of a lock. `hashes` are SHA-256, of every file pip may install for it."""

    name: str
    version: str
    hashes: frozenset[str]


def normal(name: str) -> str:
    """A package's name as the index compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_names() -> list[str]:
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def read_lock(name: str, folder: Path = REQUIREMENTS) -> list[Locked]:
    """The packages of `requirements/<name>.txt`. Raises `ValueError` for a line that pins none."""
    return list(_read((folder / f"{name}.txt").read_text("utf-8"), name))


def _read(text: str, name: str) -> Iterator[Locked]:
    joined = re.sub(r"#.*", "", text).replace("\\\n", " ")
    for line in filter(None, map(str.strip, joined.splitlines())):
        if line.startswith("--extra-index-url"):
            continue
        pinned, hashes = _PINNED.match(line), frozenset(_HASH.findall(line))
        if not pinned or not hashes:
            raise ValueError(f"requirements/{name}.txt: {line[:80]!r} has no version or no hash")
        yield Locked(name=normal(pinned["name"]), version=pinned["version"], hashes=hashes)


def everything() -> dict[str, dict[str, set[str]]]:
    """Package -> version -> the locks that hold it."""
    found: dict[str, dict[str, set[str]]] = {}
    for lock in lock_names():
        for one in read_lock(lock):
            found.setdefault(one.name, {}).setdefault(one.version, set()).add(lock)
    return dict(sorted(found.items()))
