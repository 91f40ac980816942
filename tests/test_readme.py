"""The examples of the README and of every page in docs/ run, against a farm of the reader's.

What can not run has `<!-- not run: reason -->` before it. A `console` block has commands and what
they print; in `python` and `js` a comment at a line's end, `# -> ...`, is what that line prints.
"""

import json
import os
import re
import shutil
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
# The README first: it shows what a farm that has just started has done.
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
WRITTEN_URL = "http://127.0.0.1:8080"
START_S = 120.0
BLOCK = re.compile(
    r"^(<!-- not run: [^>]+ -->\n)?```(console|python|js|json|go)\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
COMMAND = re.compile(r"^\$ ", re.MULTILINE)
PRINTED = re.compile(r"(?:#|//) -> (.*)$", re.MULTILINE)
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
    """Something to run, and what it prints; `program` runs a file, the shell everything else."""

    command: str
    written: str
    program: str | None = None


def examples(page: Path) -> list[Example]:
    found: list[Example] = []
    exports = ""
    for skipped, language, text in BLOCK.findall(page.read_text("utf-8")):
        if skipped or language == "json":
            continue
        if language != "console":
            found.append(
                Example(text, "".join(f"{line}\n" for line in PRINTED.findall(text)), language)
            )
            continue
        for part in COMMAND.split(text)[1:]:
            lines = part.splitlines(keepends=True)
            end = next(i for i, line in enumerate(lines) if not line.endswith("\\\n")) + 1
            command = "".join(lines[:end])
            if command.startswith("export "):
                exports += command
            found.append(Example(exports + command, "".join(lines[end:])))
    return found


def original(page: Path) -> Path:
    """The English page of a Chinese one."""
    return page.with_name(page.name.replace(".zh.md", ".md"))


WITH_EXAMPLES = [page for page in PAGES if examples(page) and page == original(page)]


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


def run(farm: Farm, example: Example, folder: Path) -> str:
    command = example.command.replace(WRITTEN_URL, farm.url)
    programs = {
        None: ["bash", "-euc", command],
        "python": [sys.executable, "-W", "error", "-c", command],
        "js": ["node", "--input-type=module", "-e", command],
    }
    ran = subprocess.run(
        programs[example.program],
        cwd=folder,
        env=farm.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"{example.command}\n{ran.stdout}"
    return ran.stdout.replace(farm.url, WRITTEN_URL)


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_every_example_does_what_is_written(farm: Farm, page: Path, tmp_path: Path) -> None:
    tried = examples(page)
    if any(example.program == "js" for example in tried) and not shutil.which("node"):
        if os.environ.get("CI"):
            pytest.fail("no node on this machine, and CI needs one")
        pytest.skip("no node on this machine")
    folder = farm.folder if page.name == "README.md" else tmp_path  # it looks at the farm's data
    for example in tried:
        answered = run(farm, example, folder)
        if example.written.startswith("{"):
            assert shape(json.loads(answered)) == shape(json.loads(example.written)), answered
        else:
            assert masked(answered) == masked(example.written), example.command
    for audio in folder.glob("*.wav"):
        assert audio.read_bytes()[:4] == b"RIFF"
    if page.name == "README.md":
        made = {path.name for path in folder.iterdir()}
        assert {"hello.wav", "hello.mp3", "news.mp3", "spring.wav", "welcome.mp3"} <= made


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != original(page)], ids=lambda page: page.name
)
def test_a_translation_has_the_examples_of_its_original(page: Path) -> None:
    assert BLOCK.findall(page.read_text("utf-8")) == BLOCK.findall(
        original(page).read_text("utf-8")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_json_is_json(page: Path) -> None:
    for skipped, language, text in BLOCK.findall(page.read_text("utf-8")):
        if language == "json" and not skipped:
            try:
                json.loads(text)
            except ValueError:  # or JSON lines
                assert [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(
        r"\]\(([^)\s]+)\)|(?:src|href|srcset)=\"([^\"]+)\"", page.read_text("utf-8")
    ):
        path = "".join(target).partition("#")[0]
        if path and "://" not in path:
            assert (page.parent / path).exists(), f"{page.name}: {path}"


def test_every_command_of_the_readme_exists(farm):
    for command in sorted(set(re.findall(r"\b(ttsfarm(?:-worker)? [a-z]+)\b", README))):
        if command.split()[1] not in ("is", "needs", "command"):
            run(farm, Example(f"{command} --help", ""), farm.folder)


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([a-z]+)", README)) | {"up", "check", "test"}
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
