"""`make bench`: the farm's own cost, beside a bare Celery task on the same Redis in the same run.

One API, one worker, one client on this machine. What counts is the ratios: the machine is shared.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

from api.supervisor import RUNNING
from benchmarks.bare_celery import BareCelery

RESULTS = Path(__file__).parent / "results"
SENTENCES = ("你好，世界，又见面了。", "今天天气很好，我们去公园走走吧。", "现在为您播报最新消息。")
CALLERS = 4


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system's figures. Times are milliseconds; overhead is total minus synthesis."""

    system: str
    jobs_per_s: float
    submit_p50: float
    submit_p95: float
    start_p50: float
    start_p95: float
    overhead_p50: float | None = None
    overhead_p95: float | None = None


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1]


class Client:
    """One farm, called as a user would."""

    def __init__(self, url: str, voice: str) -> None:
        self._url, self._voice = url, voice
        self._pool = urllib3.PoolManager(maxsize=CALLERS)

    def submit(self, text: str) -> tuple[str, float]:
        """The job's id and how long the call took, in ms."""
        body = {"text": text, "voice": self._voice}
        started_s = time.monotonic()
        answer = self._pool.request("POST", f"{self._url}/v1/jobs", json=body)
        took_ms = (time.monotonic() - started_s) * 1000
        if answer.status != 202:
            raise RuntimeError(f"submit answered {answer.status}: {answer.data[:300]!r}")
        return answer.json()["id"], took_ms

    def ended(self, job_id: str) -> dict[str, Any]:
        while True:
            answer = self._pool.request("GET", f"{self._url}/v1/jobs/{job_id}?wait=30").json()
            if answer["status"] not in ("queued", "running"):
                return dict(answer)


def measure(client: Client, name: str, n_idle: int, n_backlog: int) -> Row:
    """A farm's row: one job after another, then many at once."""
    for text in SENTENCES:
        client.ended(client.submit(text)[0])
    submits, starts, overheads = [], [], []
    for i in range(n_idle):
        job_id, took_ms = client.submit(SENTENCES[i % 3])
        timing = client.ended(job_id)["timing"]
        submits.append(took_ms)
        starts.append(timing["queued_ms"])
        overheads.append(timing["total_ms"] - timing["synthesis_ms"])
    started_s = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as callers:
        texts = [SENTENCES[i % 3] for i in range(n_backlog)]
        jobs = [job_id for job_id, _ in callers.map(client.submit, texts)]
        for _ in callers.map(client.ended, jobs):
            pass
    jobs_per_s = n_backlog / (time.monotonic() - started_s)
    return Row(
        system=name, jobs_per_s=jobs_per_s,
        submit_p50=quantiles(submits)[0], submit_p95=quantiles(submits)[1],
        start_p50=quantiles(starts)[0], start_p95=quantiles(starts)[1],
        overhead_p50=quantiles(overheads)[0], overhead_p95=quantiles(overheads)[1],
    )  # fmt: skip


@contextmanager
def running_farm(voice: str) -> Iterator[tuple[str, str]]:
    """A fresh farm of one worker, as `ttsfarm up` runs it; yields its address and its Redis's."""
    with tempfile.TemporaryDirectory(prefix="ttsfarm-bench-") as directory:
        data_dir, log = Path(directory) / "data", Path(directory) / "farm.log"
        command = [sys.executable, "-m", "api.cli", "up", "--port", "0", "--voice", voice]
        environment = {**os.environ, "TTSFARM_LOG_LEVEL": "WARNING"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--data-dir", str(data_dir)],
                stdout=output, stderr=output, env=environment,
            )  # fmt: skip
        try:
            yield await_farm(process, data_dir / RUNNING, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)


def await_farm(process: subprocess.Popen[bytes], note: Path, log: Path) -> tuple[str, str]:
    """The farm's addresses once it is ready."""
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        if "is ready on" in log.read_text("utf-8", "replace"):
            addresses = json.loads(note.read_text("utf-8"))
            return addresses["url"], addresses["redis_url"]
        time.sleep(0.1)
    raise RuntimeError(f"the farm did not come up:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def bare_row(redis_url: str, n_idle: int, n_backlog: int) -> Row:
    sent_s, idle_s, tasks_per_s = BareCelery(redis_url).measure(n_idle, n_backlog)
    submits, starts = ([t * 1000 for t in times] for times in (sent_s, idle_s))
    return Row(
        system="bare Celery no-op", jobs_per_s=tasks_per_s,
        submit_p50=quantiles(submits)[0], submit_p95=quantiles(submits)[1],
        start_p50=quantiles(starts)[0], start_p95=quantiles(starts)[1],
    )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, each figure with its ratio to the first row's."""
    heads = [
        "system", "jobs/s", "submit p50 / p95 ms", "enqueue to start p50 / p95 ms",
        "overhead p50 / p95 ms",
    ]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    bare = rows[0]
    for row in rows:
        cells = [
            row.system,
            f"{row.jobs_per_s:.0f} ({row.jobs_per_s / bare.jobs_per_s:.2f}×)",
            pair(row.submit_p50, row.submit_p95, bare.submit_p50),
            pair(row.start_p50, row.start_p95, bare.start_p50),
            "–" if row.overhead_p50 is None or row.overhead_p95 is None
            else f"{row.overhead_p50:.1f} / {row.overhead_p95:.1f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pair(p50: float, p95: float, base: float) -> str:
    return f"{p50:.1f} / {p95:.1f} ({p50 / base:.2f}×)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=200, help="jobs one after another")
    parser.add_argument("--backlog", type=int, default=1000, help="jobs at once")
    options = parser.parse_args()
    rows: list[Row] = []
    for voice, share in (("fake", 1), ("espeak-zh", 4)):
        with running_farm(voice) as (url, redis_url):
            if not rows:
                rows.append(bare_row(redis_url, options.idle, options.backlog))
            name = "ttsfarm, fake at 0 s" if voice == "fake" else "ttsfarm, espeak"
            client = Client(url, voice)
            rows.append(measure(client, name, options.idle // share, options.backlog // share))
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    head = (
        f"# The farm's own cost\n\n{when}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, one API, one worker, {CALLERS} callers; in brackets the ratio to "
        "the bare task in the same run. Every job is stored, spoken, encoded, uploaded and "
        "assembled; the bare task does nothing.\n\n"
    )
    text = head + table(rows) + "\n"
    sys.stdout.write(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "farm.md").write_text(text, "utf-8")
    (RESULTS / "farm.json").write_text(json.dumps([asdict(r) for r in rows], indent=1), "utf-8")


if __name__ == "__main__":
    main()
