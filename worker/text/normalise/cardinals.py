"""Numbers that no other family took: quantities, decimals, digit strings."""

import re
from typing import Final

from worker.text.normalise.numbers import decimal, digits, phone_digits
from worker.text.normalise.rule import NUMBER, Rule, near, right, rule

# Bare numbers from this length on are codes, not quantities, unless commas group them.
_LONGEST_BARE: Final = 10


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("leading_dot", r"\.([0-9]{1,32})(?![0-9.])", _leading_dot),
        rule(
            "raised_point",
            r"([0-9]{1,6})·([0-9]{1,4})(?=[万亿元吨米度倍个公千百点多级户人亩斤至到”\"’])",
            _raised_point,
        ),
        rule("number", rf"({NUMBER})", _number),
        rule("digit", r"[0-9]", _digit),
    )


def _leading_dot(match: re.Match[str]) -> str | None:
    if near(match).isalnum():
        return None
    return f"零点{digits(match.group(1))}"


def _raised_point(match: re.Match[str]) -> str:
    """13·6万 is a decimal; a day in quotation marks names what happened: “3·15”."""
    whole, fraction = match.groups()
    if near(match) in ("“", '"', "‘") and right(match)[:1] in ("”", '"', "’"):
        return phone_digits(whole + fraction)
    return decimal(f"{whole}.{fraction}")


def _number(match: re.Match[str]) -> str:
    text = match.group(1)
    whole = text.partition(".")[0]
    if re.search("[A-Za-z0-9]-$", near(match, 2)) and text.isdigit() and len(text) > 2:
        return phone_digits(text)
    if len(whole) >= _LONGEST_BARE and not re.match("[多余]?[\u4e00-\u9fff]", right(match)):
        return digits(text).replace(".", "点")
    return decimal(text)


def _digit(match: re.Match[str]) -> str:
    return digits(match.group())
