"""What Redis knows of the pieces of a job, for the tests that break what works on them."""

import json
from typing import Any

from shared.connection import connect


def units(redis_url: str, job: str) -> dict[str, dict[str, Any]]:
    """Every unit of a job by name: `plan`, `assemble`, and its segments by number."""
    with connect(redis_url) as client:
        rows: Any = client.hgetall(f"ttsfarm:job:{job}:units")
    return {unit: json.loads(text) for unit, text in rows.items()}


def held_by(redis_url: str, pid: int, job: str) -> list[str]:
    """The segments of a job that the worker of this process holds now."""
    owner, rows = f"worker-{pid}-", units(redis_url, job).items()
    return [
        unit
        for unit, row in rows
        if unit.isdigit() and row.get("s") == "claimed" and row["w"].startswith(owner)
    ]
