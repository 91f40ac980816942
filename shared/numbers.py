"""Numbers as strangers write them: only ASCII digits count, and no length of them is a fault.

`int` and `\\d` take the digits of every script, and `int` refuses thousands of them.
"""

import re

# The largest number that JavaScript counts; what is larger reads as this.
LARGEST = 2**53 - 1
_DECIMAL = re.compile(
    r"[+-]?(?:\d{1,17}(?:\.\d{0,17})?|\.\d{1,17})(?:e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE
)


def read_count(text: str | None, most: int = LARGEST) -> int | None:
    """`text` as a whole number from 0 up, `most` for any above; None for what is none."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return most if len(digits) > len(str(most)) else min(int(digits), most)


def read_decimal(text: str) -> float | None:
    """`text` as a finite number with or without a point; None for what is none."""
    return float(text) if _DECIMAL.fullmatch(text) else None
