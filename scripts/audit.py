"""Known faults of all that is locked: `make audit` asks pip-audit, in an environment of its own.

Three ends. 0: everything was looked up and nothing is known. 1: something is. 2: not checked, since
nobody who knows could be asked: pip-audit itself says "No known vulnerabilities found" when it had
to skip every package, so what counts is what was answered for each.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.locks import everything, normal

# It pins pip, so it can not stand in the lock of the tests.
TOOL = "pip-audit==2.10.1"
PLACE = Path(sys.prefix) / "audit"
SERVICES = ("osv", "pypi")
TIMEOUT_S = 300
PASSED, FOUND, NOT_CHECKED = 0, 1, 2

Package = tuple[str, str]  # name, version


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is known: faults as lines, and the packages nobody said anything about."""

    faults: tuple[str, ...]
    unknown: frozenset[Package]

    @property
    def status(self) -> int:
        if self.faults:
            return FOUND
        return NOT_CHECKED if self.unknown else PASSED


def public(version: str) -> str:
    """The version a fault is known by: without a build's own mark, such as `+cpu`."""
    return version.partition("+")[0]


def judge(answers: Sequence[Mapping[str, Any]], asked: frozenset[Package]) -> Outcome:
    """What pip-audit's answers, as JSON, say of the packages that were asked for."""
    faults, known = [], set()
    for one in (one for answer in answers for one in answer.get("dependencies", ())):
        if "skip_reason" in one or "vulns" not in one:
            continue
        known.add((normal(one["name"]), one["version"]))
        faults += [
            f"{one['name']} {one['version']}: {fault['id']}, mended in "
            f"{', '.join(fault.get('fix_versions', ())) or 'no version yet'}"
            for fault in one["vulns"]
        ]
    return Outcome(faults=tuple(faults), unknown=asked - known)


def rounds(locked: Mapping[str, Mapping[str, object]]) -> list[list[Package]]:
    """The packages in as many lists as one has versions: a list may name each but once."""
    versions = {name: sorted({public(one) for one in found}) for name, found in locked.items()}
    most = max((len(found) for found in versions.values()), default=0)
    return [
        [(name, found[i]) for name, found in versions.items() if len(found) > i]
        for i in range(most)
    ]


def ask(
    tool: Sequence[str], service: str, packages: Sequence[Package]
) -> tuple[dict[str, Any], str]:
    """pip-audit's answer, empty where it gave none, and the last line it complained with."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "locked.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in packages), "utf-8")
        command = [*tool, "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command += ["--vulnerability-service", service, "--format", "json", "-r", str(listed)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return {}, f"no answer within {TIMEOUT_S} s"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    return answer, (done.stderr.strip().splitlines() or [""])[-1]


def installed_tool() -> Path:
    """pip-audit in its own environment, made at its first use; `OSError` if it can not be."""
    tool = PLACE / "bin" / "pip-audit"
    if not tool.exists():
        venv.create(PLACE, with_pip=True)
        pip = [str(PLACE / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        got = subprocess.run([*pip, "--disable-pip-version-check", TOOL], check=False)
        if got.returncode:
            raise OSError(f"{TOOL} could not be installed")
    return tool


def audit(
    tool: Sequence[str], locked: Mapping[str, Mapping[str, object]]
) -> Iterator[str | Outcome]:
    """What came of each service as a line, and at the end the best outcome."""
    lists = rounds(locked)
    asked = frozenset(package for one in lists for package in one)
    best = Outcome(faults=(), unknown=asked)
    for service in SERVICES:
        answers, said = zip(*(ask(tool, service, one) for one in lists), strict=True)
        outcome = judge(answers, asked)
        n_known = len(asked) - len(outcome.unknown)
        yield f"{service}: {n_known} of {len(asked)} packages looked up. {said[0]}".rstrip()
        if outcome.faults or len(outcome.unknown) < len(best.unknown):
            best = outcome
        if best.faults or not best.unknown:
            break
    yield best


def report(outcome: Outcome, n_asked: int) -> str:
    """What the run is worth, in words."""
    if outcome.faults:
        return "\n".join(["audit: FAULTS ARE KNOWN", *outcome.faults])
    if not outcome.unknown:
        return f"audit: passed, {n_asked} packages looked up and no fault known"
    return (
        f"audit: NOT CHECKED, {len(outcome.unknown)} of {n_asked} packages could not be looked up: "
        "neither OSV nor the index's JSON API answered for them. This is no pass."
    )


def main() -> int:
    locked = everything()
    n_asked = sum(map(len, rounds(locked)))
    try:
        tool = [str(installed_tool())]
    except (OSError, subprocess.SubprocessError) as error:
        print(f"audit: NOT CHECKED, {error}. This is no pass.")
        return NOT_CHECKED
    for found in audit(tool, locked):
        if isinstance(found, Outcome):
            print(report(found, n_asked))
            return found.status
        print(found)
    return NOT_CHECKED


if __name__ == "__main__":
    sys.exit(main())
