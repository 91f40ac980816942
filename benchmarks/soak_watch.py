"""What the soak samples: memory, open files and threads of every process, Redis, the store.

A process is known by its part in the farm and its place among that part's processes, the oldest
first; one that is started anew takes the place of the one that ended, and is counted.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from redis import Redis

from benchmarks.slopes import Bound

PROC = Path("/proc")
MB = 1 << 20
ALONE = "redis"  # its children write the append-only file anew, and end
TICKS = 22  # place of the start time in /proc/<pid>/stat, counted from 1

# What a leak would be of is far more: a key, a file or 10 kB a call is thousands, or tens of MB, an
# hour. What is less than this hides in the noise of half an hour.
BOUNDS = {
    "PSS MB": Bound(per_hour=12.0),
    "RSS MB": Bound(per_hour=12.0),
    "open files": Bound(per_hour=20.0),
    "threads": Bound(per_hour=10.0),
    "connections": Bound(per_hour=4.0),
    "memory MB": Bound(per_hour=4.0),
    "keys": Bound(per_hour=600.0),
    "garbage": Bound(per_hour=600.0),
    "files": Bound(per_hour=600.0),
    "size MB": Bound(per_hour=20.0),
}


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat behind the name, which may hold blanks; the state is first."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """A process and all it started, the oldest first."""
    parents: dict[int, tuple[int, int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = stat_fields(int(entry.name))
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1]), int(fields[TICKS - 3])
    found = [pid]
    for one in found:
        found += [child for child, (parent, _) in parents.items() if parent == one]
    known = [one for one in found if one in parents]
    return [known[0], *sorted(known[1:], key=lambda one: parents[one][1])] if known else []


def process_figures(pid: int) -> dict[str, float]:
    """Of one process; raises `OSError` when it has ended."""
    place = PROC / str(pid)
    rollup = dict(_pairs((place / "smaps_rollup").read_text()))
    status = dict(_pairs((place / "status").read_text()))
    return {
        "PSS MB": rollup["Pss"] / 1024,
        "RSS MB": rollup["Rss"] / 1024,
        "open files": float(len(os.listdir(place / "fd"))),  # noqa: PTH208, names are enough
        "threads": status["Threads"],
    }


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    """Names and numbers of lines such as `Pss:   1234 kB`."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].endswith(":") and words[1].isdigit():
            yield words[0][:-1], float(words[1])


class Watch:
    """Samples a farm's processes, its Redis and its directory of objects."""

    def __init__(self, roots: Mapping[str, int], redis: Redis, objects: Path, prefix: str) -> None:
        self._roots = roots
        self._redis = redis
        self._objects = objects
        self._prefix = prefix
        self._pids: dict[str, int] = {}
        self.restarts: list[str] = []

    def sample(self) -> dict[str, float]:
        """Every figure now, as `<what> / <figure>`."""
        figures: dict[str, float] = {}
        for part, root in self._roots.items():
            for place, pid in enumerate([root] if part == ALONE else family(root)):
                name = f"{part}.{place}"
                if self._pids.setdefault(name, pid) != pid:
                    self.restarts.append(name)
                    self._pids[name] = pid
                try:
                    found = process_figures(pid)
                except OSError:
                    continue
                figures |= {f"{name} / {kind}": value for kind, value in found.items()}
        return figures | self._redis_figures() | self._object_figures()

    def _redis_figures(self) -> dict[str, float]:
        info = cast(dict[str, float], self._redis.info())
        return {
            "redis / memory MB": info["used_memory"] / MB,
            "redis / connections": float(info["connected_clients"]),
            "redis / keys": float(cast(int, self._redis.dbsize())),
            "redis / garbage": float(cast(int, self._redis.zcard(f"{self._prefix}garbage"))),
        }

    def _object_figures(self) -> dict[str, float]:
        sizes = []
        for directory, _, names in os.walk(self._objects):
            for name in names:
                try:
                    sizes.append((Path(directory) / name).stat().st_size)
                except OSError:  # it has just been deleted
                    continue
        return {"objects / files": float(len(sizes)), "objects / size MB": sum(sizes) / MB}


def kinds_of_keys(redis: Redis, prefix: str) -> dict[str, int]:
    """How many keys there are of each kind, by the first word of their names."""
    counts: dict[str, int] = {}
    for key in redis.scan_iter(count=1000):
        kind = str(key).removeprefix(prefix).split(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))
