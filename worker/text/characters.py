"""Which characters can be spoken, which only shape speech, and which no voice can say."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from worker.types import Substitution

_SPOKEN_CATEGORIES = ("L", "N")
_REASONS = {
    "Cc": "control character",
    "Cs": "lone surrogate",
    "Co": "private use",
    "Cn": "unassigned",
}
_LAYOUT = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85")

# Blocks of pictures, and the marks that only join or colour pictures.
_PICTURES = ((0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FAFF))
_PICTURE_MARKS = frozenset("\u200d\u20e3\ufe0e\ufe0f") | {chr(c) for c in range(0xE0020, 0xE0080)}


@lru_cache(maxsize=16_384)
def is_spoken(character: str) -> bool:
    """Whether the character makes sound of its own: a letter, an ideograph, a digit."""
    if " " <= character < "\x7f":
        return character.isalnum()
    sounds = unicodedata.category(character)[0] in _SPOKEN_CATEGORIES
    return sounds and unspeakable(character) is None


def count_spoken(text: str) -> int:
    """How many characters of `text` make sound of their own."""
    return sum(map(is_spoken, text))


@lru_cache(maxsize=16_384)
def unspeakable(character: str) -> str | None:
    """Why no voice can say this character, or None where one can or it only shapes speech."""
    if " " <= character < "\x7f":
        return None
    if _is_picture(character):
        return "emoji"
    if character in _LAYOUT:
        return None
    return _REASONS.get(unicodedata.category(character))


def blanked(text: str) -> str:
    """`text` with a space for every unspeakable character and line break; same length."""
    return "".join(" " if c in _LAYOUT or unspeakable(c) else c for c in text)


def substitutions(text: str, start: int) -> Iterator[Substitution]:
    """A report for each run of unspeakable characters; `start` is where `text` begins."""
    run_start, run_reason = 0, None
    for at, character in enumerate([*text, " "]):
        reason = unspeakable(character)
        if reason == run_reason:
            continue
        if run_reason is not None:
            yield Substitution(
                start=start + run_start,
                end=start + at,
                text=text[run_start:at].encode("utf-8", "replace").decode("utf-8"),
                replacement="",
                reason=run_reason,
            )
        run_start, run_reason = at, reason


def _is_picture(character: str) -> bool:
    code = ord(character)
    return character in _PICTURE_MARKS or any(low <= code <= high for low, high in _PICTURES)
