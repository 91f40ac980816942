"""deploy/minio.Dockerfile as far as it goes without Go's module proxy.

A `go` that writes down what it was asked stands in for the compiler, so this proves the recipe and
the image around the server, not the server.
"""

import re
from pathlib import Path

import pytest

from tests.containers.stack import ROOT, Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

GO = """#!/bin/sh
mkdir -p /go/bin
printf '%s\n' "$@" >/go/bin/minio
chmod 755 /go/bin/minio
"""


def test_the_recipe_asks_for_one_release_and_runs_it_without_rights(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "go").write_text(GO)
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:bookworm-slim\nCOPY --chmod=755 go /usr/local/bin/go\n"
    )
    go, built = f"{stack.project}-go", f"{stack.project}-minio"
    try:
        stack.docker("build", "--quiet", "--tag", go, str(tmp_path))
        recipe = ["--file", "deploy/minio.Dockerfile", "--build-arg", f"GO_IMAGE={go}"]
        stack.docker("build", "--quiet", *recipe, "--tag", built, str(ROOT / "deploy"))
        asked = stack.docker("run", "--rm", "--entrypoint", "cat", built, "/usr/local/bin/minio")
        config = stack.inspect(built)["Config"]
    finally:
        stack.docker("rmi", "--force", go, built)
    (release,) = set(re.findall(r"RELEASE\.[0-9TZ-]+", asked))
    assert asked.startswith("install\n")
    assert asked.endswith(f"github.com/minio/minio@{release}")
    year, month, rest = release.removeprefix("RELEASE.").split("-", 2)
    day, minute, second = rest.split("-")
    assert f"cmd.Version={year}-{month}-{day}:{minute}:{second} " in asked
    assert (config["User"], config["Entrypoint"]) == ("10002:10002", ["minio"])
    assert config["Labels"]["org.opencontainers.image.version"] == release
