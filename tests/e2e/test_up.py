"""`ttsfarm up` as a person uses it: refusals, crashes, and what is still there afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.farm_client import FarmClient, FarmProblem, FarmUnreachable, idempotency_key

pytestmark = pytest.mark.e2e
START_S = 120.0
HEEDS_A_HANGUP = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
PARTS = ("redis-server|valkey-server", "api.cli serve", "worker.cli run", "--courier")


@dataclass
class Up:
    """One `ttsfarm up` on a free port, and what it prints."""

    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def printed(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def children(self) -> dict[int, str]:
        """Command lines of its child processes by process id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int(entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
                line = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid and line:
                found[int(entry.name)] = line
        return found

    def part(self, pattern: str) -> int:
        return next(pid for pid, line in self.children().items() if re.search(pattern, line))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


def until(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def command(data_dir: Path, *options: str) -> list[str]:
    ttsfarm = str(Path(sys.executable).parent / "ttsfarm")
    return [ttsfarm, "up", "--port", "0", "--data-dir", str(data_dir), "--voice", "fake", *options]


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TTSFARM_")}


def refused(data_dir: Path, *options: str) -> str:
    ended = subprocess.run(
        command(data_dir, *options),
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    return ended.stderr


def launch(data_dir: Path, log: Path) -> Up:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(data_dir), env=plain_environment(), stdout=out, stderr=subprocess.STDOUT
        )
    farm = Up(data_dir, process, log)
    try:
        until(lambda: "is ready on" in farm.printed() or process.poll() is not None, "no start")
        found = re.search(r"is ready on (\S+)", farm.printed())
        assert found, farm.printed()[-3000:]
    except AssertionError:
        farm.stop()
        raise
    farm.url = found[1]
    return farm


@pytest.fixture
def up(tmp_path):
    started: list[Up] = []

    def start(data_dir: Path = tmp_path / "var") -> Up:
        started.append(launch(data_dir, tmp_path / f"up-{len(started)}.log"))
        return started[-1]

    yield start
    for farm in started:
        farm.stop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A farm for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("standing")
    farm = launch(folder / "var", folder / "up.log")
    yield farm
    farm.stop()


def speak(farm: Up, text: str) -> str:
    client = FarmClient(farm.url)
    body = {"text": text, "voice": "fake"}
    job = client.submit_body(body, idempotency_key(body))
    while not job.finished:
        job = client.job(job.id, wait_s=10)
    assert job.audio is not None, job.error
    return job.id


def test_jobs_and_audio_are_there_after_a_restart(up):
    first = up()
    job_id = speak(first, "第一句。")
    assert first.stop() == 0
    assert not (first.data_dir / "running.json").exists()
    second = up()
    client = FarmClient(second.url)
    assert [job.id for job in client.jobs(status="succeeded", limit=5)] == [job_id]
    assert b"".join(client.audio(job_id))[:4] == b"RIFF"


def test_every_part_that_is_killed_comes_back_and_the_farm_speaks_again(up):
    farm = up()
    speak(farm, "之前。")
    for pid in farm.children():
        os.kill(pid, signal.SIGKILL)
    for part in PARTS:
        until(lambda p=part: any(re.search(p, x) for x in farm.children().values()), part)
    client = FarmClient(farm.url, timeout_s=5)

    def answers() -> bool:
        try:
            return client.ready() is None
        except (FarmUnreachable, FarmProblem):  # it may answer before its worker is back
            return False

    until(answers, "the API did not come back")
    speak(farm, "之后。")
    assert farm.printed().count("was ended by SIGKILL; starting it again") == len(PARTS)


def test_a_farm_whose_terminal_is_closed_stops_in_order(tmp_path):
    environment = {**plain_environment(), "PYTHONIOENCODING": "latin-1"}
    with subprocess.Popen(
        # What runs the tests may ignore the signal, as nohup does, and hand that down.
        [sys.executable, "-c", HEEDS_A_HANGUP, *command(tmp_path / "var")],
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        seen = iter(process.stdout.readline, b"")
        try:
            assert any(b"stop     Ctrl-C" in line for line in seen)
            process.stdout.close()
            process.send_signal(signal.SIGHUP)
            assert process.wait(60) == 0
        finally:
            process.terminate()
    assert not (tmp_path / "var" / "running.json").exists()


def test_a_killed_farm_leaves_no_process_and_its_directory_can_be_used_again(up):
    farm = up()
    job_id = speak(farm, "断电之前。")
    pids = list(farm.children())
    assert len(pids) == len(PARTS)
    farm.process.kill()
    until(lambda: not any(map(lives, pids)), "orphans")
    again = up(farm.data_dir)
    assert FarmClient(again.url).job(job_id).audio is not None


def test_the_line_it_offers_to_copy_makes_a_wav(standing, tmp_path):
    (offered,) = re.findall(r"hear it +(.+)", standing.printed())
    subprocess.run(["bash", "-euc", offered], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "hello.wav").read_bytes()[:4] == b"RIFF"


def test_a_second_farm_on_the_same_directory_or_port_is_refused(standing, tmp_path):
    said = refused(standing.data_dir)
    assert f"Another farm (process {standing.process.pid}) uses {standing.data_dir}" in said
    assert "--port 0" in refused(tmp_path / "other", "--port", standing.url.rsplit(":", 1)[1])
    assert standing.process.poll() is None


def test_a_directory_of_a_newer_server_is_refused_and_left_as_it_is(tmp_path):
    redis_dir = tmp_path / "var" / "redis"
    redis_dir.mkdir(parents=True)
    record = json.dumps({"product": "Redis", "version": [99, 0, 0]})
    (redis_dir / "server.json").write_text(record)
    assert "written by Redis 99.0.0" in refused(tmp_path / "var")
    assert [path.name for path in redis_dir.iterdir()] == ["server.json"]
    assert (redis_dir / "server.json").read_text() == record


def test_a_voice_nobody_has_ends_the_start_with_the_reason(tmp_path):
    said = refused(tmp_path / "var", "--voice", "no-such-voice")
    assert "worker-1 has ended" in said
    assert "ttsfarm doctor" in said
