"""Checks that every locked package has a wheel for Linux on arm64 and on amd64: `make wheels`.

A small board has no compiler to spare, and an image gets none. Asks the package index; installs
nothing. Exit code 1 names what lacks a wheel.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
# glibc 2.28: Debian 10 and newer, so every image and Raspberry Pi OS of these years.
PLATFORMS = ("aarch64-manylinux_2_28", "x86_64-manylinux_2_28")
# Locks by the Pythons they are installed on; the images have 3.11.
LOCKS = {
    "farm": ("3.11", "3.12", "3.13"),
    "api": ("3.11",),
    "worker": ("3.11",),
    "sambert": ("3.11",),
    "build": ("3.11",),
}


def missing(lock: Path, python: str, platform: str) -> str:
    """What uv says is missing, empty when every package has a wheel there."""
    with tempfile.TemporaryDirectory() as target:
        uv = Path(sys.executable).parent / "uv"
        command = [str(uv), "pip", "install", "--dry-run", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--python-version", python]
        command += ["--python-platform", platform, "--target", target, "-r", str(lock)]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if asked.returncode == 0 else asked.stderr.strip()


def faults(locks: dict[str, tuple[str, ...]] = LOCKS, folder: Path | None = None) -> Iterator[str]:
    """One message for each lock, Python and platform that lacks a wheel."""
    folder = folder or ROOT / "requirements"
    for name, pythons in locks.items():
        for python in pythons:
            for platform in PLATFORMS:
                if reason := missing(folder / f"{name}.txt", python, platform):
                    yield f"requirements/{name}.txt, Python {python}, {platform}:\n{reason}"


def main() -> int:
    found = list(faults())
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"every wheel of {', '.join(LOCKS)} exists for {', '.join(PLATFORMS)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
