"""What happens to an environment that does not fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings
from shared.storage import open_store


def run(module: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("api.cli", ["up", "--port", "0", "--data-dir", "never-made"]),
        ("api.cli", ["serve"]),
        ("api.cli", ["doctor"]),
        ("worker.cli", ["run"]),
        ("worker.cli", ["doctor"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_setting_that_does_not_fit_ends_a_command_with_its_name(
    module: str, args: list[str]
) -> None:
    ended = run(module, *args, TTSFARM_LEASE_S="long", TTSFARM_REDIS_URL="http://:s3cret@host")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "TTSFARM_LEASE_S: Input should be a valid number" in line
    assert "TTSFARM_REDIS_URL: Value error, should begin with one of redis://" in line
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("webhook_delays_s", "0,soon", "should be seconds from 0 up"),
        ("webhook_delays_s", "0,-5", "should be seconds from 0 up"),
        ("webhook_delays_s", "0,nan", "should be seconds from 0 up"),
        ("webhook_delays_s", " , ", "should be seconds from 0 up"),
        ("webhook_allow", "10.0.0.0/33", "'10.0.0.0/33' is neither"),
        ("webhook_allow", "::1, http://hooks.internal", "'http://hooks.internal' is neither"),
        ("webhook_allow", "hooks.internal:8080", "'hooks.internal:8080' is neither"),
        ("webhook_allow", "*", "'*' is neither"),
        ("webhook_allow", f"{'例' * 99}.cn", "is neither"),
        ("s3_endpoint", "", "should be host:port"),
        ("s3_endpoint", "s3.internal:9000/farm", "should be host:port"),
        ("s3_endpoint", "s3.internal:99999", "should be host:port"),
        ("s3_endpoint", "HTTPS://s3.internal", "should be host:port"),
        ("s3_public_endpoint", "https://audio.example.com/s3", "should be host:port"),
        ("s3_bucket", "farm/audio", "should be 3 to 63 letters"),
        ("lease_s", "inf", "should be a finite number"),
    ],
)
def test_what_no_part_of_the_farm_could_use_is_refused_at_once(
    name: str, value: str, fault: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(fault)):
        Settings.model_validate({name: value})


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "[::1]:9000", "http://127.0.0.1:9000", "https://s3.example.com/"]
)
def test_an_endpoint_that_the_store_takes_fits(endpoint: str) -> None:
    fit = Settings(storage="s3", s3_endpoint=endpoint, s3_public_endpoint=endpoint)
    assert (fit.s3_endpoint, Settings(s3_public_endpoint="").s3_public_endpoint) == (endpoint, "")
    open_store(fit)


def test_what_the_environment_does_not_say_is_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "ttsfarm_redis_url").write_text("redis://:from-a-file@host/0\n")
    (tmp_path / "ttsfarm_s3_bucket").write_text("from-a-file\n")
    (tmp_path / "admin_password").write_text("nobody's setting")
    script = (
        "from shared.settings import settings\n"
        "print(settings().redis_url.get_secret_value(), settings().s3_bucket)"
    )
    environment = {"TTSFARM_SECRETS_DIR": str(tmp_path), "TTSFARM_S3_BUCKET": "from-env"}
    read = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert read.stdout.split() == ["redis://:from-a-file@host/0", "from-env"], read.stderr


def test_a_directory_of_secrets_that_is_not_there_ends_a_command_with_its_name() -> None:
    ended = run("api.cli", "serve", TTSFARM_SECRETS_DIR="/nowhere/at/all")
    assert ended.returncode == 1
    assert "TTSFARM_SECRETS_DIR: there is no directory /nowhere/at/all" in ended.stderr
