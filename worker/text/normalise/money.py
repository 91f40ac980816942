"""Amounts of money with a sign or a code, and rates per something."""

import re
from decimal import Decimal
from typing import Final

from worker.text import tables
from worker.text.normalise import numbers
from worker.text.normalise.rule import NUMBER, Rule, rule

_SCALES: Final = {
    "k": "千", "K": "千", "m": "百万", "M": "百万", "mn": "百万", "B": "十亿", "b": "十亿",
    "bn": "十亿", "w": "万", "W": "万",
}  # fmt: skip
_FACTORS: Final = {
    "k": 1000, "K": 1000, "m": 10**6, "M": 10**6, "mn": 10**6, "B": 10**9, "b": 10**9, "bn": 10**9,
}  # fmt: skip
_SCALE: Final = r"(千万|百万|十万|万亿|亿|万|千|(?:mn|bn|[kKmMbBwW])(?![A-Za-z]))?"


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    names = tables.mapping("currencies.tsv")
    sign = tables.any_of(names)
    code = tables.any_of(n for n in names if not n.isalpha() or len(n) == 3)
    per = tables.any_of(tables.mapping("unit_denominators.tsv"))
    sep = r" ?[~～—–-] ?"
    return (
        rule(
            "sign_range",
            rf"(?P<sign>{sign}) ?({NUMBER}){sep}(?P=sign)? ?({NUMBER}){_SCALE}",
            _sign_range,
        ),
        rule("sign_first", rf"(-?)({sign}) ?(-?)({NUMBER}){_SCALE}", _sign_first),
        rule("code_last", rf"(-?)({NUMBER}){_SCALE} ?({code})(?![A-Za-z0-9])", _code_last),
        rule("yuan", r"([0-9]{1,12}\.(?:[0-9]0|00?))(?=元(?![角素旦]))", _yuan),
        rule("per", rf"/({per})(?![A-Za-z0-9])", _per_unit),
        rule(
            "per_number",
            r"(?<=[A-Za-z升克元])/(?=10{1,3} ?(?:km|公里|千米|g|克|m[lL]|毫升))",
            _each,
        ),
    )


def amount(number: str, scale: str | None, name: str) -> str:
    """An amount said with its currency; a lone 2 is 两.

    >>> amount("1.2", "亿", "元")
    '一点二亿元'
    """
    factor = _FACTORS.get(scale or "", 1)
    if factor > 1 and (whole := Decimal(number.replace(",", "")) * factor) % 1 == 0:
        # $2.5M is 两百五十万, not 二点五百万.
        number, scale = str(int(whole)), None
    said = numbers.money(number)
    return f"{'两' if said == '二' else said}{_SCALES.get(scale or '', scale or '')}{name}"


def _sign_first(match: re.Match[str]) -> str:
    minus, sign, inner, number, scale = match.groups()
    name = tables.mapping("currencies.tsv")[sign]
    # ￥100元 names its currency twice.
    if match.string.startswith(name, match.end()):
        name = ""
    return ("负" if minus or inner else "") + amount(number, scale, name)


def _sign_range(match: re.Match[str]) -> str:
    sign, first, last, scale = match.groups()
    name = tables.mapping("currencies.tsv")[sign]
    if match.string.startswith(name, match.end()):
        name = ""
    return f"{numbers.money(first)}到{amount(last, scale, name)}"


def _code_last(match: re.Match[str]) -> str:
    minus, number, scale, code = match.groups()
    return ("负" if minus else "") + amount(number, scale, tables.mapping("currencies.tsv")[code])


def _yuan(match: re.Match[str]) -> str:
    said = numbers.money(match.group(1))
    return "两" if said == "二" else said


def _per_unit(match: re.Match[str]) -> str | None:
    """A rate after an amount in words: 20元/人, 3万元/㎡."""
    before = match.string[max(0, match.start() - 12) : match.start()]
    if not re.search(
        r"[0-9][^0-9]{0,6}[\u4e00-\u9fff℃]$|[¥$€£][0-9.,]+$|\^[0-9-]+$|[⁰¹²³⁴-⁹]$", before
    ):
        return None
    return f"每{tables.mapping('unit_denominators.tsv')[match.group(1)]}"


def _each(_: re.Match[str]) -> str:
    return "每"
