"""Ranges: two numbers, weekdays or letters with 到 between."""

import re
from typing import Final

from worker.text import tables
from worker.text.characters import HANZI
from worker.text.normalise.numbers import cardinal, counted, decimal, digits, ordinal
from worker.text.normalise.rule import NUMBER, PERIOD, Rule, has_chinese, left, near, right, rule

_SCORE: Final = r"[0-9]{1,3}[-–—][0-9]{1,3}"
_SEP: Final = r" ?[~～—–-]{1,2} ?"
# Measure words that number rather than count: 2～3级.
_ORDERED: Final = ("级", "等", "期", "线", "环", "号", "楼")
_ATTACHED: Final = tuple("0123456789.-/+=×")
# The issue of a year, 第2024-15期, which is no range.
_ISSUE: Final = re.compile("((?:19|20)[0-9]{2})-([0-9]{1,3})")
# A hyphen before a digit is a minus after these, unless they count: 得分-3, but 3分-5分.
_UNCOUNTED: Final = re.compile("(?<![0-9一二三四五六七八九十百千万几半])[时点分秒度岁个人米斤克]$")
_SUM: Final = re.compile("[0-9.]{1,16}[^0-9=]{0,3}=")
_LEFT_OF_TILDE: Final = re.compile(
    "[一二三四五六日天月号年时点分秒度岁楼级代纪季万亿千百个人岁米斤克%％元℃]$"
)


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    unit = tables.any_of(
        sorted({*tables.words("measures.tsv", "measure"), *tables.words("measures.tsv", "ordinal")})
    )
    return (
        rule(
            "ordinals",
            r"(?<=第)[0-9]{1,4}(?: ?[、和及与至到~～—–-] ?[0-9]{1,4}){1,6}(?![0-9.])",
            _ordinals,
        ),
        rule("teens", r"1([1-8])、1([2-9])(?=岁)", _teens),
        rule(
            "numbers_with_unit",
            rf"({NUMBER})({unit}?){_SEP}({NUMBER})(?=(?:多|余)?{unit})",
            _with_unit,
        ),
        rule("scores", rf"{_SCORE}(?:(?:[、，,] ?| )(?:{_SCORE})){{1,6}}(?![0-9.-])", _scores),
        rule("numbers", rf"({NUMBER}){_SEP}({NUMBER})(?![0-9.-])", _plain),
        rule("or", rf"([1-9]?[1-9])、([1-9])(?={unit})", _or),
        rule("letters", r"([A-Z])[~～—–-]([A-Z])(?![A-Za-z0-9-])", _letters),
        rule("quarters", r"(?<=[QH][1-4])[~～—–-](?=[QH][1-4](?![0-9]))", lambda _: "到"),
        rule(
            "next_day", r"(?<=[:：][0-5][0-9]) ?[~～—–-]{1,2} ?(?=次日|翌日|第二天)", lambda _: "到"
        ),
        rule("between", rf"[~～—–-]{{1,2}}(?=[周第{HANZI}0-9])", _between),
    )


def _ordinals(match: re.Match[str]) -> str:
    """第1、2节, 第3-5章: every number of the list names."""
    if issue := _ISSUE.fullmatch(match.group()):
        return (
            f"{digits(issue[1])}杠{digits(issue[2]) if issue[2][0] == '0' else cardinal(issue[2])}"
        )
    said = re.sub("[0-9]+", lambda m: ordinal(m.group()), match.group())
    return re.sub(" ?[~～—–-] ?", "到", said)


def _teens(match: re.Match[str]) -> str | None:
    first, last = match.groups()
    if int(last) != int(first) + 1:
        return None
    return f"{cardinal('1' + first)}{cardinal(last)}"


def _ends(match: re.Match[str], first: str, last: str) -> tuple[str, str]:
    """Both ends said; before a measure word a lone 2 is 两."""
    measured = right(match).startswith(tables.words("measures.tsv", "measure"))
    named = right(match).startswith(tables.words("measures.tsv", "ordinal")) and not measured
    if named or not measured or right(match).startswith(_ORDERED):
        return decimal(first), decimal(last)
    return counted(first), counted(last)


def _with_unit(match: re.Match[str]) -> str | None:
    first, unit, last = match.groups()
    if near(match).isalpha() and near(match).isascii():
        return None
    low, high = _ends(match, first, last)
    if not unit and right(match).startswith(tables.words("contexts.tsv", "score_after")):
        return f"{decimal(first)}比{decimal(last)}"
    if not unit and left(match).endswith("满") and "-" in match.group():
        return f"{decimal(first)}减{decimal(last)}"
    if unit:
        low = counted(first) if unit in tables.words("measures.tsv", "measure") else low
    if right(match).startswith("年") and len(last) == 4 and len(first) == 4:
        low, high = digits(first), digits(last)
    return f"{low}{unit}到{high}"


def _scores(match: re.Match[str]) -> str | None:
    """Several pairs in a row of which one can be no range: 11-9、8-11、11-7."""
    pairs = [tuple(map(int, pair)) for pair in re.findall("([0-9]+)[-–—]([0-9]+)", match.group())]
    falls = any(first > last for first, last in pairs)
    if not (falls or left(match).endswith(("局", "盘", "比分"))) or near(match) in _ATTACHED:
        return None
    said = (f"{cardinal(str(first))}比{cardinal(str(last))}" for first, last in pairs)
    return "、".join(said)


def _plain(match: re.Match[str]) -> str | None:
    first, last = match.groups()
    if re.search(r"[-–—−]", match.group()) and re.search(
        r"[=＝+×÷*/^]", match.string[max(0, match.start() - 3) : match.end() + 4]
    ):
        return None
    if near(match).isascii() and near(match).isalpha():
        return None
    score = _is_score(match)
    if "-" not in match.group() and not score:
        return f"{decimal(first)}到{decimal(last)}"
    if score or float(first.replace(",", "")) >= float(last.replace(",", "")):
        if left(match).endswith("满"):
            return f"{decimal(first)}减{decimal(last)}"
        framed = near(match) in "(（" and re.match("[)）](?![-+×÷*/=^])", right(match))
        beside = framed or has_chinese(near(match) + right(match, 1))
        return f"{decimal(first)}{'比' if score or beside else '减'}{decimal(last)}"
    return f"{decimal(first)}到{decimal(last)}"


def _is_score(match: re.Match[str]) -> bool:
    before = left(match)
    return (
        PERIOD.search(before) is not None
        or before.endswith(tables.words("contexts.tsv", "score_before"))
        or right(match).startswith(tables.words("contexts.tsv", "score_after"))
    )


def _or(match: re.Match[str]) -> str | None:
    """Two neighbouring numbers are one guess: 2、3个 is 两三个. Named things are listed: 7、8月."""
    first, last = match.groups()
    counts = right(match).startswith(tables.words("measures.tsv", "measure"))
    if int(last) != int(first) % 10 + 1 or not counts:
        return None
    return f"{counted(first)}{cardinal(last) if len(first) > 1 else counted(last)}"


def _letters(match: re.Match[str]) -> str | None:
    first, last = match.groups()
    return (
        f"{first}到{last}"
        if (first < last and not near(match).isascii())
        or (first < last and near(match) in ("", " "))
        else None
    )


def _between(match: re.Match[str]) -> str | None:
    """A tilde or dash between two of a kind: 周一~周五. Anywhere else it is a lengthened sound."""
    before = match.string[max(0, match.start() - 4) : match.start()]
    if not _LEFT_OF_TILDE.search(before):
        return None
    if match.group()[0] == "—" and len(match.group()) == 2:
        return None
    after = match.string[match.end() : match.end() + 1]
    if match.group() == "-" and (
        (after.isdigit() and _UNCOUNTED.search(before)) or _SUM.match(match.string, match.end())
    ):
        return None
    opens = re.match(r"[前周星第上下凌早晚今明次一二三四五六七八九十0-9]", after)
    return "到" if opens else None
