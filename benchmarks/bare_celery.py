"""The yardstick: a Celery task that does nothing, on the same Redis, with the same settings."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from shared.bells import celery_app
from shared.settings import Settings

QUEUE = "bench.noop"
RECORD = "bench.started"


def settings_for(redis_url: str) -> Settings:
    return Settings(redis_url=redis_url)


def run_worker(redis_url: str) -> None:
    """A prefork worker of one process, as the farm's own; notes when each task's body begins."""
    app = celery_app(settings_for(redis_url), main="bench")
    client = Redis.from_url(redis_url)

    @app.task(name="bench.noop")  # type: ignore[untyped-decorator]  # celery has no types
    def noop(sent_s: float) -> None:
        client.rpush(RECORD, json.dumps(time.time() - sent_s))

    flags = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["--quiet", "worker", "-P", "prefork", "-c", "1", "-Q", QUEUE, *flags])


@dataclass(frozen=True)
class BareCelery:
    """Sends no-op tasks and reads what the worker noted."""

    redis_url: str

    def measure(self, n_idle: int, n_backlog: int) -> tuple[list[float], list[float], float]:
        """Seconds to send each, seconds from send to body when idle, tasks/s of a backlog."""
        client: Any = Redis.from_url(self.redis_url, decode_responses=True)
        app = celery_app(settings_for(self.redis_url), main="bench")
        client.delete(RECORD)
        command = [
            sys.executable,
            "-c",
            "import sys; from benchmarks.bare_celery import run_worker",
        ]
        command[-1] += "; run_worker(sys.argv[1])"
        worker = subprocess.Popen(
            [*command, self.redis_url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        try:
            self._send(app, 1)
            self._await(client, 1)
            sent_s = []
            for done in range(2, n_idle + 2):
                sent_s += self._send(app, 1)
                self._await(client, done)
            idle_s = [float(row) for row in client.lrange(RECORD, 1, -1)]
            worker.send_signal(19)  # SIGSTOP: the backlog is complete before it drains
            self._send(app, n_backlog)
            started_s = time.monotonic()
            worker.send_signal(18)  # SIGCONT
            self._await(client, n_idle + 1 + n_backlog)
            return sent_s, idle_s, n_backlog / (time.monotonic() - started_s)
        finally:
            worker.terminate()
            worker.wait(timeout=30)
            client.close()

    def _send(self, app: Any, times: int) -> list[float]:
        took_s = []
        for _ in range(times):
            started_s = time.monotonic()
            app.send_task("bench.noop", args=(time.time(),), queue=QUEUE)
            took_s.append(time.monotonic() - started_s)
        return took_s

    def _await(self, client: Any, n_done: int) -> None:
        limit = time.monotonic() + 120
        while client.llen(RECORD) < n_done:
            if time.monotonic() > limit:
                raise TimeoutError(f"the bare worker did not reach {n_done} tasks in 120 s")
            time.sleep(0.002)
