"""Quantities with a unit sign or a measure word."""

import re
from decimal import Decimal

from worker.text import tables
from worker.text.normalise.numbers import cardinal, counted, decimal, digits, ordinal
from worker.text.normalise.rule import INTEGER, NUMBER, Rule, calculates, left, near, right, rule


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    units = tables.mapping("units.tsv")
    unit = tables.any_of(units) + r"(?![A-Za-z²³])"
    signs = tables.any_of(u for u in units if not u.isascii() and u not in "°′″º")
    per = tables.any_of(tables.mapping("unit_denominators.tsv"))
    sep = r" ?(?:[~～—–]{1,2}|-) ?"
    measure = tables.any_of(tables.words("measures.tsv", "measure"))
    named = tables.any_of(tables.words("measures.tsv", "ordinal"))
    return (
        rule(
            "unit_range",
            rf"(-?)({NUMBER}) ?({unit})?{sep}(-?)({NUMBER}) ?({unit})(?:/({per}))?",
            _unit_range,
        ),
        rule("angle", r"([0-9]{1,3})°([0-9]{1,2})[′'](?:([0-9]{1,2})[″\"])?", _angle),
        rule(
            "unit",
            rf"([-+±]?)({NUMBER})(?: ?[xX×*] ?({NUMBER}))? ?({unit})(?:/({per})(?![A-Za-z]))?",
            _unit,
        ),
        rule("inches", rf"({NUMBER})(?:[\"″]|'')", _inches),
        rule("bare_unit", rf"({unit})/({per})(?![A-Za-z])", _bare_unit),
        rule("sign", rf"{signs}", _sign),
        rule("scaled", rf"({unit})(?:/({per})(?![A-Za-z]))?", _scaled),
        rule("more_than", rf"({INTEGER})\+(?={measure})", _more_than),
        rule("house", r"([0-9]{1,4})#(?=楼|栋|幢|机|线|门|车|炉|汽油|柴油|油|泊位)", _house),
        rule("building", r"([0-9]{1,4})(?=[栋幢座][0-9]{1,4}(?:单元|室|号|-[0-9]))", _building),
        rule("rooms", r"([0-9])(?=室[0-9一二两三四][厅卫])", lambda m: counted(m.group(1))),
        rule("hundredths", r"(?<=[米秒])([0-9]{2})(?![0-9.])", _hundredths),
        rule("ordinal", rf"([0-9]{{1,4}})(?={named}(?![位]))", _ordinal),
        rule("measure", rf"({INTEGER})(?=(?:多|余|来)?{measure})", _measure),
    )


def spoken_unit(sign: str) -> str:
    """A unit's name, or its letters where the language keeps them (GB)."""
    return tables.mapping("units.tsv").get(sign) or sign


def quantity(sign: str, number: str, unit: str, per: str | None) -> str:
    """A signed number with its unit said; below zero degrees are 零下."""
    name = spoken_unit(unit)
    if name == "千" and (thousands := Decimal(number.replace(",", "")) * 1000) % 1 == 0:
        # 15k is 一万五千, not 十五千.
        number, name = str(int(thousands)), ""
    minus = {"-": "负", "±": "正负", "+": "正", "": ""}[sign]
    if sign == "-" and name.endswith("氏度"):
        minus = "零下"
    said = decimal(number) if name == "分" and unit == "′" else counted(number)
    tail = f"每{tables.mapping('unit_denominators.tsv')[per]}" if per else ""
    return f"{minus}{said}{name}{tail}"


def _unit(match: re.Match[str]) -> str | None:
    sign, number, times, unit, per = match.groups()
    before = near(match)
    if sign and (before.isalnum() and before.isascii()):
        return None
    if not sign and before.isascii() and before.isalpha():
        return None
    if refuses(match, unit, number, spaced=match.group()[-len(unit) - 1 :].startswith(" ")):
        return None
    if times:
        return f"{counted(number)}乘{counted(times)}{spoken_unit(unit)}"
    return quantity(sign, number, unit, per)


def refuses(match: re.Match[str], unit: str, number: str, *, spaced: bool) -> bool:
    """Whether one letter after a number is a name (5G, 3D, 24K, 4K) rather than a unit."""
    after = match.string[match.end() : match.end() + 1]
    if unit in ("A", "F", "N", "J", "d", "K", "t", "s", "V") and (spaced or after.isdigit()):
        return True
    if after.isdigit() or (after == "-" and len(unit) == 1):
        return True
    if unit in ("g", "m") and right(match).startswith(("内存", "显存", "硬盘", "流量", "运存")):
        return True
    if unit == "K":
        return True
    if unit == "A" and (right(match).startswith("电") or near(match, 2) == "V/"):
        return False
    if unit in ("A", "N", "F", "J") and "." not in number:
        return not left(match).endswith(
            ("V", "电流", "为", "约", "达", "力", "电容", "能量", "是", "=")
        )
    return unit in ("k", "w") and spaced


def _unit_range(match: re.Match[str]) -> str | None:
    sign, first, middle, inner, last, unit, per = match.groups()
    if near(match).isascii() and near(match).isalnum():
        return None
    if refuses(match, unit, last, spaced=False) or calculates(match):
        return None
    low = quantity(sign, first, unit, None)
    name = "" if unit == "k" else spoken_unit(unit)
    # 零下十摄氏度到五摄氏度: 零下十到五 would be below zero on both sides.
    crosses = middle == unit and sign == "-" and not inner and name.endswith("氏度")
    if (not middle or middle == unit) and not crosses:
        low = low.removesuffix(name)
        if low.endswith("两") and first == "2":
            low = low[:-1] + "二"
    high = quantity(inner, last, unit, per)
    return f"{low}到{high}"


def _angle(match: re.Match[str]) -> str:
    degrees, minutes, seconds = match.groups()
    said = f"{counted(degrees)}度{cardinal(str(int(minutes)))}分"
    return said + (f"{cardinal(str(int(seconds)))}秒" if seconds else "")


def _inches(match: re.Match[str]) -> str | None:
    number = match.group(1)
    if right(match).startswith(tables.words("contexts.tsv", "inch_after")):
        return f"{counted(number)}英寸"
    # A quotation that closes after a number is no unit.
    return f"{counted(number)}秒" if match.group()[-1] == "″" else None


def _bare_unit(match: re.Match[str]) -> str | None:
    unit, per = match.groups()
    before = near(match)
    short = len(unit) == len(per) == 1 and (unit + per).isascii() and unit not in "mgLJ"
    if (before.isascii() and before.isalpha()) or short:
        return None
    return f"{spoken_unit(unit)}每{tables.mapping('unit_denominators.tsv')[per]}"


def _scaled(match: re.Match[str]) -> str | None:
    """A unit after a number that ends in a word: 38.4万km, 100多kg."""
    unit, per = match.groups()
    after_word = near(match) in tuple("万亿千百多余几半") and (len(unit) > 1 or unit in "mgLWV")
    # Straight after a digit: the number went to another rule, such as 140/90mmHg.
    if not after_word and not (near(match).isdigit() and len(unit) > 1):
        return None
    tail = f"每{tables.mapping('unit_denominators.tsv')[per]}" if per else ""
    return spoken_unit(unit) + tail


def _sign(match: re.Match[str]) -> str | None:
    """A unit that stands alone, where its sign can be nothing else: ㎡, μm级."""
    before, after = near(match), match.string[match.end() : match.end() + 1]
    if (before.isascii() and before.isalpha()) or (after.isascii() and after.isalnum()):
        return None
    return spoken_unit(match.group())


def _more_than(match: re.Match[str]) -> str:
    return f"{decimal(match.group(1))}多"


def _hundredths(match: re.Match[str]) -> str | None:
    """The two digits after a metre or a second: 1米78, 9秒58."""
    before = match.string[max(0, match.start() - 2) : match.start() - 1]
    if not before.isdigit() or right(match, 1) in ("个", "名", "人", "元", "米", "秒", "厘"):
        return None
    return digits(match.group(1))


def _house(match: re.Match[str]) -> str:
    return f"{cardinal(match.group(1))}号"


def _building(match: re.Match[str]) -> str:
    return cardinal(match.group(1))


def _ordinal(match: re.Match[str]) -> str | None:
    number, before = match.group(1), near(match)
    if before.isascii() and before.isalpha():
        return None
    after = match.string[match.end() : match.end() + 2]
    # 中, 小, 院 and the like name a school or hospital only in 二中; 2 before them is rare else.
    if after.startswith(("中", "小", "等", "大")) and not left(match).endswith(
        ("市", "县", "区", "第")
    ):
        return None
    if after.startswith("层") and number == "2" and before != "第":
        return None
    return ordinal(number)


def _measure(match: re.Match[str]) -> str | None:
    number, before = match.group(1), near(match)
    if before.isascii() and before.isalpha():
        return None
    if before == "第":
        return ordinal(number)
    if right(match, 2) == "折" and re.fullmatch("[1-9][1-9]", number):
        return digits(number)
    # 二 stays before the weight 两, which sounds the same as the number, and in 二分之一.
    if right(match).startswith(
        ("两", "分之", "次元", "次方", "次函数", "次曲线", "次型", "次项", "级")
    ):
        return decimal(number)
    return decimal(number) if before in (".", "点", "分") and match.start() > 1 else counted(number)
