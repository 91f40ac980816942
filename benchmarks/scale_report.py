"""What `make bench-scale` found, as JSON, Markdown and a drawing; nothing is measured here."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WIDTH, HEIGHT, MARGIN = 640, 360, 48


def write_report(figures: dict[str, Any]) -> None:
    """Put new figures over the stored ones and write everything anew."""
    path = RESULTS / "scale.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known |= figures
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    text = markdown(known)
    (RESULTS / "scale.md").write_text(text, "utf-8")
    if "fan_out" in known:
        (RESULTS / "scale.svg").write_text(drawing(known["fan_out"]), "utf-8")
    sys.stdout.write(text)


def markdown(figures: dict[str, Any]) -> str:
    """All that was measured, a section each."""
    cost = figures.get("cost_s_per_char", 0.01)
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    head = (
        f"# How the farm scales\n\n{when}, Python {platform.python_version()}, {os.cpu_count()} "
        f"shared cores. The engine waits a set time for each character, {cost} s here.\n"
    )
    sections = [SECTIONS[name](figures[name]) for name in SECTIONS if figures.get(name) is not None]
    return "\n".join([head, *sections])


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{share * 100:+.0f} %"


def _fan_out(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    shown = [
        (
            row["workers"],
            f"{row['wall_s']:.0f}",
            f"{speedup(row):.2f}",
            f"{speedup(row) / row['workers']:.2f}",
            f"{row['first_audio_s']:.2f}",
            row["joining_s"],
            ", ".join(map(_percent, row["eta_errors"])),
            row["load"],
        )
        for row in rows
    ]
    heads = ["workers", "wall s", "times as fast", "of linear", "first audio s", "joining s",
             "error of the expected end at 1/4, 1/2, 3/4", "load of the machine"]  # fmt: skip
    title = f"## One book of {first['n_chars']:,} characters, {first['n_segments']:,} segments\n\n"
    return title + table(heads, shown) + "\n![wall time and speed](scale.svg)\n"


def speedup(row: dict[str, Any]) -> float:
    """How many times as fast as the engine alone would be on one worker."""
    return float(row["engine_s"] / row["wall_s"])


def _greetings(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["workers", "idle p95 ms", "behind a book p95 ms", "one segment ms",
             "1.5 × idle + one segment", "kept"]  # fmt: skip
    shown = [
        (r["workers"], r["idle_p95_ms"], r["behind_p95_ms"], r["segment_ms"], r["limit_ms"],
         "yes" if r["kept"] else "no")
        for r in rows
    ]  # fmt: skip
    title = f"## 20 greetings during a book of {rows[0]['book_segments']:,} segments\n\n"
    return title + table(heads, shown)


def _cached(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["a book on two workers", "segments", "from the cache", "engine s", "first audio s",
             "wall s"]  # fmt: skip
    shown = [
        (r["what"], r["segments"], r["from_cache"], f"{r['engine_s']:.1f}",
         f"{r['first_audio_s']:.2f}", f"{r['wall_s']:.1f}")
        for r in rows
    ]  # fmt: skip
    return "## What the cache saves\n\n" + table(heads, shown)


def _waits(found: dict[str, Any]) -> str:
    heads = ["characters", "told to start in s", "started", "told to be done in s", "done"]
    shown = [
        (j["characters"], j["told_start_s"], j["start_s"], j["told_done_s"], j["done_s"])
        for j in found["jobs"]
    ]
    title = "## Jobs sent at once to two workers: what they were told\n\n"
    return title + table(heads, shown) + f"\nMedian error {found['median_error'] * 100:.0f} %.\n"


def _memory(points: Sequence[dict[str, float]]) -> str:
    every = [p for p in points if p["audio_h"] in (points[0]["audio_h"], points[-1]["audio_h"])
             or abs(p["audio_h"] - round(p["audio_h"])) < 0.02]  # fmt: skip
    shown = [(f"{p['audio_h']:.1f}", f"{p['rss_mb']:.0f}", p["took_s"]) for p in every]
    return "## Memory while joining\n\n" + table(["hours of audio", "memory MB", "after s"], shown)


def _long(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["characters", "segments", "from the cache", "planned in s", "first audio s",
             "all in s", "hours of audio", "file MB", "worker MB: before", "planned", "at most",
             "API at most MB", "Redis at most MB"]  # fmt: skip
    shown = [
        (f"{r['n_chars']:,}", f"{r['segments']:,}", f"{r['cached']:,}", r["planned_s"],
         f"{r['first_audio_s']:.2f}", r["wall_s"], r["audio_h"], f"{r['size_mb']:,}",
         r["worker_before_mb"], r["worker_planned_mb"], r["worker_peak_mb"], r["api_peak_mb"],
         r["redis_peak_mb"])
        for r in rows
    ]  # fmt: skip
    title = "## A very long text on two workers, the engine at no cost, each sentence 20 times"
    return f"{title}\n\n{table(heads, shown)}"


SECTIONS = {
    "fan_out": _fan_out,
    "greetings": _greetings,
    "waits": _waits,
    "cached": _cached,
    "memory": _memory,
    "long": _long,
}


def drawing(rows: Sequence[dict[str, Any]]) -> str:
    """An SVG of speed against workers, beside the straight line."""
    most = max(row["workers"] for row in rows)

    def place(workers: float, speed: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * workers / most
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * speed / most
        return f"{x:.1f},{y:.1f}"

    points = [place(row["workers"], speedup(row)) for row in rows]
    marks = "".join(
        f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="4" fill="#1f77b4"/>'
        f'<text x="{p.split(",")[0]}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">'
        f"{row['workers']}</text>"
        f'<text x="{p.split(",")[0]}" y="{float(p.split(",")[1]) - 10:.0f}" text-anchor="end">'
        f"{row['wall_s']:.0f} s</text>"
        for p, row in zip(points, rows, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<polyline points="{place(0, 0)} {place(most, most)}" stroke="#bbb" fill="none"/>'
        f'<polyline points="{" ".join(points)}" stroke="#1f77b4" stroke-width="2" fill="none"/>'
        f'{marks}<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">workers</text>'
        f'<text x="{MARGIN}" y="24">times as fast as the engine on one worker; grey is linear'
        "</text></svg>\n"
    )
