"""Numbers inside English sentences, said in English."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.rule import NUMBER, Rule, has_chinese, near, rule

_THOUSANDS: Final = ("", " thousand", " million", " billion", " trillion")
_CURRENCIES: Final = {"$": "dollars", "€": "euros", "£": "pounds", "¥": "yuan"}
_WORD: Final = re.compile(r"[A-Za-z]{2,}")


def _small() -> tuple[str, ...]:
    return tables.words("english_numbers.tsv", "small")


def _tens() -> tuple[str, ...]:
    return tables.words("english_numbers.tsv", "tens")


def is_english(text: str) -> bool:
    """Whether `text` is an English sentence: no Chinese, three words, one of them common."""
    if has_chinese(text):
        return False
    found = [w.lower() for w in _WORD.findall(text[:400])]
    stops = set(tables.words("contexts.tsv", "english_stop"))
    return len(found) >= 3 and bool(stops.intersection(found))


def rules() -> tuple[Rule, ...]:
    """The rules of English sentences, tried before all others there."""
    return (
        rule("clock", r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?![0-9:])", _clock),
        rule("money", rf"([$€£¥])({NUMBER})", _money),
        rule("percent", rf"({NUMBER})%", _percent),
        rule("year", r"((?:1[1-9]|20)[0-9]{2})(?![0-9.,%])", _year),
        rule("number", rf"(-?)({NUMBER})(?![A-Za-z0-9])", _number),
    )


def cardinal(value: int) -> str:
    """`value` from 0 to below 10**15 in words.

    >>> cardinal(1205)
    'one thousand two hundred five'
    """
    if value < 1000:
        return _below_thousand(value)
    parts: list[str] = []
    for name in _THOUSANDS:
        value, rest = divmod(value, 1000)
        if rest:
            parts.insert(0, _below_thousand(rest) + name)
    return " ".join(parts)


def _below_thousand(value: int) -> str:
    if value < 20:
        return _small()[value]
    if value < 100:
        tens, units = divmod(value, 10)
        return _tens()[tens] + (f" {_small()[units]}" if units else "")
    hundreds, rest = divmod(value, 100)
    return f"{_small()[hundreds]} hundred" + (f" {_below_thousand(rest)}" if rest else "")


def number(text: str) -> str:
    """A decimal or whole number in words; very long ones digit by digit."""
    whole, dot, fraction = text.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole[0] == "0"):
        said = " ".join(_small()[int(d)] for d in whole)
    else:
        said = cardinal(int(whole))
    return said + (" point " + " ".join(_small()[int(d)] for d in fraction) if dot else "")


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match.group(1)), int(match.group(2))
    if minute == 0:
        return f"{_small()[hour] if hour < 20 else cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"


def _money(match: re.Match[str]) -> str:
    return f"{number(match.group(2))} {_CURRENCIES[match.group(1)]}"


def _percent(match: re.Match[str]) -> str:
    return f"{number(match.group(1))} percent"


def _year(match: re.Match[str]) -> str | None:
    value = int(match.group(1))
    before = match.string[max(0, match.start() - 12) : match.start()].lower().split()
    if not before or before[-1] not in ("in", "since", "by", "from", "of", "until", "to", "during"):
        return None
    if value % 1000 < 10 or (value % 100 == 0 and value % 1000 == 0):
        return cardinal(value)
    rest = value % 100
    tail = "hundred" if rest == 0 else f"oh {_small()[rest]}" if rest < 10 else cardinal(rest)
    return f"{cardinal(value // 100)} {tail}"


def _number(match: re.Match[str]) -> str | None:
    if near(match).isalpha():
        return None
    return ("minus " if match.group(1) else "") + number(match.group(2))
