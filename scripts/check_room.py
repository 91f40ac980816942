"""Ends with what to do when a folder's disk has less free room than an installation needs.

python scripts/check_room.py FOLDER MEGABYTES
"""

import shutil
import sys

if __name__ == "__main__":
    folder, needed_mb = sys.argv[1], int(sys.argv[2])
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < needed_mb:
        sys.exit(
            f"Only {free_mb} MB are free under {folder}; the installation needs {needed_mb} MB. "
            "Make room, or choose another place: make up VENV=/somewhere/with/room"
        )
