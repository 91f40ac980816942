"""/client/...whl: the Python client of this very farm, for pip; made from the package that runs."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from flask import Blueprint, Response

import ttsfarm_client
from api.answers import Operation, documented
from shared.errors import NotFound

client = Blueprint("client", __name__)

DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can tell: equal content is an equal wheel
METADATA = """Metadata-Version: 2.1
Name: ttsfarm-client
Version: {version}
Summary: A ttsfarm from Python: text in, audio out
License: Apache-2.0
Requires-Python: >=3.11
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: ttsfarm\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel_name() -> str:
    """The only name pip takes this wheel by."""
    return f"ttsfarm_client-{version('ttsfarm')}-py3-none-any.whl"


@cache
def build_wheel() -> bytes:
    """The package `ttsfarm_client` as a wheel."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _entries():
            archive.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _entries() -> Iterator[tuple[str, bytes]]:
    """Names and contents, `RECORD` with the sums of all others last."""
    folder = Path(ttsfarm_client.__file__).parent
    files = sorted([*folder.glob("*.py"), folder / "py.typed"])
    about = f"ttsfarm_client-{version('ttsfarm')}.dist-info"
    held = [(f"ttsfarm_client/{file.name}", file.read_bytes()) for file in files]
    held += [
        (f"{about}/METADATA", METADATA.format(version=version("ttsfarm")).encode()),
        (f"{about}/WHEEL", WHEEL.encode()),
    ]
    yield from held
    record = [f"{name},{_digest(data)},{len(data)}\n" for name, data in held]
    yield f"{about}/RECORD", "".join([*record, f"{about}/RECORD,,\n"]).encode()


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}"


@client.get("/client/<wheel>")
@documented(
    Operation(
        summary="The Python client as a wheel for pip",
        tag="farm",
        answers={200: "application/zip"},
        errors=(NotFound,),
    )
)
def download_client(wheel: str) -> Response:
    if wheel != wheel_name():
        raise NotFound(f"The client of this farm is /client/{wheel_name()}")
    return Response(build_wheel(), content_type="application/zip")
