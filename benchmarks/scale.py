"""How the farm scales: `make bench-scale`. Books on 1 to 8 workers, greetings behind a book.

The engine `fake` waits a set time for each character, so that cores do not limit what is measured.
Real processes: Redis with its file, the API, workers. Expected ends are compared with what came.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.scale_report import write_report
from shared.connection import connect
from tests.e2e.conftest import Farm, farm_maker

GREETING = "您好，欢迎致电。"
POLL_S = 0.5
REPEATED = 20  # how often each sentence of a very long text stands in it
PARTS = ("fan-out", "greetings", "waits", "cached", "memory", "long")


@dataclass(frozen=True, kw_only=True)
class BookRun:
    """One book on some workers. `eta_errors`: how far off the expected end was at a quarter, half
    and three quarters of the time, as shares of what was left; below 0 it was too early."""

    workers: int
    n_chars: int
    n_segments: int
    engine_s: float  # what the engine alone took, over all workers
    wall_s: float
    first_audio_s: float
    joining_s: float
    eta_errors: tuple[float, ...]
    load: float  # processes that wanted a core at once, over the last quarter of an hour


def book(n_chars: int, name: str) -> str:
    """A text in which no sentence stands twice."""
    n_sentences = n_chars // 27 + 1
    lines = (
        f"这是{name}第{i:05d}段，它有自己的内容，不和别的段落相同。" for i in range(n_sentences)
    )
    return "".join(lines)[:n_chars]


def eta_errors(seen: Sequence[tuple[float, float | None]], end_s: float) -> tuple[float, ...]:
    """Of (seconds, expected seconds left) points: the errors at 25, 50 and 75 % of `end_s`."""
    errors = []
    for share in (0.25, 0.5, 0.75):
        known = [(at, eta) for at, eta in seen if eta is not None]
        at_s, eta_s = min(known, key=lambda point: abs(point[0] - share * end_s))
        errors.append(round((eta_s - (end_s - at_s)) / (end_s - at_s), 3))
    return tuple(errors)


def run_book(farm: Farm, workers: int, text: str) -> BookRun:
    """Submit a book and follow it to its end."""
    started_s, seen, spoken_s = time.monotonic(), [], None
    job_id = farm.submit(text)
    while not (job := farm.job(job_id))["finished_at"]:
        progress, now_s = job["progress"], time.monotonic() - started_s
        seen.append((now_s, progress["eta_s"]))
        if spoken_s is None and progress["segments_done"] == progress["segments_total"]:
            spoken_s = now_s
        time.sleep(POLL_S)
    if job["status"] != "succeeded":
        raise RuntimeError(f"the book {job['status']}: {job['error']}")
    timing = job["timing"]
    wall_s = timing["total_ms"] / 1000
    return BookRun(
        workers=workers,
        n_chars=len(text),
        n_segments=job["progress"]["segments_total"],
        engine_s=timing["synthesis_ms"] / 1000,
        wall_s=wall_s,
        first_audio_s=timing["first_audio_ms"] / 1000,
        joining_s=round(max(0.0, wall_s - (spoken_s or wall_s)), 1),
        eta_errors=eta_errors(seen, wall_s),
        load=round(os.getloadavg()[2], 1),
    )


def fan_out(farm: Farm, counts: Sequence[int], n_chars: int) -> list[dict[str, Any]]:
    """The same size of book on more and more workers; every farm has spoken before."""
    rows = []
    for count in counts:
        if len(farm.presence.workers()) > count:
            raise SystemExit("name the numbers of workers from the smallest on")
        for i in range(len(farm.presence.workers()), count):
            farm.add_worker(f"worker{i}")
        while not farm.ready(count)():
            time.sleep(0.2)
        farm.ended(farm.submit(book(400, f"热{count}")), 120)
        row = asdict(run_book(farm, count, book(n_chars, f"甲{count}")))
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    return rows


def greetings(farm: Farm, n_greetings: int, n_segments: int) -> dict[str, Any]:
    """Latency of greetings one after another on an idle farm, then during a book."""

    def latencies() -> list[float]:
        took: list[float] = []
        for i in range(n_greetings):
            job = farm.ended(
                farm.submit(f"{GREETING}{time.monotonic_ns()}"[: len(GREETING) + i % 3])
            )
            took.append(job["timing"]["total_ms"])
            time.sleep(0.37)  # not in step with the segments
        return took

    farm.ended(farm.submit(GREETING))
    idle = latencies()
    job_id = farm.submit(book(n_segments * 27, "乙"))
    behind = latencies()
    job = farm.job(job_id)
    if job["status"] != "running":
        raise RuntimeError(f"the book {job['status']} before the greetings were spoken")
    segment_ms = job["timing"]["synthesis_ms"] / max(1, job["progress"]["segments_done"])
    farm.call("POST", f"/v1/jobs/{job_id}/cancel")
    limit_ms = 1.5 * p95(idle) + segment_ms
    return {
        "workers": len(farm.presence.workers()),
        "book_segments": job["progress"]["segments_total"] or n_segments,
        "idle_ms": idle,
        "behind_ms": behind,
        "idle_p95_ms": p95(idle),
        "behind_p95_ms": p95(behind),
        "segment_ms": round(segment_ms),
        "limit_ms": round(limit_ms),
        "kept": p95(behind) <= limit_ms,
    }


def p95(values: Sequence[float]) -> float:
    return round(statistics.quantiles(values, n=20, method="inclusive")[-1], 1)


def waits(farm: Farm, n_jobs: int) -> dict[str, Any]:
    """Jobs of many lengths sent at once: what each was told, and when it came."""
    farm.ended(farm.submit(book(2000, "热")), 300)
    jobs = [farm.submit(book(400 + 300 * (i * 5 % 7), f"丙{i}")) for i in range(n_jobs)]
    told = [farm.job(job_id) for job_id in jobs]
    asked_ms = time.time() * 1000
    rows = []
    for view in told:
        job = farm.ended(view["id"], 900)
        created_ms = _ms(job["created_at"])
        done_s = (created_ms + job["timing"]["total_ms"] - asked_ms) / 1000
        start_s = (created_ms + job["timing"]["queued_ms"] - asked_ms) / 1000
        eta_s, queue = view["progress"]["eta_s"], view["queue"]
        rows.append({
            "characters": job["characters"], "told_done_s": eta_s, "done_s": round(done_s, 1),
            "told_start_s": queue and queue["eta_s"], "start_s": round(start_s, 1),
        })  # fmt: skip
    errors = [abs(row["told_done_s"] - row["done_s"]) / row["done_s"] for row in rows]
    return {"jobs": rows, "median_error": round(statistics.median(errors), 3)}


def _ms(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp() * 1000


def long_text(farm: Farm, n_chars: int) -> dict[str, Any]:
    """A text far over the usual limit: planned, spoken and joined; the most memory it took."""
    farm.ended(farm.submit(book(2000, "热")))
    before_mb = peak_mb(farm, "worker")
    started_s = time.monotonic()
    text = book(n_chars // REPEATED, "丁") * REPEATED
    # Twice as fast: the sound of so many characters fills a disk.
    body = {"id": "longest", "text": text, "speed": 2}
    while (answer := farm.call("POST", "/v1/jobs", body)).status != 202:
        if answer.status != 503:
            raise RuntimeError(answer.body.decode())
    job_id = "longest"
    while (job := farm.job(job_id))["progress"]["segments_total"] is None:
        time.sleep(POLL_S)
    planned_s = time.monotonic() - started_s
    planned_mb, meanwhile = peak_mb(farm, "worker"), job["progress"]["segments_done"]
    while not (job := farm.job(job_id))["finished_at"]:
        time.sleep(POLL_S)
    if job["status"] != "succeeded":
        raise RuntimeError(f"the book {job['status']}: {job['error']}")
    audio = job["audio"]
    row = {
        "n_chars": len(text),
        "segments": job["progress"]["segments_total"],
        "cached": job["timing"]["cached_segments"],
        "planned_s": round(planned_s, 1),
        "spoken_meanwhile": meanwhile,
        "first_audio_s": job["timing"]["first_audio_ms"] / 1000,
        "wall_s": round(job["timing"]["total_ms"] / 1000, 1),
        "audio_h": round(audio["duration_s"] / 3600, 1),
        "size_mb": audio["size_bytes"] >> 20,
        "worker_before_mb": before_mb,
        "worker_planned_mb": planned_mb,
        "worker_peak_mb": peak_mb(farm, "worker"),
        "api_peak_mb": peak_mb(farm, "api"),
        "redis_peak_mb": redis_peak_mb(farm),
    }
    farm.call("DELETE", f"/v1/jobs/{job_id}")
    return row


def redis_peak_mb(farm: Farm) -> int:
    with connect(farm.redis.url) as client:
        return int(client.info("memory")["used_memory_peak"]) >> 20


def peak_mb(farm: Farm, kind: str) -> int:
    """The most that one process of this kind was ever resident with."""
    groups = {child.pid for name, child in farm.children.items() if name.startswith(kind)}
    peaks = [0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            group = int((process / "stat").read_text().rpartition(")")[2].split()[2])
            status = (process / "status").read_text()
        except OSError:
            continue  # it has ended
        if group in groups:
            peaks += [int(line.split()[1]) >> 10 for line in status.splitlines() if "VmHWM" in line]
    return max(peaks)


def cached(farm: Farm, n_chars: int) -> list[dict[str, Any]]:
    """A book, the same once more, and once more with one sentence changed."""
    text = book(n_chars, "戊")
    edited = text.replace("戊第00100段", "戊第一百段")
    rows = []
    for what, said in (("new", text), ("the same", text), ("one sentence changed", edited)):
        job = farm.ended(farm.submit(said), 3600)
        timing, segments = job["timing"], job["progress"]["segments_total"]
        rows.append({
            "what": what, "segments": segments, "from_cache": timing["cached_segments"],
            "engine_s": timing["synthesis_ms"] / 1000, "wall_s": timing["total_ms"] / 1000,
            "first_audio_s": timing["first_audio_ms"] / 1000,
        })  # fmt: skip
    return rows


def memory_curve(hours: float) -> list[dict[str, float]]:
    """Memory of one process that joins so many hours of audio, at every half hour of it."""
    command = [sys.executable, "-m", "benchmarks.joining", str(hours)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def running(workers: int, **env: str) -> Iterator[Farm]:
    """A farm of its own, stopped afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="ttsfarm-bench-") as directory,
        farm_maker(Path(directory)) as make,
    ):
        farm = make(**env)
        farm.start(workers)
        yield farm


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The parts that were asked for, each when it is done."""
    cost = {"TTSFARM_FAKE_COST_S_PER_CHAR": str(options.cost)}
    if "fan-out" in options.only:
        with running(options.workers[0], **cost) as farm:
            rows = fan_out(farm, options.workers, options.chars)
            yield {"fan_out": rows, "cost_s_per_char": options.cost}
    if "greetings" in options.only:
        found = []
        for count in (1, 4):
            with running(count, **cost) as farm:
                found.append(greetings(farm, 20, 5000))
        yield {"greetings": found}
    if "waits" in options.only:
        with running(2, **cost) as farm:
            yield {"waits": waits(farm, 12)}
    if "cached" in options.only:
        with running(2, **cost) as farm:
            yield {"cached": cached(farm, options.chars // 5)}
    if "long" in options.only:
        sizes = {"TTSFARM_MAX_TEXT_CHARS": "20000000", "TTSFARM_MAX_BODY_BYTES": "80000000"}
        rows = []
        for n_chars in (options.long_chars // 10, options.long_chars):
            with running(2, **sizes) as farm:
                rows.append(long_text(farm, n_chars))
        yield {"long": rows}
    if "memory" in options.only:
        yield {"memory": memory_curve(options.hours)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", type=float, default=0.01, help="seconds a character costs")
    parser.add_argument("--chars", type=int, default=100_000, help="characters of the book")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--hours", type=float, default=10, help="hours of audio to join")
    parser.add_argument("--long-chars", type=int, default=10_000_000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    for figures in measure(parser.parse_args()):
        write_report(figures)


if __name__ == "__main__":
    main()
