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
    refs = {}
    for part in document["components"]:
        ref = f"pkg:pypi/{normal(part['name'])}@{part['version']}"
        refs[part["bom-ref"]] = ref
        part |= {"bom-ref": ref, "name": normal(part["name"]), "purl": ref}
        part["licenses"] = licence_of(known[part["name"]])
        del part["description"]  # the line of the lock once more
    document["components"].sort(key=lambda part: part["bom-ref"])
    document["dependencies"] = [
        {"ref": "image", "dependsOn": sorted(refs.values())},
        *({"ref": ref} for ref in sorted(refs.values())),
    ]
    return document


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
    return json.dumps(assemble(json.loads(made.stdout), image, known), indent=1) + "\n"


def main() -> None:
    known = read_table()
    FOLDER.mkdir(exist_ok=True)
    for image in IMAGES:
        text = generate(image, known)
        (FOLDER / f"{image}.cdx.json").write_text(text, "utf-8")
        print(f"deploy/sbom/{image}.cdx.json: {len(json.loads(text)['components'])} packages")


if __name__ == "__main__":
    main()
