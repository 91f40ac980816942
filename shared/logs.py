"""Log lines as JSON, one a line, each with an `action` and whatever is bound to the current work.

A thread binds the job it works on once; every line it logs then carries the job's id.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

Bound = dict[str, str | int | float | None]
_bound: ContextVar[Bound | None] = ContextVar("bound", default=None)

# Libraries that log what we must not, or nobody needs: addresses with signatures, a line for every
# bell, and how they start and stop.
QUIET = ("urllib3", "kombu", "celery", "gunicorn")


@contextmanager
def bound(**fields: str | int | float | None) -> Iterator[None]:
    """Put `fields`, such as `action` and `job`, on every line logged inside this block."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class _AddBound(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in (_bound.get() or {}).items():
            if not hasattr(record, name):
                setattr(record, name, value)
        if not hasattr(record, "action"):
            record.action = record.name
        return True


def configure_logs(level: str, *, process: str, stream: TextIO | None = None) -> logging.Handler:
    """Send every logger of this process to `stream` (standard error), as JSON lines.

    Calling it again replaces what an earlier call set up. Returns the handler.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.set_name("ttsfarm")
    handler.addFilter(_AddBound())
    handler.setFormatter(
        JsonFormatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"process": process},
            timestamp="time",
            json_ensure_ascii=False,
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == "ttsfarm"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler
