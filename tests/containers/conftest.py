"""One farm of containers for all tests here; building it takes most of their time."""

import os
from collections.abc import Iterator

import pytest

from tests.conftest import free_port
from tests.containers.stack import Stack


def _engine() -> str:
    host = os.environ.get("TTSFARM_TEST_DOCKER_HOST")
    if not host:
        assert not os.environ.get("CI"), "CI must name a Docker engine: TTSFARM_TEST_DOCKER_HOST"
        pytest.skip('no Docker engine; eval "$(.ci/containers start)" gives one')
    return host


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A farm with three workers behind nginx, its images built by `.ci/containers`."""
    host = _engine()
    port, s3_port = free_port(), free_port()
    env = {
        "FARM_PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "S3_PORT": str(s3_port),
        "S3_PUBLIC_ENDPOINT": f"127.0.0.1:{s3_port}",
        "WORKER_VOICES": "espeak,fake",
        # No registry has MinIO: a real S3 server that a script makes stands in for it.
        "MINIO_IMAGE": os.environ.get("TTSFARM_TEST_MINIO_IMAGE", "minio:stand-in"),
        "MINIO_MEMORY": "2g",
        "S3_GRANT": "arn:aws:iam:::user/ttsfarm",
    }
    farm = Stack(docker_host=host, project=f"ttsfarm-test-{os.getpid()}", env=env)
    try:
        farm.up(workers=3)
        yield farm
    finally:
        farm.down()
        assert farm.compose("ps", "--all", "--quiet") == ""
