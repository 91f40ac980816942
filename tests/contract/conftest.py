"""A real S3 server for the tests that ask for one, and stores that are fresh for each test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from minio import Minio
from minio.deleteobjects import DeleteObject

from shared.connection import Scripts
from shared.settings import Settings
from shared.storage import ObjectStore, open_store
from tests.bench import Worker, at_the_bench
from tests.walk import Farm

StoreFactory = Callable[..., ObjectStore]


@pytest.fixture(scope="session")
def s3_server() -> dict[str, str]:
    """Settings that reach the S3 server named by `TTSFARM_TEST_S3_ENDPOINT`."""
    endpoint = os.environ.get("TTSFARM_TEST_S3_ENDPOINT")
    if not endpoint:
        missing = "set TTSFARM_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY to a real S3 server"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs a real S3 server: {missing}")
        pytest.skip(f"no S3 server: {missing}")
    return {
        "s3_endpoint": endpoint,
        "s3_access_key": os.environ.get("TTSFARM_TEST_S3_ACCESS_KEY", "minioadmin"),
        "s3_secret_key": os.environ.get("TTSFARM_TEST_S3_SECRET_KEY", "minioadmin"),
    }


@pytest.fixture
def s3_settings(s3_server: dict[str, str]) -> Iterator[Settings]:
    """Settings of an S3 store with a bucket of this test's own, removed afterwards."""
    settings = Settings(storage="s3", s3_bucket=f"test-{uuid4().hex}", **s3_server)
    yield settings
    client = Minio(
        settings.s3_endpoint,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        secure=False,
    )
    if client.bucket_exists(settings.s3_bucket):
        objects = client.list_objects(settings.s3_bucket, recursive=True)
        list(
            client.remove_objects(
                settings.s3_bucket, [DeleteObject(found.object_name) for found in objects]
            )
        )
        client.remove_bucket(settings.s3_bucket)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of each kind of store in turn."""
    if request.param == "s3":
        return request.getfixturevalue("s3_settings")
    return Settings(storage="local", storage_dir=tmp_path / "objects")


@pytest.fixture
def store(store_settings: Settings) -> ObjectStore:
    """An empty store of each kind in turn, ready to use."""
    opened = open_store(store_settings)
    opened.ensure()
    return opened


@pytest.fixture
def farm(scripts: Scripts, farm_settings: Settings) -> Farm:
    return Farm(scripts, farm_settings)


@pytest.fixture
def worker(scripts: Scripts, farm_settings: Settings) -> Iterator[Worker]:
    """A worker of the fake voice."""
    with at_the_bench(scripts, farm_settings) as worker:
        yield worker
