"""What `ttsfarm prepare-store` refuses before it asks the store anything."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import free_port


def prepare(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.cli", "prepare-store", *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_local_directory_needs_no_preparing() -> None:
    ended = prepare()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "TTSFARM_STORAGE is not s3" in ended.stderr


def test_a_store_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    ended = prepare(
        "--grant", "minio", "--keys", str(tmp_path),
        TTSFARM_STORAGE="s3", TTSFARM_S3_ENDPOINT=endpoint,
    )  # fmt: skip
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: The S3 store did not do what was asked")
