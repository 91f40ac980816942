"""What a worker's container needs for a very long job, on a farm of containers that runs:

    docker compose up --build --wait
    python -m benchmarks.long_job --hours 10 --container ttsfarm-worker-1

Submits one job of about so many hours of speech, waits for its end, and prints one JSON line: how
long the audio is, how long it took, and the most memory the container and its processes held.
"""

import argparse
import json
import subprocess
import time
import urllib.request
from itertools import count
from typing import Any

CHARS_PER_HOUR = 16_700  # of the sentence below, spoken by espeak-zh
SENTENCE = "这是一本很长的书的第{number}句，讲的是山里的四季和人们的生活，请慢慢地听下去。"
# What the kernel counts against the limit: page cache, temporary files in memory, and processes.
GROUP = "/sys/fs/cgroup"
PEAK = f"cat {GROUP}/memory.peak 2>/dev/null || cat {GROUP}/memory/memory.max_usage_in_bytes"
LIMIT = f"cat {GROUP}/memory.max 2>/dev/null || cat {GROUP}/memory/memory.limit_in_bytes"
# The most that each process was ever resident with, in kB.
RESIDENT = "grep -h VmHWM /proc/[0-9]*/status"


def text_of(hours: float) -> str:
    """Sentences that all differ, so that none is rendered once for two."""
    sentences, n_chars = [], 0
    for number in count(1):
        sentences.append(SENTENCE.format(number=number))
        n_chars += len(sentences[-1])
        if n_chars >= hours * CHARS_PER_HOUR:
            return "".join(sentences)
    raise AssertionError


def call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def inside(container: str, command: str) -> str:
    asked = ["docker", "exec", container, "sh", "-c", command]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def state(container: str) -> dict[str, Any]:
    shown = subprocess.run(["docker", "inspect", container], capture_output=True, check=True).stdout
    (found,) = json.loads(shown)
    return {"restarts": found["RestartCount"], "oom_killed": found["State"]["OOMKilled"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--voice", default="espeak-zh")
    parser.add_argument("--container", default="ttsfarm-worker-1")
    options = parser.parse_args()
    text, started_s = text_of(options.hours), time.monotonic()
    job = call(f"{options.url}/v1/jobs", {"text": text, "voice": options.voice, "cache": False})
    while not job["finished_at"]:
        job = call(f"{options.url}/v1/jobs/{job['id']}?wait=30")
    resident = [int(line.split()[1]) for line in inside(options.container, RESIDENT).splitlines()]
    row = {
        "voice": options.voice,
        "characters": len(text),
        "segments": job["progress"]["segments_total"],
        "status": job["status"],
        "audio_h": round(job["progress"]["audio_s"] / 3600, 2),
        "size_bytes": (job["audio"] or {}).get("size_bytes"),
        "total_s": round(time.monotonic() - started_s),
        "real_time_factor": job["timing"]["real_time_factor"],
        "container_limit_bytes": int(inside(options.container, LIMIT)),
        "container_peak_bytes": int(inside(options.container, PEAK)),
        "largest_process_bytes": max(resident) * 1024,
        **state(options.container),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
