"""What each image is made of, as CycloneDX: `make sbom` writes deploy/sbom/<image>.cdx.json.

cyclonedx-py reads the locks, with every file's hash; the licences are those of
requirements/licences.tsv. It needs no network, and the same locks give the same bytes, so the files
are kept in the repository and copied into the images.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.licences import Licence, read_table
from scripts.locks import IMAGES, REQUIREMENTS, ROOT, normal

FOLDER = ROOT / "deploy" / "sbom"
SPDX_NAME = re.compile(r"[A-Za-z0-9.-]+\Z")


def licence_of(found: Licence) -> list[dict[str, Any]]:
    """As CycloneDX has it: an id, an expression, or where SPDX has no name for it, a name."""
    written = found.expression
    if "BSD" in re.split(r" AND | OR ", written) or written.startswith("LicenseRef-"):
        return [{"license": {"name": written}}]
    if SPDX_NAME.match(written):
        return [{"license": {"id": written}}]
    return [{"expression": written}]


def assemble(document: dict[str, Any], image: str, known: dict[str, Licence]) -> dict[str, Any]:
    """cyclonedx-py's document, about the image, with licences; what names its place is left out."""
    root = document["metadata"]["component"]
    root |= {"name": f"ttsfarm-{image}", "type": "container", "bom-ref": "image"}
    parts: dict[str, Any] = {}
    for part in document["components"]:
        ref = f"pkg:pypi/{normal(part['name'])}@{part['version']}"
        part |= {"bom-ref": ref, "name": normal(part["name"]), "purl": ref}
        part["licenses"] = licence_of(known[part["name"]])
        del part["description"]  # the line of the lock once more
        for place in part["externalReferences"]:  # whatever index it comes from
            place |= {"url": ref, "comment": "its files on any package index"}
        parts.setdefault(ref, part)  # two locks of an image may name it, with the same files
    refs = sorted(parts)
    document["components"] = [parts[ref] for ref in refs]
    document["dependencies"] = [
        {"ref": "image", "dependsOn": refs},
        *({"ref": ref} for ref in refs),
    ]
    for tool in document["metadata"]["tools"]["components"]:
        del tool["externalReferences"]
    return document


def written(document: dict[str, Any]) -> str:
    """The document as text, a package a line."""
    parts = ",\n".join(json.dumps(part) for part in document["components"])
    rest = {name: value for name, value in document.items() if name != "components"}
    return f'{{"components": [\n{parts}\n],\n{json.dumps(rest)[1:]}\n'


def generate(image: str, known: dict[str, Licence]) -> str:
    """The document of an image, as it is written."""
    text = "".join((REQUIREMENTS / f"{lock}.txt").read_text("utf-8") for lock in IMAGES[image])
    lines = (line for line in text.splitlines() if not line.startswith("--extra-index-url"))
    tool = Path(sys.executable).parent / "cyclonedx-py"
    command = [str(tool), "requirements", "--output-reproducible", "--no-validate", "--pyproject",
               str(ROOT / "pyproject.toml"), "-"]  # fmt: skip
    made = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
    )
    return written(assemble(json.loads(made.stdout), image, known))


def main() -> None:
    known = read_table()
    FOLDER.mkdir(exist_ok=True)
    for image in IMAGES:
        text = generate(image, known)
        (FOLDER / f"{image}.cdx.json").write_text(text, "utf-8")
        print(f"deploy/sbom/{image}.cdx.json: {len(json.loads(text)['components'])} packages")


if __name__ == "__main__":
    main()
