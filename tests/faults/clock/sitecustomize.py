"""A process whose PYTHONPATH names this folder has a wrong wall clock, by `FAULTS_CLOCK_S` seconds.

All that tells the date to Python code is shifted; the monotonic clock goes right, as it does on a
machine whose date is wrong.
"""

import datetime
import os
import time

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


time.time = lambda: _time() + OFFSET_S
time.time_ns = lambda: _time_ns() + OFFSET_S * 1_000_000_000
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
datetime.datetime = WrongDatetime  # type: ignore[misc]
