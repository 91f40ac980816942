"""The licence of every locked package: `make licences` writes requirements/licences.tsv.

What is installed says its licence itself; what is not (other platforms, CUDA) or says nothing has a
line written by hand, whose third column says where that was read. A licence that is not in `FREE`
needs a fourth: why it is all right.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.locks import REQUIREMENTS, everything, normal

TABLE = REQUIREMENTS / "licences.tsv"
ITSELF = "its metadata"
# Licences that ask for no more than that they are named. "BSD" is one of that family; the package
# does not say which.
FREE = frozenset(
    (
        "0BSD",
        "AFL-2.1",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    )
)
EXCEPTION = " WITH LLVM-exception"  # it only adds permissions
# What packages write, by what is meant.
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "DFSG approved": "",  # says nothing of the licence
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "UNKNOWN": "",
}


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A package's licence as an SPDX expression where it can be, and where that was read.

    `why` says why one that is not free of conditions is all right here.
    """

    package: str
    expression: str
    source: str = ITSELF
    why: str = ""

    @property
    def free(self) -> bool:
        """Whether every part, or one of several to choose from, asks for nothing but its name."""
        text = self.expression.replace(EXCEPTION, "")
        every = [
            part.split(" OR ")
            for part in re.split(r" AND ", text.replace("(", "").replace(")", ""))
        ]
        return all(any(choice in FREE for choice in part) for part in every)


def expression(written: str) -> str:
    """What a package writes as an SPDX expression; empty when it says nothing that is known."""
    first = written.strip().splitlines()[0].strip() if written.strip() else ""
    parts = [NAMES.get(part.strip(), part.strip()) for part in first.split(";")]
    return " AND ".join(dict.fromkeys(part for part in parts if part))


def installed() -> dict[str, str]:
    """Package -> expression, of what is installed beside this Python."""
    tool = Path(sys.executable).parent / "pip-licenses"
    command = [str(tool), "--from=mixed", "--format=json", "--with-system"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {normal(one["Name"]): expression(one["License"]) for one in found}


def read_table() -> dict[str, Licence]:
    """The licences as they are written down, by package."""
    lines = TABLE.read_text("utf-8").splitlines()
    rows = [[*line.split("\t"), ""][:4] for line in lines if line and not line.startswith("#")]
    return {
        package: Licence(package=package, expression=said, source=source, why=why)
        for package, said, source, why in rows
    }


def found_licences(known: dict[str, Licence]) -> dict[str, Licence]:
    """A licence for every locked package: what it says itself, else the line by hand.

    Raises `KeyError` with the names of those that have neither.
    """
    says, found = installed(), {}
    for package in everything():
        by_hand = known.get(package)
        if by_hand and by_hand.source != ITSELF:
            found[package] = by_hand
        elif says.get(package) or by_hand:
            said = says.get(package) or (by_hand.expression if by_hand else "")
            why = by_hand.why if by_hand else ""
            found[package] = Licence(package=package, expression=said, why=why)
    missing = everything().keys() - found.keys()
    if missing:
        raise KeyError(f"write a line in {TABLE.name} for: {', '.join(sorted(missing))}")
    return found


def faults(known: dict[str, Licence]) -> list[str]:
    """What is wrong with the table: packages it lacks or has too many, licences without a why."""
    locked = everything().keys()
    return [
        *(f"{name}: is locked and has no licence here" for name in sorted(locked - known.keys())),
        *(f"{name}: is in no lock" for name in sorted(known.keys() - locked)),
        *(
            f"{one.package}: {one.expression} is not free of conditions; say why it is all right"
            for one in known.values()
            if not one.free and not one.why
        ),
    ]


def main() -> int:
    known = read_table()
    try:
        found = found_licences(known)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    head = "\n".join(line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("#"))
    rows = [
        "\t".join((one.package, one.expression, one.source, one.why)).rstrip()
        for one in found.values()
    ]
    TABLE.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    for fault in faults(found):
        print(fault, file=sys.stderr)
    return 1 if faults(found) else 0


if __name__ == "__main__":
    sys.exit(main())
