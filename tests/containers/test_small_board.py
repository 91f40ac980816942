"""The `espeak` farm on a small board: one core and 1 GB for Redis, API, worker and the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.long_job import text_of
from tests.containers.stack import ROOT, Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

BOARD = ("--memory", "1g", "--memory-swap", "1g", "--cpus", "1", "--cpuset-cpus", "0")
GROUPS = Path("/sys/fs/cgroup")
# Puts the shell into every control group it is told, then becomes what it is to run.
ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


def control_groups(pid: int) -> list[Path]:
    """The directories of the control groups of a container's process, of version 1 or 2."""
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        if number == "0":
            found.append(GROUPS / path.lstrip("/"))
        elif {"memory", "cpu", "cpuset"} & set(names.split(",")):
            found.append(GROUPS / names / path.lstrip("/"))
    return [group for group in found if (group / "cgroup.procs").exists()]


def kills(groups: list[Path]) -> int:
    """How often the kernel ended a process there for want of memory."""
    text = "".join(
        file.read_text()
        for group in groups
        for file in (group / "memory.oom_control", group / "memory.events")
        if file.exists()
    )
    counts = [line.split() for line in text.splitlines() if line.startswith("oom_kill ")]
    assert counts, "the kernel does not say"
    return sum(int(count) for _, count in counts)


def test_the_end_to_end_test_passes_in_1_gb_and_on_one_core(stack: Stack) -> None:
    # The engine makes the board; the farm's processes then live in its control groups.
    board = stack.docker(
        "run", "--detach", *BOARD, "--entrypoint", "sleep", "ttsfarm-worker", "infinity"
    )
    try:
        groups = control_groups(stack.inspect(board)["State"]["Pid"])
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command.append("tests/e2e/test_main_job.py")
        ran = subprocess.run(
            ["sh", "-c", ENTER, "enter", *map(str, groups), "--", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
        assert kills(groups) == 0
    finally:
        stack.docker("rm", "--force", board)


def test_a_quarter_of_an_hour_of_speech_stays_far_below_a_workers_1_gb(stack: Stack) -> None:
    # benchmarks.long_job measures ten hours; what it holds must not grow with the text.
    workers = stack.containers("worker")
    before = {worker: stack.inspect(worker)["RestartCount"] for worker in workers}
    body = {"text": text_of(hours=0.25), "voice": "espeak-zh", "cache": False}
    job = stack.ended(stack.try_call("/v1/jobs", body).json["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["audio_s"] > 750
    assert {worker: stack.inspect(worker)["RestartCount"] for worker in workers} == before
    for worker in workers:
        # A look at its health may end just then, and its file with it.
        look = "grep -hs VmHWM /proc/[0-9]*/status; true"
        peaks = stack.docker("exec", worker, "sh", "-c", look).splitlines()
        assert len(peaks) >= 2, "Celery's parent and its child"
        assert sum(int(line.split()[1]) for line in peaks) < 700_000, peaks
