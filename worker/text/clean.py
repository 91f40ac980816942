"""Cleaning: source text to text without what can not be spoken, every offset kept.

Emoji, controls and code points without meaning go, widths are folded, accents composed. What
numbers and signs mean is left to `normalise`, what a sentence is to `split`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Source text between two offsets that cleaning took out, and why."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Text to speak; `offsets[i]` is where `text[i]` begins in the source, the last one its end."""

    text: str
    offsets: Sequence[int]
    removals: tuple[Removal, ...] = ()


_PICTOGRAPH: Final = (
    "\u203c\u2049\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u24c2"
    "\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u263f\u2641\u2643-\u2775\u2794-\u27bf\u2934\u2935"
    "\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d"
    "\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f17e"
    "\U0001f17f\U0001f18e\U0001f191-\U0001f1e5\U0001f201-\U0001f20f\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f23c-\U0001f3fa\U0001f400-\U0001faff"
)
_MODIFIER: Final = "\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
EMOJI: Final = re.compile(
    "[\U0001f1e6-\U0001f1ff]{1,2}"
    "|[0-9#*]\ufe0f?\u20e3"
    f"|[{_PICTOGRAPH}][{_MODIFIER}]*(?:\u200d[{_PICTOGRAPH}\u2640\u2642][{_MODIFIER}]*)*"
    "|[\U0001f3fb-\U0001f3ff]"
)
# Characters that show nothing: joiners, marks of direction, soft hyphen, variation selectors.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_LETTER_WITH_MARKS: Final = re.compile("[A-Za-z][\u0300-\u036f]+")
# Text without any of these needs no look at single characters.
_SUSPECT: Final = re.compile(
    "[^\n -~\u2010-\u2027\u2030-\u205e\u3001-\u303f\u3400-\u4dbf\u4e00-\u9fa5"
    "\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f]|[\u203c\u2049\u3030\u303d]|[0-9#*]\ufe0f?\u20e3"
)

_REASONS: Final = {
    "Cc": "control character",
    "Cs": "lone surrogate",
    "Co": "private use character",
    "Cn": "unassigned character",
    "Cf": "format character",
}


def _width_table() -> dict[int, str]:
    """Full-width forms to ASCII, kinds of space to one, signs that look alike to one of them.

    `，！？：；（）` keep their width: they are punctuation of the language, not wide ASCII.
    """
    keep = set("，！？；（）：")
    table = {c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F) if chr(c) not in keep}
    table |= dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
    table |= {0x09: " ", 0x0B: " ", 0x0C: "\n", 0x0D: "\n", 0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
    # Half-width and ideographic punctuation.
    table |= {0xFF61: "。", 0xFF62: "「", 0xFF63: "」", 0xFF64: "、", 0xFF65: "·"}
    table |= {0xFFE0: "¢", 0xFFE1: "£", 0xFFE5: "¥", 0xFFE6: "₩", 0x301C: "~", 0x223C: "~"}
    table |= {0x2010: "-", 0x2011: "-", 0x2012: "-", 0x2043: "-", 0x2212: "-", 0xFE63: "-"}
    table |= {0x22EF: "…", 0x2215: "/", 0x2044: "/", 0x2236: ":", 0x2217: "*", 0x30FB: "·"}
    table |= {0x2027: "·", 0x2022: "·", 0x2219: "·", 0xB7: "·", 0x2E31: "·", 0xFE61: "*"}
    table |= {0x2024: ".", 0x2103: "℃", 0x212A: "K", 0x2126: "Ω", 0xB5: "μ"}
    # Kangxi radicals that stand for the character itself.
    for code in range(0x2F00, 0x2FD6):
        table[code] = unicodedata.normalize("NFKC", chr(code))
    for code in range(0xF900, 0xFADA):
        table[code] = unicodedata.normalize("NFC", chr(code))
    return table


_WIDTHS: Final = _width_table()


def clean(source: str, base: int = 0) -> Cleaned:
    """`source` cleaned; `base` is its own offset in the job's text.

    Nothing of the source is unaccounted for: a character is in the result, or invisible, or
    named by a `Removal`. No string raises.
    """
    if _SUSPECT.search(source) is None and "\r" not in source:
        return Cleaned(text=source, offsets=range(base, base + len(source) + 1))
    taken = _removals(source)
    parts: list[str] = []
    offsets: list[int] = []
    at = 0
    for start, end, _, replacement in [*taken, (len(source), len(source), "", "")]:
        kept = source[at:start].translate(_WIDTHS)
        parts.append(kept)
        offsets.extend(range(base + at, base + start))
        parts.append(replacement)
        offsets.extend([base + start] * len(replacement))
        at = end
    offsets.append(base + len(source))
    removals = tuple(
        Removal(start=base + start, end=base + end, reason=reason)
        for start, end, reason, _ in taken
        if reason
    )
    return Cleaned(text="".join(parts), offsets=offsets, removals=removals)


def _removals(source: str) -> list[tuple[int, int, str, str]]:
    """Spans to take out, in order: start, end, reason ("" for what shows nothing), replacement."""
    found: list[tuple[int, int, str, str]] = []
    at = 0
    while match := _SUSPECT.search(source, at):
        start = match.start()
        end, reason, replacement = _judge(source, start)
        if end > start:
            # A composed letter takes the place of the plain one before its accents.
            found.append((start - len(replacement), end, reason, replacement))
        at = max(end, start + 1)
    return found


def _judge(source: str, start: int) -> tuple[int, str, str]:
    """Where the span to take out at `start` ends (`start` itself: keep), reason, replacement."""
    char = source[start]
    if emoji := EMOJI.match(source, start):
        return emoji.end(), "emoji", ""
    if char == "\r" and source.startswith("\r\n", start):
        return start + 1, "", ""
    if _INVISIBLE.match(char):
        return start + 1, "", ""
    category = unicodedata.category(char)
    if category == "Mn" and start > 0:
        return _composed(source, start)
    if char == "\ufffd":
        return start + 1, "replacement character", ""
    if ord(char) in _WIDTHS or category not in _REASONS:
        return start, "", ""
    return start + 1, _REASONS[category], ""


def _composed(source: str, start: int) -> tuple[int, str, str]:
    """Accents after a letter become one character with it where Unicode has that."""
    letter = _LETTER_WITH_MARKS.match(source, start - 1)
    if letter is None:
        return start + 1, "combining mark", ""
    composed = unicodedata.normalize("NFC", letter.group())
    return letter.end(), "", composed if len(composed) == 1 else letter.group()[0]
