"""Names for jobs: sortable by time, impossible to guess, safe in URLs, keys and file names."""

import re
import secrets
import time
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, without i l o u
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def _encode(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> (5 * i) & 31] for i in reversed(range(length)))


def new_id(
    clock: Callable[[], float] = time.time, random_bits: Callable[[int], int] = secrets.randbits
) -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random bits, 26 characters."""
    return _encode(int(clock() * 1000), 10) + _encode(random_bits(80), 16)
