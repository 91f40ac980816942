"""Telephone numbers: mobile, land line, service numbers, extensions."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.numbers import phone_digits
from worker.text.normalise.rule import Rule, left, right, rule

_END: Final = r"(?![0-9])(?!\.[0-9])"
_QUANTITY: Final = re.compile(r"[元个人万亿吨米次条件]|多[个人元]")
_COUNTRY: Final = r"(?:(?:\+|00)?86[- ]?|\(\+?86\) ?)?"


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule(
            "mobile", rf"({_COUNTRY})(1[3-9][0-9])[- ]?([0-9]{{4}})[- ]?([0-9]{{4}}){_END}", _mobile
        ),
        rule("service_line", rf"([48]00)[- ]?([0-9]{{3}})[- ]?([0-9]{{4}}){_END}", _line),
        rule("service_line_434", rf"([48]00[0-9])[- ]([0-9]{{3}})[- ]([0-9]{{3}}){_END}", _line),
        rule(
            "land",
            rf"{_COUNTRY}\(?(0?[0-9]{{2,3}})\)?[- ]([0-9]{{7,8}})"
            rf"(?:(?:-| ?转 ?)([0-9]{{1,6}}))?{_END}",
            _land,
        ),
        rule("land_groups", rf"(0[0-9]{{2,3}})[- ]([0-9]{{4}})[- ]([0-9]{{4}}){_END}", _line),
        rule("land_split", rf"(0[0-9]{{1,3}})-([0-9]{{3,4}})-([0-9]{{4}}){_END}", _line),
        rule(
            "land_wide", rf"(?<=（)(0[0-9]{{2,3}})） ?([0-9]{{3,4}})[- ]?([0-9]{{4}}){_END}", _line
        ),
        rule(
            "land_brackets",
            rf"[（(](0[0-9]{{2,3}})[）)] ?([0-9]{{3,4}})[- ]?([0-9]{{4}}){_END}",
            _line,
        ),
        rule("international", r"\+([0-9]{1,3})((?:[- ][0-9]{2,5}){2,5})" + _END, _international),
        rule("service", rf"[0-9]{{3,6}}{_END}", _service),
        rule("by_context", rf"[0-9]{{3,12}}(?:[- ][0-9]{{2,8}}){{0,4}}{_END}", _by_context),
    )


def grouped(number: str) -> str:
    """A subscriber's number as it is said, in groups: 3-4-4 for eleven digits, 4-4, 3-4.

    >>> grouped("55556677")
    '五五五五 六六七七'
    """
    if len(number) == 11 and number[0] == "1":
        cuts: tuple[int, ...] = (3, 7)
    elif len(number) == 11 or len(number) == 12:
        cuts = (len(number) - 8, len(number) - 4)
    else:
        cuts = {8: (4,), 7: (3,), 10: (3, 6)}.get(len(number), ())
    parts = [number[a:b] for a, b in zip((0, *cuts), (*cuts, len(number)), strict=True)]
    return " ".join(phone_digits(part) for part in parts)


def _mobile(match: re.Match[str]) -> str | None:
    country, *parts = match.groups()
    if _QUANTITY.match(right(match)) and " " not in match.group() and "-" not in match.group():
        return None
    said = " ".join(phone_digits(part) for part in parts)
    return f"八六 {said}" if country else said


def _line(match: re.Match[str]) -> str | None:
    if match.group().isdigit() and _QUANTITY.match(right(match)):
        return None
    return " ".join(phone_digits(part) for part in match.groups())


def _land(match: re.Match[str]) -> str | None:
    area, number, extension = match.groups()
    if area[0] != "0" and not match.group().startswith(("+", "(", "00")):
        return None
    country = "八六 " if re.match(r"\(?(?:\+|00)86", match.group()) else ""
    said = f"{country}{phone_digits(area)} {grouped(number)}"
    return f"{said} 转{phone_digits(extension)}" if extension else said


def _international(match: re.Match[str]) -> str:
    parts = re.split(r"[- ]", match.group()[1:])
    return " ".join(phone_digits(part) for part in parts)


def _service(match: re.Match[str]) -> str | None:
    number = match.group()
    if number not in tables.words("contexts.tsv", "service_number"):
        return None
    asked = right(match).startswith(tables.words("contexts.tsv", "service_after"))
    called = left(match).endswith(tables.words("contexts.tsv", "phone_before"))
    counts = right(match).startswith(tables.words("measures.tsv", "measure"))
    known = len(number) == 5 and not counts and number != "10000"
    return phone_digits(number) if asked or called or known else None


def _by_context(match: re.Match[str]) -> str | None:
    if not left(match, 12).endswith(tables.words("contexts.tsv", "phone_before")):
        return None
    if _QUANTITY.match(right(match)) or (
        len(match.group()) < 5
        and left(match).endswith(("转", "打"))
        and not left(match).endswith(("拨打",))
        and right(match)
    ):
        return None
    parts = re.split(r"[- ]", match.group())
    return " ".join(grouped(part) for part in parts)
