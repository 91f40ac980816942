"""What the server's process does before it serves."""

import subprocess
import sys

# Threads that all hold memory at once; glibc begins each heap but the first at 64 MB.
HEAPS = """
import re, sys, threading
from api.server import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
held, ready = [], threading.Barrier(9)
def take():
    held.append([bytearray(3000) for _ in range(100)])
    ready.wait(60)
    ready.wait(60)
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
ready.wait(60)
maps = open("/proc/self/maps").read()
starts = re.findall(r"^([0-9a-f]+)-\\S+ \\S+ \\S+ \\S+ 0\\s*$", maps, re.M)
ready.wait(60)
print(len([one for one in starts if int(one, 16) % (64 << 20) == 0]))
"""


def heaps(how: str) -> int:
    command = [sys.executable, "-c", HEAPS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_threads_share_the_heaps_of_the_c_library() -> None:
    assert heaps("shared") <= 2
    assert heaps("each its own") > 2
