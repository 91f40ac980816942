"""Versions and network addresses: several numbers with dots."""

import re

from worker.text.normalise.numbers import cardinal, digits, phone_digits
from worker.text.normalise.rule import Rule, near, rule


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("ip", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[:/][0-9]{1,5})?(?![0-9.])", _ip),
        rule("version", r"([vV])(?:er)?\.? ?([0-9]{1,4}(?:\.[0-9]{1,4}){0,5})(?![0-9])", _version),
        rule("dotted", r"([0-9]{1,4}(?:\.[0-9]{1,4}){2,5})(?![0-9])", _dotted),
    )


def _numbers(text: str) -> str:
    first, *rest = text.split(".")
    return "点".join([cardinal(first), *(digits(part) for part in rest)])


def _ip(match: re.Match[str]) -> str | None:
    address, mark, port = re.match(r"([0-9.]+)([:/]?)([0-9]*)", match.group()).groups()  # type: ignore[union-attr]  # the rule's own pattern
    if any(int(part) > 255 for part in address.split(".")):
        return None
    said = "点".join(phone_digits(part) for part in address.split("."))
    return said + ({":": "冒号", "/": "斜杠"}[mark] + phone_digits(port) if mark else "")


def _version(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalnum():
        return None
    return f"{match.group(1)}{_numbers(match.group(2))}"


def _dotted(match: re.Match[str]) -> str:
    return _numbers(match.group(1))
