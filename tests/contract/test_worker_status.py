"""How a worker's process ends, by a real broker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until

pytestmark = pytest.mark.redis

RUN = "from worker.cli import main; main(['run', '--voice', 'fake'])"
BROKEN = """
from celery.worker.consumer import Consumer

def start(self):
    raise RuntimeError("something nobody expected")

Consumer.start = start
"""


def worker(redis_url: str, place: Path, program: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "TTSFARM_REDIS_URL": redis_url, "TTSFARM_STORAGE_DIR": str(place)}
    with (place / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-c", program], env=env, stdout=log, stderr=log)


def test_a_worker_that_is_told_to_stop_ends_with_0(redis_url: str, tmp_path: Path) -> None:
    child = worker(redis_url, tmp_path, RUN)
    try:
        wait_until(lambda: b"ready to speak" in (tmp_path / "log").read_bytes(), 60)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 0
    finally:
        child.kill()


def test_a_worker_that_fails_does_not(redis_url: str, tmp_path: Path) -> None:
    child = worker(redis_url, tmp_path, BROKEN + RUN)
    try:
        assert child.wait(timeout=60) == 1
    finally:
        child.kill()
    assert b"something nobody expected" in (tmp_path / "log").read_bytes()
