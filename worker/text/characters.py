"""What kind of character something is: the classes every stage of the frontend shares."""

import re
import unicodedata
from typing import Final

HANZI: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Letters that a Latin word may hold: ASCII, Latin-1, Latin Extended, without × and ÷.
LATIN: Final = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"

HANZI_CHAR: Final = re.compile(f"[{HANZI}]")
HANZI_RUN: Final = re.compile(f"[{HANZI}]+")
LATIN_RUN: Final = re.compile(f"[{LATIN}]+")

# What counts as one or more syllables when a sentence's length is estimated before it is read.
SPEAKABLE: Final = re.compile(f"[{HANZI}0-9]|[{LATIN}]+")

OPENING: Final = "“‘「『（【《〈〔［("
CLOSING: Final = "”’」』）】》〉〕］)"
PAIRS: Final = dict(zip(CLOSING, OPENING, strict=True))


def is_hanzi(char: str) -> bool:
    """Whether `char` is a Chinese character, `〇` included."""
    # The comparison answers for nearly all, at a fraction of the pattern's time.
    return "\u4e00" <= char <= "\u9fff" or HANZI_CHAR.match(char) is not None


def is_spoken(char: str) -> bool:
    """Whether `char` makes sound of its own: a letter, an ideograph, a digit."""
    return unicodedata.category(char)[0] in "LN"


def count_spoken(text: str) -> int:
    """How many characters of `text` make sound of their own."""
    return sum(map(is_spoken, text))


def count_syllables(text: str) -> int:
    """A quick estimate of how many syllables `text` has: digits and Chinese characters count one,
    Latin words two."""
    return sum(1 if len(m) == 1 else 2 for m in SPEAKABLE.findall(text))
