"""The examples of the README and of docs/api.md run, in order, against a farm of the reader's."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CALLS = (ROOT / "docs" / "api.md").read_text("utf-8")
WRITTEN_URL = "http://127.0.0.1:8080"
START_S = 120.0
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(console|python)\n(.*?)```", re.DOTALL)
# What differs from run to run: ids, times, sizes, versions, paths.
MASKS = (
    (re.compile(r"\b01[0-9a-hjkmnp-tv-z]{24}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\(/\S+\)"), "(PATH)"),
    (re.compile(r"(?:Redis|Valkey) [\d.]+(?:, Valkey [\d.]+)?"), "SERVER"),
    (re.compile(r"under \S+"), "under PATH"),
    (re.compile(r"\b\d+(?:\.\d+)*\b"), "N"),
    (re.compile(r"\s+"), " "),
)

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Farm:
    url: str
    environment: dict[str, str]
    folder: Path


@dataclass(frozen=True)
class Example:
    command: str
    written: str
    python: bool = False


def examples() -> list[Example]:
    found: list[Example] = []
    for skipped, language, text in BLOCK.findall(README + CALLS):
        if skipped:
            continue
        if language == "python":
            found.append(Example(text, "succeeded mp3\n", python=True))
            continue
        for part in text.split("$ ")[1:] if text.startswith("$ ") else []:
            command, _, written = part.partition("\n")
            found.append(Example(command, written))
    return found


@pytest.fixture(scope="module")
def farm(tmp_path_factory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("readme")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TTSFARM_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    log = (folder / "farm.log").open("w+")
    process = subprocess.Popen(
        ["ttsfarm", "up", "--port", "0", "--data-dir", str(folder / "var")],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        url = _ready_address(process, folder / "farm.log")
        yield Farm(url, {**environment, "TTSFARM_URL": url}, folder)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(90)
        log.close()
    assert status == 0


def _ready_address(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        if found := re.search(r"ttsfarm is ready on (\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    return pytest.fail("the farm did not come up:\n" + log.read_text()[-3000:])


def shape(value: Any) -> Any:
    """The fields of a JSON answer at every depth, without their values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value[:1]] if isinstance(value, list) else None


def masked(text: str) -> str:
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return text.strip()


def run(farm: Farm, example: Example) -> str:
    command = example.command.replace(WRITTEN_URL, farm.url)
    ran = subprocess.run(
        [sys.executable, "-c", command] if example.python else ["bash", "-euc", command],
        cwd=farm.folder,
        env=farm.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"{example.command}\n{ran.stdout}"
    return ran.stdout.replace(farm.url, WRITTEN_URL)


def test_every_example_does_what_is_written(farm):
    tried = examples()
    assert len(tried) > 10
    for example in tried:
        answered = run(farm, example)
        if example.written.startswith("{"):
            assert shape(json.loads(answered)) == shape(json.loads(example.written)), answered
        else:
            assert masked(answered) == masked(example.written), example.command
    made = {path.name for path in farm.folder.iterdir()}
    assert {"hello.wav", "hello.mp3", "news.mp3", "spring.wav", "welcome.mp3"} <= made
    assert (farm.folder / "hello.wav").read_bytes()[:4] == b"RIFF"


def test_every_command_of_the_readme_exists(farm):
    for command in sorted(set(re.findall(r"\b(ttsfarm(?:-worker)? [a-z]+)\b", README))):
        if command.split()[1] not in ("is", "needs", "command"):
            run(farm, Example(f"{command} --help", ""))


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([a-z]+)", README)) | {"up", "check", "test"}
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
