"""A process whose PYTHONPATH names this folder has a wrong wall clock, by `FAULTS_CLOCK_S` seconds.

All that tells the date to Python code is shifted; the monotonic clock goes right, as it does on a
machine whose date is wrong.
"""

import datetime
import os
import time
from collections.abc import Callable
from functools import partial

OFFSET_S = int(os.environ.get("FAULTS_CLOCK_S", "0"))
_OFFSET = datetime.timedelta(seconds=OFFSET_S)
_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime


class WrongDatetime(datetime.datetime):
    """`datetime` that reads the wrong clock."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "WrongDatetime":
        return super().now(tz) + _OFFSET

    @classmethod
    def utcnow(cls) -> "WrongDatetime":
        return cls.now(datetime.UTC).replace(tzinfo=None)


def _parts(
    read: Callable[[float], time.struct_time], seconds: float | None = None
) -> time.struct_time:
    return read(time.time() if seconds is None else seconds)


time.time = lambda: _time() + OFFSET_S
time.time_ns = lambda: _time_ns() + OFFSET_S * 1_000_000_000
# Partials: `logging` has `localtime` as an attribute of a class, where a function is a method.
time.gmtime = partial(_parts, _gmtime)
time.localtime = partial(_parts, _localtime)
datetime.datetime = WrongDatetime  # type: ignore[misc]
