"""Dates, years, decades, festivals named by their date."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.numbers import cardinal, digits, phone_digits
from worker.text.normalise.rule import NO_DIGIT, Rule, left, near, right, rule

_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FULL: Final = r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})"
_DASH: Final = r"[~～—–-]{1,2}|至|到"
_SALE_BEFORE: Final = re.compile("双(?:1[12]|十[一二])[、和与及/]$")
_SALE_AFTER: Final = re.compile("[、和与及/]双(?:1[12]|十[一二])")
_MONTHS: Final = {
    name: i
    for i, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
        start=1,
    )
}


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    month = "(?:" + "|".join(_MONTHS) + r")[a-z]{0,6}"
    return (
        rule(
            "ymd_days",
            rf"{_FULL} ?[~～—–-] ?([0-9]{{1,2}})[/.]([0-9]{{1,2}})" + NO_DIGIT,
            _ymd_days,
        ),
        rule("ymd_range", rf"{_FULL} ?[~～—–-] ?{_FULL}" + NO_DIGIT, _ymd_range),
        rule(
            "ymd",
            r"([0-9]{4})(?P<mark>[-/.])([0-9]{1,2})(?P=mark)([0-9]{1,2})(?:日|号)?" + NO_DIGIT,
            _ymd,
        ),
        rule("slashes", r"[0-9]{1,4}(?:/[0-9]{1,4}){2,4}(?![0-9/])", _slashes),
        rule("compact", r"(?:19|20)[0-9]{6}(?![0-9])", _compact),
        rule("month_name", rf"(?i:({month})\.? ([0-9]{{1,2}}),? ([0-9]{{4}}))(?![0-9])", _named),
        rule("years", rf"([0-9]{{2,4}})年?({_DASH})([0-9]{{2,4}})(?=年(?![多以]))", _years),
        rule(
            "seasons",
            r"((?:19|20)[0-9]{2})([-/~])((?:19|20)?[0-9]{2})(?=赛季|财年|学年|年度)",
            _span,
        ),
        rule("lifetime", r"(?<=[（(])([12][0-9]{3})([~～—–-]{1,2})([12][0-9]{3})(?=[）)])", _span),
        rule("year_span", rf"((?:19|20)[0-9]{{2}})({_DASH})((?:19|20)[0-9]{{2}}){NO_DIGIT}", _span),
        rule("year", r"([0-9]{2,4})(?=年)", _year),
        rule(
            "year_list", r"(?:19|20)[0-9]{2}(?=(?:[、和与及](?:19|20)[0-9]{2}){1,8}年)", _digits_of
        ),
        rule(
            "year_month", r"((?:19|20)[0-9]{2})([-/.])(0[1-9]|1[0-2])(?![-/.]?[0-9])", _year_month
        ),
        rule("slash_month", r"((?:19|20)[0-9]{2})/([1-9]|1[0-2])(?![0-9/.年])", _slash_month),
        rule("decade", r"([0-9]{2})(?=后)", _generation),
        rule("decades", r"([0-9][05])(?=(?:、|和|与|及)[0-9][05]后)", _digits_of),
        rule("decade_s", r"((?:1[89][0-9]|20[0-2])0)['’]?s(?![A-Za-z])", _decade_s),
        rule(
            "month_days", rf"([0-9]{{1,2}})月([0-9]{{1,2}})({_DASH})([0-9]{{1,2}})(?=日|号)", _days
        ),
        rule("dotted_day", r"([1-9]|1[0-2])\.([0-3]?[0-9])(?=[号日](?![线楼]))", _dotted_day),
        rule(
            "dotted_days",
            r"([1-9]|1[0-2])\.([0-3]?[0-9])[~～—–-]([1-9]|1[0-2])\.([0-3]?[0-9])(?![0-9.])",
            _dotted_days,
        ),
        rule("title", r"(?<=《)[0-9]{4}(?=》)", _digits_of),
        rule("months", rf"([0-9]{{1,2}})({_DASH})([0-9]{{1,2}})(?=月)", _pair),
        rule("days", rf"([0-9]{{1,2}})({_DASH})([0-9]{{1,2}})(?=[日号](?!楼|线))", _pair),
        rule("month", r"(0?[1-9]|1[0-2])(?=月)", _plain),
        rule("day", r"(0?[1-9]|[12][0-9]|3[01])(?=日)", _plain),
        rule("month_slash_day", r"([0-9]{1,2})/([0-9]{1,2})(?![0-9/.%])", _slash_day),
        rule("festival", r"([0-9]{1,2})[.·]([0-9]{1,2})(?![0-9.])", _festival),
        rule("sale", r"(?:618|315|818|1111|1212|911|520|512|921|718|425)(?![0-9.])", _sale),
        rule("bracketed", r"((?:19|20)[0-9]{2})(?=[〕\])）])", _bracketed),
        rule("year_event", r"((?:19|20)[0-9]{2})(?=[^0-9.,:/%~-])", _year_event),
    )


def spoken_date(year: str, month: str, day: str) -> str | None:
    """A date said in full, None when no calendar has it."""
    m, d = int(month), int(day)
    if not (1 <= m <= 12 and 1 <= d <= _DAYS[m - 1]):
        return None
    return f"{digits(year)}年{cardinal(str(m))}月{cardinal(str(d))}日"


def _ymd(match: re.Match[str]) -> str | None:
    if match.group(2) == "." and int(match.group(1)) < 1000:
        return None
    said = spoken_date(match.group(1), match.group(3), match.group(4))
    if said and match.group().endswith("号"):
        return said[:-1] + "号"
    return said


def _ymd_range(match: re.Match[str]) -> str | None:
    first, last = spoken_date(*match.groups()[:3]), spoken_date(*match.groups()[3:])
    return f"{first}到{last}" if first and last else None


def _ymd_days(match: re.Match[str]) -> str | None:
    """2026/3/8-3/10: the year holds for both."""
    year, *first = match.groups()[:3]
    said, last = spoken_date(year, *first), spoken_date(year, *match.groups()[3:])
    return f"{said}到{last.partition('年')[2]}" if said and last else None


def _slashes(match: re.Match[str]) -> str | None:
    parts = match.group().split("/")
    if len(parts) == 3 and len(parts[2]) == 4:
        for month, day in ((parts[0], parts[1]), (parts[1], parts[0])):
            said = spoken_date(parts[2], month, day)
            if said:
                return said
    if len(parts) == 3 and all(len(part) == 2 for part in parts):
        said = spoken_date(*parts)
        if said:
            return said
    return "斜杠".join(digits(p) if len(p) == 4 else cardinal(p) for p in parts)


def _compact(match: re.Match[str]) -> str | None:
    date = match.group()
    codes = tables.any_of(tables.words("contexts.tsv", "code_before"))
    if re.search(f"{codes}$", left(match)) or right(match, 1) in ("元", "个", "人"):
        return None
    return spoken_date(date[:4], date[4:6], date[6:])


def _named(match: re.Match[str]) -> str | None:
    month = _MONTHS[match.group(1)[:3].lower()]
    if not re.search(r"[\u4e00-\u9fff]", match.string):
        return None
    return spoken_date(match.group(3), str(month), match.group(2))


def _years(match: re.Match[str]) -> str | None:
    first, last = match.group(1), match.group(3)
    to = "至" if match.group(2) == "至" else "到"
    years = "年" if match.group()[len(first)] == "年" else ""
    if _is_year(match, first) and (len(last) == 4 or len(first) == 4):
        return f"{digits(first)}{years}{to}{digits(last)}"
    return None


def _span(match: re.Match[str]) -> str | None:
    first, last = match.group(1), match.group(3)
    if len(last) == 4 and not int(first) < int(last):
        return None
    return f"{digits(first)}{'至' if match.group(2) == '至' else '到'}{digits(last)}"


def _is_year(match: re.Match[str], number: str) -> bool:
    """Whether `number` before 年 names a year rather than counting years."""
    after = match.string[match.end() : match.end() + 4]
    before = match.string[max(0, match.start() - 4) : match.start()]
    if before.endswith(("公元", "公元前", "西元", "西元前", "前")) and not before.endswith("以前"):
        return len(number) > 2 or not before.endswith(("元", "元前"))
    counts = before.endswith(tables.words("contexts.tsv", "quantity_before"))
    if len(number) == 4:
        # 1500年历史 is how long, 1980年历史 when.
        if after.startswith("年历史") and re.fullmatch("1[0-8].0|..00", number):
            return False
        if number == "1000" or (
            number.endswith("00") and (counts or after[1:2] in ("前", "来", "的", "多", "间"))
        ):
            return False
        return 1000 <= int(number) < 2200 and not (
            counts and number.endswith("0") and (int(number) < 1500)
        )
    if before.endswith(tables.words("contexts.tsv", "reign")):
        return False
    if len(number) != 2 or counts or after[1:2] in ("前", "来", "间", "代", "多", "内", "里"):
        return False
    if match.string.startswith(tables.words("contexts.tsv", "short_year_event"), match.end() + 1):
        return True
    if (
        number[0] == "0"
        or after[1:2] in ("底", "初", "末")
        or re.match(r"年[0-9一二三四五六七八九十]{1,2}月", after)
    ):
        return True
    return int(number) > 60 and int(number) % 10 != 0


def _year(match: re.Match[str]) -> str | None:
    number = match.group(1)
    return digits(number) if _is_year(match, number) else None


def _year_month(match: re.Match[str]) -> str | None:
    if match.group(2) == "." and not re.match(
        r"(?:起|至|前|后|-|—|,|，|发布|出版|$)", right(match)
    ):
        return None
    return f"{digits(match.group(1))}年{cardinal(str(int(match.group(3))))}月"


def _slash_month(match: re.Match[str]) -> str:
    return f"{digits(match.group(1))}年{cardinal(match.group(2))}月"


def _generation(match: re.Match[str]) -> str | None:
    number = match.group(1)
    if number[1] not in "05" or right(match, 3)[1:] in ("天", "年"):
        return None
    if near(match) in ("了", "过", "约", "到", "近") or number in ("10", "20", "30", "40"):
        return None
    return digits(number)


def _digits_of(match: re.Match[str]) -> str:
    return digits(match.group())


def _decade_s(match: re.Match[str]) -> str:
    return f"{digits(match.group(1))}年代"


def _pair(match: re.Match[str]) -> str | None:
    first, last = int(match.group(1)), int(match.group(3))
    to = "至" if match.group(2) == "至" else "到"
    if 0 < first < last <= 31:
        return f"{cardinal(str(first))}{to}{cardinal(str(last))}"
    return None


def _days(match: re.Match[str]) -> str | None:
    month, first, last = int(match.group(1)), int(match.group(2)), int(match.group(4))
    if not (1 <= month <= 12 and first <= 31 and last <= 31):
        return None
    to = "至" if match.group(3) == "至" else "到"
    return f"{cardinal(str(month))}月{cardinal(str(first))}{to}{cardinal(str(last))}"


def _dotted_day(match: re.Match[str]) -> str | None:
    month, day = match.groups()
    if not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return None
    return f"{cardinal(month)}月{cardinal(str(int(day)))}"


def _dotted_days(match: re.Match[str]) -> str | None:
    if not right(match).startswith(tables.words("contexts.tsv", "dotted_range_after")):
        return None
    numbers = [int(number) for number in match.groups()]
    if any(not 1 <= day <= _DAYS[month - 1] for month, day in (numbers[:2], numbers[2:])):
        return None
    first, first_day, last, last_day = (cardinal(str(number)) for number in numbers)
    return f"{first}月{first_day}日到{last}月{last_day}日"


def _plain(match: re.Match[str]) -> str:
    return cardinal(str(int(match.group(1))))


def _slash_day(match: re.Match[str]) -> str | None:
    month, day = int(match.group(1)), int(match.group(2))
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]):
        return None
    after = tables.words("contexts.tsv", "slash_date_after")
    if not right(match).startswith(after):
        return None
    suffix = "" if right(match).startswith("日") else "日"
    return f"{cardinal(str(month))}月{cardinal(str(day))}{suffix}"


def _festival(match: re.Match[str]) -> str | None:
    month, day = int(match.group(1)), int(match.group(2))
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if (
        not right(match, 10)
        .lstrip('”"’」')
        .startswith(tables.words("contexts.tsv", "festival_after"))
    ):
        return None
    plain = f"{month}·{day}" in tables.words("contexts.tsv", "festival_plain")
    if plain and month == 10:
        return "十一"
    return (digits if plain else phone_digits)(match.group(1) + match.group(2))


def _sale(match: re.Match[str]) -> str | None:
    after = right(match, 10).lstrip('”"’」')
    quoted = near(match) in tuple("“‘「") and right(match)[:1] in tuple("”’」")
    beside = _SALE_BEFORE.search(left(match)) or _SALE_AFTER.match(right(match))
    if quoted or beside or after.startswith(tables.words("contexts.tsv", "festival_after")):
        return phone_digits(match.group())
    return None


def _bracketed(match: re.Match[str]) -> str | None:
    return digits(match.group(1)) if near(match) in ("〔", "[", "(", "（") else None


def _year_event(match: re.Match[str]) -> str | None:
    if match.string[match.end()] == "年" or (near(match).isalnum() and near(match).isascii()):
        return None
    return (
        digits(match.group(1))
        if right(match, 10).startswith(tables.words("contexts.tsv", "year_event"))
        else None
    )
