"""Latin words, letters with digits, short forms with dots and signs."""

import re
from typing import Final

from worker.text import tables
from worker.text.characters import LATIN, is_hanzi
from worker.text.normalise.numbers import cardinal, digits, phone_digits, roman
from worker.text.normalise.rule import Rule, near, right, rule

_ORDINALS: Final = {
    1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth", 7: "seventh",
    8: "eighth", 9: "ninth", 10: "tenth", 11: "eleventh", 12: "twelfth", 13: "thirteenth",
    14: "fourteenth", 15: "fifteenth", 16: "sixteenth", 17: "seventeenth", 18: "eighteenth",
    19: "nineteenth", 20: "twentieth", 30: "thirtieth",
}  # fmt: skip
_ROMAN_AFTER: Final = ("期", "型", "世", "级", "卷", "章", "代", "类", "部", "度", "号")


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    listed = tables.any_of(tables.mapping("latin_words.tsv"))
    return (
        rule("listed", rf"{listed}(?![A-Za-z])", _listed),
        rule("to", r"([A-Z])2([A-Z])(?![A-Za-z0-9])", _to),
        rule("and", r"([A-Z]{1,3})&([A-Z]{1,3})(?![A-Za-z])", _and),
        rule("dotted", r"(?:[A-Za-z]\.){2,8}[A-Za-z]?(?![A-Za-z])", _dotted),
        rule("number_sign", r"(?:[Nn][Oo]\.?|№) ?([0-9]{1,6})(?![0-9])", _number_sign),
        rule("roman", r"([IVX]{1,7})(?![A-Za-z0-9])", _roman),
        rule("codec", r"([A-Z])\.([0-9]{3})(?![0-9.])", _codec),
        rule("screen", r"([0-9]{3,4})([pPiI])(?![A-Za-z])", _screen),
        rule("ordinal", r"([0-9]{1,2})(?:st|nd|rd|th)(?![A-Za-z])", _ordinal),
        rule("word_number", rf"([{LATIN}]{{1,32}})-([0-9]{{1,6}})(?![0-9.])", _word_number),
        rule("hyphenated", rf"[{LATIN}]{{1,64}}(?:[-‐][{LATIN}]{{1,64}}){{1,8}}", _hyphenated),
        rule("word", rf"[{LATIN}]{{1,64}}(?:['’][{LATIN}]{{1,16}}){{0,4}}", _word),
        rule("attached", r"([0-9]{1,32})(?![0-9.])", _attached),
    )


def _listed(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalnum():
        return None
    return tables.mapping("latin_words.tsv")[match.group()]


def _to(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalnum():
        return None
    # H2O and the like are formulas: only the same few letters make x to y.
    if match.group() not in (
        "B2B",
        "B2C",
        "C2C",
        "C2B",
        "C2M",
        "O2O",
        "P2P",
        "B2G",
        "F2F",
        "D2C",
        "G2P",
        "S2B",
        "V2X",
        "M2M",
        "G2B",
        "E2E",
        "T2I",
        "T2V",
        "I2V",
    ):
        return None
    return f"{match.group(1)} to {match.group(2)}"


def _and(match: re.Match[str]) -> str:
    return " and ".join(" ".join(part) for part in match.groups())


def _dotted(match: re.Match[str]) -> str | None:
    letters = match.group().replace(".", "")
    if len(letters) < 2 or (match.group()[-1] != "." and letters.islower()):
        return None
    return " ".join(letters.upper())


def _number_sign(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalpha():
        return None
    return f"第{cardinal(match.group(1))}"


def _roman(match: re.Match[str]) -> str | None:
    value = roman(match.group(1))
    if value is None or (near(match).isascii() and near(match).isalnum()):
        return None
    if near(match) == "第" or right(match).startswith(_ROMAN_AFTER):
        return cardinal(str(value))
    # 路易XVI, 三体II：黑暗森林; XXX is a blank to fill in.
    titled = right(match, 1) in ("：", "》", "·") and len(match.group()) > 1
    long = (len(match.group()) > 2 or titled) and set(match.group()) != {"X"}
    return cardinal(str(value)) if long and is_hanzi(near(match)) else None


def _codec(match: re.Match[str]) -> str:
    return f"{match.group(1)}点{digits(match.group(2))}"


def _screen(match: re.Match[str]) -> str:
    return f"{digits(match.group(1))}{match.group(2).upper()}"


def _ordinal(match: re.Match[str]) -> str | None:
    value = int(match.group(1))
    if value in _ORDINALS:
        return _ORDINALS[value]
    tens = {
        2: "twenty",
        3: "thirty",
        4: "forty",
        5: "fifty",
        6: "sixty",
        7: "seventy",
        8: "eighty",
        9: "ninety",
    }.get(value // 10)
    if tens is None or value % 10 == 0:
        return None
    return f"{tens} {_ORDINALS[value % 10]}"


def _word_number(match: re.Match[str]) -> str | None:
    word, number = match.groups()
    if near(match).isascii() and near(match).isalnum():
        return None
    return f"{word}{attached(number)}"


def _hyphenated(match: re.Match[str]) -> str | None:
    if re.fullmatch("[a-z]-[a-z]", match.group()) and "=" in match.string:
        return None
    return re.sub("[-‐]", " ", match.group())


def _word(match: re.Match[str]) -> str:
    return match.group()


def attached(number: str) -> str:
    """A number that belongs to letters: digit by digit from three digits on.

    >>> attached("15"), attached("370")
    ('十五', '三七零')
    """
    return phone_digits(number) if len(number) > 2 else cardinal(number)


def _attached(match: re.Match[str]) -> str | None:
    before = near(match)
    if not (before.isascii() and before.isalpha()):
        return None
    return attached(match.group(1))
