"""A farm of containers on a real Docker engine, and what the tests do to it."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.caller import Caller
from tests.conftest import wait_until

ROOT = Path(__file__).parent.parent.parent
FILES = ("-f", "docker-compose.yml", "-f", "tests/containers/compose.yml")
AHEAD = 2  # jobs of one caller under way
PATIENCE_S = 240.0  # the machine is shared; nothing here is about speed


@dataclass
class Stack(Caller):
    """`docker compose` of one project; `env` holds what a user would write into .env."""

    docker_host: str
    project: str
    env: Mapping[str, str]
    api_port: int = 0

    def __post_init__(self) -> None:
        self.api_port = int(self.env["FARM_PORT"])

    # The engine

    def docker(self, *args: str, timeout_s: float = PATIENCE_S) -> str:
        """What a docker command prints; its own words when it fails."""
        done = subprocess.run(
            ["docker", *args],
            cwd=ROOT,
            env={**os.environ, **self.env, "DOCKER_HOST": self.docker_host},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(args)}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def compose(self, *args: str, timeout_s: float = PATIENCE_S) -> str:
        return self.docker("compose", "-p", self.project, *FILES, *args, timeout_s=timeout_s)

    def up(self, workers: int, *services: str) -> None:
        """Bring the whole farm, or `services`, to `workers` workers; wait until all is healthy."""
        flags = ["--no-build", "--detach", "--wait", "--scale", f"worker={workers}"]
        flags += ["--no-deps"] if services else []
        self.compose("up", *flags, *services, timeout_s=PATIENCE_S * 2)

    def scale(self, workers: int) -> None:
        self.up(workers, "worker")
        assert len(self.containers("worker")) == workers

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--status", "running", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.docker("inspect", container))
        return dict(found)

    def healthy(self, container: str) -> bool:
        state = self.inspect(container)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")

    def kill_9(self, *services: str) -> None:
        """End the first process of a container of each, as a crash would.

        Returns when the engine has started all of them again, by their policy.
        """
        killed: dict[str, int] = {}
        for service in services:
            container = self.containers(service)[0]
            before = self.inspect(container)
            assert before["State"]["Pid"] > 0, f"{service} is not running"
            os.kill(before["State"]["Pid"], signal.SIGKILL)
            killed[container] = before["RestartCount"]
        for container, restarts in killed.items():
            self.comes_back(container, restarts)

    def comes_back(self, container: str, restarts: int) -> None:
        """Return when the engine has started it again and it is healthy."""
        wait_until(
            lambda: self.inspect(container)["RestartCount"] > restarts and self.healthy(container),
            PATIENCE_S,
            every_s=0.5,
        )

    # The farm

    def try_call(self, path: str, body: Any = None) -> Any:
        """The answer of a call that may be repeated, from whichever replica lives."""
        answer: Any = None

        def asked() -> bool:
            nonlocal answer
            try:
                found = self.call("GET" if body is None else "POST", path, body)
            except OSError:
                return False
            if found.status in (502, 503, 504):
                return False
            answer = found
            return True

        wait_until(asked, PATIENCE_S, every_s=0.2)
        return answer

    def ended(self, job_id: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        limit = time.monotonic() + timeout_s
        while True:
            answer = self.try_call(f"/v1/jobs/{job_id}?wait=5")
            assert answer.status == 200, answer.body
            job = dict(answer.json)
            if job["finished_at"]:
                return job
            assert time.monotonic() < limit, f"{job_id} is still {job['status']}"

    def deliveries(self) -> list[dict[str, Any]]:
        """Every message the receiver has printed."""
        (receiver,) = self.containers("receiver")
        lines = self.docker("logs", receiver).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @contextmanager
    def under_load(self, prefix: str, callers: int = 3) -> Iterator["Load"]:
        """Jobs come in through nginx inside this block; afterwards every one has succeeded."""
        load = Load(self, prefix)
        with ThreadPoolExecutor(callers) as pool:
            running = [pool.submit(load.run, i) for i in range(callers)]
            try:
                wait_until(lambda: len(load.accepted) >= callers, PATIENCE_S)
                yield load
            finally:
                load.stopping.set()
            for one in running:
                one.result()
        load.check()


@dataclass
class Load:
    """Callers that submit one job after the other, as long as a fault lasts."""

    stack: Stack
    prefix: str
    stopping: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)

    def run(self, caller: int) -> None:
        number, mine = 0, list[str]()
        while not self.stopping.is_set():
            number += 1
            job_id = f"{self.prefix}-{caller}-{number}"
            # An id of our own: a repeated submit is the same job.
            text = "".join(f"{job_id}的第{i}句话，请您慢慢地读出来。" for i in range(3))
            body = {"id": job_id, "text": text, "voice": "fake"}
            answer = self.stack.try_call("/v1/jobs", {**body, "webhook_url": HOOK})
            assert answer.status in (200, 202), answer.body
            self.accepted.append(job_id)
            mine.append(job_id)
            if len(mine) > AHEAD:  # so much waits for the workers at any time, and no more
                self.stack.ended(mine.pop(0))

    def goes_on(self) -> None:
        """Return when what was submitted from now on is being finished."""
        reached = len(self.accepted)
        wait_until(lambda: len(self.accepted) > reached + 3 * AHEAD, PATIENCE_S)

    def check(self) -> None:
        """Every accepted job has ended well, with audio in the store."""
        for job_id in self.accepted:
            job = self.stack.ended(job_id)
            assert (job["status"], job["error"]) == ("succeeded", None), job
            assert job["audio"]["size_bytes"] > 1000


HOOK = "http://receiver:8000/hook"
