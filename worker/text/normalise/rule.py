"""What a normalisation rule is, and the patterns and looks sideways that rules share."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Bounded, so that no input makes a rule look further than this at one place.
NUMBER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,6}(?![0-9])|[0-9]{1,32})(?:\.[0-9]{1,32})?"
INTEGER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,6}(?![0-9])|[0-9]{1,32})"
# The part of a match that a score belongs to, at the end of what stands before the score.
PERIOD: Final = re.compile("(?:第[一二三四五六七八九十0-9]{1,3}|首|次|末|决胜)[局盘节]$")
# Between the ends of a range.
TO: Final = r"(?:[~～—–−-]{1,2}|至|到)"
NOT_AFTER_NUMBER: Final = r"(?<![0-9.])"
NO_DIGIT: Final = r"(?![0-9])(?!\.[0-9])"
NO_LETTER: Final = r"(?![A-Za-z])"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`speak` says a match of `pattern`, None where range check or context refuses it.

    A pattern refers back to its groups by name: the patterns of a family are also one pattern.
    """

    name: str
    pattern: re.Pattern[str]
    speak: Callable[[re.Match[str]], str | None]


def rule(name: str, pattern: str, speak: Callable[[re.Match[str]], str | None]) -> Rule:
    """A rule from the text of its pattern."""
    return Rule(name=name, pattern=re.compile(pattern), speak=speak)


def left(match: re.Match[str], n: int = 8) -> str:
    """Up to `n` characters before the match, without the blanks and colons that end them."""
    text = match.string[max(0, match.start() - n) : match.start()]
    return text.rstrip(" ：:是为#")


def near(match: re.Match[str], n: int = 1) -> str:
    """The `n` characters right before the match."""
    return match.string[max(0, match.start() - n) : match.start()]


def right(match: re.Match[str], n: int = 8) -> str:
    """Up to `n` characters after the match, blanks before them left out."""
    return match.string[match.end() : match.end() + n].lstrip(" ")


def calculates(match: re.Match[str]) -> bool:
    """Whether a sum goes on after the match, so that a hyphen in it is a minus: 9%-3%=6%."""
    return "-" in match.group() and re.match("[=≈×÷+*<>]", right(match)) is not None


def has_chinese(text: str) -> bool:
    """Whether a Chinese character stands in `text`."""
    return any("\u4e00" <= c <= "\u9fff" for c in text)
