"""Percent, fractions, ratios and scores."""

import re

from worker.text.normalise.numbers import cardinal, counted, decimal
from worker.text.normalise.rule import NUMBER, Rule, calculates, left, near, rule

# Units of which nobody counts fractions: 50/60Hz and 128/256GB are two to choose from.
_CHOICE = re.compile(r" ?(?:[kMG]?Hz|[MGT]B|mAh)(?![A-Za-z])")
_OF = {"%": "百分之", "‰": "千分之", "‱": "万分之"}
_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5),
    "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8),
    "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    sep = r" ?(?:[~～—–]{1,2}|-) ?"
    return (
        rule("percent_range", rf"(-?)({NUMBER}) ?([%‰‱])?{sep}(-?)({NUMBER}) ?([%‰‱])", _range),
        rule("old_percent", r"([0-9]{1,6})·([0-9]{1,4})([%‰])", _old_percent),
        rule("percent", rf"([-+±]?)({NUMBER}) ?([%‰‱])", _percent),
        rule("vulgar", rf"([0-9]{{0,6}})([{''.join(_VULGAR)}])", _vulgar),
        rule("mixed", r"([0-9]{1,4}) ([0-9]{1,3})/([0-9]{1,4})(?![0-9/.])", _mixed),
        rule("fraction", rf"(-?)({NUMBER})/({NUMBER})(?![0-9/])", _fraction),
        rule("ratios", rf"{NUMBER}(?: ?[:：] ?{NUMBER}){{1,4}}(?![0-9:：])", _ratio),
    )


def percent(sign: str, number: str, mark: str) -> str:
    """A percentage said, `sign` one of -, +, ± or empty.

    >>> percent("-", "1.2", "%"), percent("", "100", "%")
    ('负百分之一点二', '百分之百')
    """
    minus = {"-": "负", "±": "正负", "+": "正", "": ""}[sign]
    said = "百" if number == "100" and mark == "%" else decimal(number)
    return f"{minus}{_OF[mark]}{said}"


def _percent(match: re.Match[str]) -> str | None:
    sign, number, mark = match.groups()
    before = near(match)
    if sign and ((before.isalnum() and before.isascii()) or before in tuple("%‰‱")):
        return None
    return percent(sign, number, mark)


def _old_percent(match: re.Match[str]) -> str:
    """A raised point, as newspapers once printed decimals: 6·1%."""
    whole, fraction, mark = match.groups()
    return percent("", f"{whole}.{fraction}", mark)


def _range(match: re.Match[str]) -> str | None:
    if calculates(match):
        return None
    minus, first, first_mark, inner, last, mark = match.groups()
    return f"{percent(minus, first, first_mark or mark)}到{percent(inner, last, mark)}"


def _vulgar(match: re.Match[str]) -> str:
    whole, sign = match.groups()
    top, bottom = _VULGAR[sign]
    said = f"{cardinal(str(bottom))}分之{cardinal(str(top))}"
    return f"{cardinal(whole)}又{said}" if whole else said


def _mixed(match: re.Match[str]) -> str | None:
    whole, top, bottom = match.groups()
    if int(bottom) == 0 or int(top) >= int(bottom):
        return None
    return f"{cardinal(whole)}又{cardinal(bottom)}分之{cardinal(top)}"


def _fraction(match: re.Match[str]) -> str | None:
    minus, top, bottom = match.groups()
    if near(match).isascii() and near(match).isalpha():
        return None
    if minus and near(match).isalnum() and near(match).isascii():
        return None
    if match.string.startswith("mmHg", match.end()) or left(match).endswith("血压"):
        return f"{decimal(top)}比{decimal(bottom)}"
    if (top, bottom) in (("7", "24"), ("24", "7")) or bottom.strip("0.") == "":
        return f"{decimal(top)}{'乘' if bottom.strip('0.') else '斜杠'}{decimal(bottom)}"
    if top != "1" and _CHOICE.match(match.string, match.end()):
        return f"{counted(top)} {counted(bottom)}"
    if near(match) == "第" or ("." in top and near(match) != "="):
        return f"{decimal(top)}斜杠{decimal(bottom)}"
    if re.match(" ?=", match.string[match.end() : match.end() + 2]):
        return f"{'负' if minus else ''}{decimal(top)}除以{decimal(bottom)}"
    return f"{'负' if minus else ''}{decimal(bottom)}分之{decimal(top)}"


def _ratio(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalpha():
        return None
    parts = re.split(r" ?[:：] ?", match.group())
    # After a name a colon introduces: 人数:3. Both sides are numbers here, so it is a ratio.
    said = [decimal(part) for part in parts]
    return "比".join(said)
