"""Arithmetic: operators between numbers or letters, powers, roots, scientific notation."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.numbers import cardinal, counted, decimal, signed
from worker.text.normalise.rule import NUMBER, Rule, left, near, right, rule

_SUPERSCRIPT: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_OPERATORS: Final = {
    "+": "加", "-": "减", "−": "减", "*": "乘", "×": "乘",
    "·": "乘",
    "÷": "除以", "/": "除以", "=": "等于",
}  # fmt: skip
_RELATION: Final = re.compile(r"[=＝≈<>≤≥≠^]")


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("scientific", rf"(-?{NUMBER})[eE]([-+]?[0-9]{{1,3}})(?![0-9A-Za-z])", _scientific),
        rule("power", rf"({NUMBER}|[A-Za-z])\^\(?(-?[0-9]{{1,4}}|[a-z])\)?", _power),
        rule(
            "superscript",
            rf"({NUMBER}|(?<![A-Za-z])[A-Za-z]|[)）])([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{{1,4}})(?!⁺)",
            _superscript,
        ),
        rule("root", r"√", lambda _: "根号"),
        rule("product", rf"{NUMBER}(?: ?[xX×*] ?{NUMBER}){{1,4}}(?![A-Za-z0-9^²³¹⁰-⁹⁻])", _product),
        rule("figure", r"[△⊙](?=[A-Z])", lambda m: "三角形" if m.group() == "△" else "圆"),
        rule("ion", r"(?<=[A-Za-z₀-₉])([²³⁴]?)([⁺⁻])(?![⁰¹²³⁴-⁹])", _ion),
        rule("unequal", r" ?!= ?", _unequal),
        rule("tends", r" ?→ ?(?=[-+]?[∞0-9])", _tends),
        rule("operator", r" ?[+−*×÷/-] ?", _operator),
        rule("minus", rf"([-−])({NUMBER})", _minus),
        rule("minus_letter", r"[-−](?=[A-Za-z](?![A-Za-z]))", _minus_letter),
        rule("plus_minus", rf"±({NUMBER})", _plus_minus),
    )


def _exponent(exponent: str) -> str:
    if exponent.lstrip("-").isdigit():
        return ("负" if exponent[0] == "-" else "") + cardinal(str(abs(int(exponent))))
    return exponent


def _base(base: str) -> str:
    return base if base.isalpha() or base in ")）" else decimal(base)


def _scientific(match: re.Match[str]) -> str | None:
    if near(match).isascii() and near(match).isalpha():
        return None
    number, exponent = match.groups()
    return f"{signed(number)}乘十的{_exponent(exponent.lstrip('+'))}次方"


def _power(match: re.Match[str]) -> str | None:
    base, exponent = match.groups()
    if near(match).isascii() and near(match).isalpha():
        return None
    return f"{_base(base)}的{_exponent(exponent)}次方"


def _superscript(match: re.Match[str]) -> str:
    base, exponent = match.groups()
    value = exponent.translate(_SUPERSCRIPT)
    said = {"2": "平方", "3": "立方"}.get(value)
    return f"{_base(base)}{said}" if said else f"{_base(base)}的{_exponent(value)}次方"


def _product(match: re.Match[str]) -> str:
    return "乘".join(decimal(part) for part in re.split(r" ?[xX×*] ?", match.group()))


def _ion(match: re.Match[str]) -> str:
    """The charge of an ion: Ca²⁺, Cl⁻."""
    count = match.group(1).translate(_SUPERSCRIPT)
    return (cardinal(count) if count else "") + ("正" if match.group(2) == "⁺" else "负")


def _unequal(match: re.Match[str]) -> str | None:
    if near(match).isdigit():
        return "的阶乘等于"
    return "不等于" if _operand(near(match)) else None


def _tends(match: re.Match[str]) -> str | None:
    return "趋于" if near(match).isascii() and near(match).isalpha() else None


def _in_formula(match: re.Match[str]) -> bool:
    """Whether the sentence around holds a relation close by, so that - and / are operators."""
    around = match.string[max(0, match.start() - 40) : match.end() + 40]
    return _RELATION.search(around) is not None


def _operator(match: re.Match[str]) -> str | None:
    sign = match.group().strip()
    before, after = near(match), match.string[match.end() : match.end() + 1]
    if not (_operand(before) or before in ")）]²³") or not (_operand(after) or after in "(（[√-"):
        return None
    if not before or not after:
        return None
    digit = before.isdigit() and after.isdigit()
    single = _single_letter(match.string, match.start() - 1) and _single_letter(
        match.string, match.end()
    )
    if sign in "-/*−" and not _in_formula(match):
        return "乘" if sign == "*" and after.isdigit() and before.isalnum() else None
    if sign == "+" and not (digit or single or _in_formula(match)):
        return None
    return _OPERATORS[sign]


def _operand(char: str) -> bool:
    return bool(char) and (
        char.isdigit() or (char.isascii() and char.isalpha()) or char in "πθαβΔ%"
    )


def _single_letter(text: str, at: int) -> bool:
    """Whether the letter at `at` stands alone, or a digit is there."""
    if not 0 <= at < len(text):
        return False
    around = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
    return text[at].isdigit() or not any(c.isascii() and c.isalpha() for c in around)


def _minus(match: re.Match[str]) -> str | None:
    before = near(match)
    if before.isalnum() and before.isascii():
        return None
    floor = match.string.startswith(("层", "楼"), match.end())
    if re.match(r"[\u4e00-\u9fff）)]", before) and not floor and not _negative_context(match):
        # 歼-20, 东风-41: the dash joins a name and its number.
        joined = left(match).endswith(tables.words("contexts.tsv", "joined_before"))
        if joined or not re.match("[百千]?[万亿元]", right(match)):
            return f"{'' if joined else ' '}{decimal(match.group(2))}"
    cold = match.string.startswith(("度", "摄氏度", "华氏度"), match.end())
    said = counted if right(match)[:1] in tuple("人个元万亿") else decimal
    return ("零下" if cold else "负") + said(match.group(2))


def _minus_letter(match: re.Match[str]) -> str | None:
    """The sign of a letter after a relation, or in the brackets of a function: x=-b, f(-x)."""
    before = match.string[max(0, match.start() - 2) : match.start()].rstrip(" ")
    signed = before[-1:] in tuple("=≈<>≤≥≠") or re.search(r"[A-Za-z]\($", before)
    return "负" if signed else None


def _negative_context(match: re.Match[str]) -> bool:
    """Whether a value is expected after a Chinese character: 温度为-3, 得分-1.5."""
    return (
        "." in match.group()
        or left(match, 9) != match.string[max(0, match.start() - 9) : match.start()]
        or left(match).endswith(tables.words("contexts.tsv", "value_before"))
    )


def _plus_minus(match: re.Match[str]) -> str:
    return f"正负{decimal(match.group(1))}"
