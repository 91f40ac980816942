"""An audit tells "nothing is known" from "nobody could be asked"."""

import stat
import sys
from pathlib import Path

import pytest

from scripts.audit import FOUND, NOT_CHECKED, PASSED, Outcome, audit, judge, report, rounds

ASKED = frozenset({("flask", "3.1.3"), ("torch", "2.13.0")})
CLEAN = {
    "dependencies": [{"name": name, "version": version, "vulns": []} for name, version in ASKED]
}
FAULT = {"id": "PYSEC-1", "fix_versions": ["3.1.4"]}


def test_all_looked_up_and_nothing_known_is_a_pass() -> None:
    outcome = judge([CLEAN], ASKED)
    assert outcome.status == PASSED
    assert "passed, 2 packages" in report(outcome, 2)


def test_packages_that_were_skipped_are_not_checked() -> None:
    skipped = {"dependencies": [{"name": name, "skip_reason": "not found"} for name, _ in ASKED]}
    outcome = judge([skipped], ASKED)
    assert (outcome.status, outcome.unknown) == (NOT_CHECKED, ASKED)
    assert "NOT CHECKED" in report(outcome, 2)
    assert "passed" not in report(outcome, 2)


def test_one_package_left_out_is_not_checked_either() -> None:
    assert judge([{"dependencies": CLEAN["dependencies"][:1]}], ASKED).status == NOT_CHECKED
    assert judge([], ASKED).status == NOT_CHECKED
    assert judge([{}], ASKED).status == NOT_CHECKED


def test_a_known_fault_counts_whatever_else_was_skipped() -> None:
    found = {"dependencies": [{"name": "Flask", "version": "3.1.3", "vulns": [FAULT]}]}
    outcome = judge([found], ASKED)
    assert outcome.status == FOUND
    assert outcome.faults == ("Flask 3.1.3: PYSEC-1, mended in 3.1.4",)


def test_each_version_is_asked_for_once_and_without_a_builds_mark() -> None:
    lists = rounds({"torch": {"2.13.0+cpu": 0, "2.13.0": 0}, "numpy": {"2.4.6": 0, "2.5.5": 0}})
    assert lists == [[("torch", "2.13.0"), ("numpy", "2.4.6")], [("numpy", "2.5.5")]]


SKIPPED = '{"dependencies": [{"name": "flask", "skip_reason": "no"}]}'
LOOKED_UP = '{"dependencies": [{"name": "flask", "version": "3.1.3", "vulns": []}]}'
TOOLS = {
    "unreachable": ("import sys; sys.exit('ERROR: no route')", NOT_CHECKED),
    "all skipped": (f"print({SKIPPED!r})", NOT_CHECKED),
    "clean": (f"print({LOOKED_UP!r})", PASSED),
}


@pytest.mark.parametrize("name", TOOLS)
def test_what_the_tool_answers_decides(name: str, tmp_path: Path) -> None:
    program, status = TOOLS[name]
    tool = tmp_path / "pip-audit"
    tool.write_text(f"#!{sys.executable}\n{program}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    *lines, outcome = audit([str(tool)], {"flask": {"3.1.3": 0}})
    assert isinstance(outcome, Outcome)
    assert outcome.status == status
    assert "of 1 packages looked up" in str(lines[0])
