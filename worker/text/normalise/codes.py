"""Numbers that name rather than count: codes, rooms, flights, trains, plates, models."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.numbers import cardinal, digits, phone_digits
from worker.text.normalise.rule import Rule, left, near, right, rule

_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼港澳台"
_STANDARD: Final = (
    r"(?:GB|ISO|IEC|IEEE|RFC|DIN|ASTM|JB|YY|DB|HJ|QB|SB|NY|DL|JGJ|CJJ)(?:/[A-Z]{1,3})?"
    r"[ -]?[0-9]{3,6}(?:\.[0-9]{1,2})?(?:[-—:][0-9]{2,4})?(?![0-9])"
)
_END: Final = r"(?![0-9])(?!\.[0-9])"
# Identity cards: a region, a date of birth, a serial number and a check sign.
_IDENTITY: Final = (
    r"[1-8][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]"
)
_COURT: Final = rf"[0-9][)）〕](?:最高法?|[{_PROVINCES}])"


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("plate", r"([A-Z])[· ]?([A-Z0-9]{5,6}|[A-Z0-9]{4}(?=[港澳]))(?![A-Za-z0-9])", _plate),
        rule("train", rf"([GDCZTKYLS])([0-9]{{1,4}}){_END}", _train),
        rule("flight", rf"([A-Z0-9][A-Z])([0-9]{{3,4}}){_END}", _flight),
        rule("standard", _STANDARD, _standard),
        rule("wireless", r"802\.11([A-Za-z]{0,2})(?![A-Za-z0-9])", lambda m: f"八零二点幺幺{m[1]}"),
        rule("stock", r"([0-9]{4,6})\.(SH|SZ|HK|BJ|SS)(?![A-Za-z0-9])", _stock),
        rule("identity", rf"{_IDENTITY}(?![0-9A-Za-z])", _filing),
        rule("named", _named_pattern(), _named),
        rule("named_together", _together_pattern(), _filing),
        rule("slang", r"(?:996|66{2,5}|8{3,5}|23{2,5})(?![0-9.%a-zA-Z])", _slang),
        rule("http", r"(?<=HTTP) ?([1-5][0-9]{2})(?![0-9.])", _http),
        rule("isotope", rf"(?<=[{_isotopes()}])[-‐]?([0-9]{{2,3}}){_END}", _isotope),
        rule("case", r"[0-9]{1,6}(?=[民刑行执知财]|号)", _case),
        rule("filing", r"[0-9]{5,20}(?=号(?![线楼]))", _filing),
        rule("share", r"(?<=[(（])(?:60[0135]|68[89]|00[0-3]|30[01])[0-9]{3}(?=[)）])", _filing),
        rule("card", r"[0-9]{4}(?: [0-9]{4}){2,5}(?: [0-9]{1,4})?(?![0-9.])", _card),
        rule("code", r"[A-Za-z0-9]{2,40}(?:-[A-Za-z0-9]{1,20}){0,6}(?!\.[0-9])", _code),
        rule("room", rf"([0-9]{{3,4}}){_END}", _room),
        rule("formation", r"[1-6](?:-?[1-6]){1,3}(?=阵型|联防|站位|阵容)", _formation),
        rule("doors", r"[0-9]{1,7}(?:-[0-9]{1,7}){2,5}(?![0-9/-])", _doors),
        rule("door", r"[0-9]{1,4}-[0-9]{1,4}(?![0-9.-])", _door),
        rule("figure", r"(?<=[图表式例题])[0-9]{1,3}-[0-9]{1,3}(?![0-9/-])", _doors),
        rule("suffix", r"(?<=[0-9]号)-([0-9]{1,3})(?![0-9.号日楼])", _suffix),
        rule("port", r"[0-9]{3,5}(?= ?端口)", _filing),
        rule("model", rf"([0-9]{{3,5}}){_END}", _model),
        rule("train_number", r"([0-9]{3,4})(?=次(?:列车|航班|火车|特快|快车|车))", _train_number),
    )


def _standard(match: re.Match[str]) -> str:
    """Names of standards: GB/T 19001-2016."""
    return " ".join(phone_digits(part) for part in re.split(r"[ /:.—-]+", match.group()))


def _filing(match: re.Match[str]) -> str:
    return phone_digits(match.group())


def _stock(match: re.Match[str]) -> str:
    return f"{phone_digits(match.group(1))}点{match.group(2)}"


def _named_pattern() -> str:
    """Numbers that name with what follows them: 211工程, 360安全卫士."""
    pairs = (word.split("/") for word in tables.words("contexts.tsv", "named"))
    either = "|".join(f"{re.escape(number)}(?= ?{rest})" for number, rest in pairs)
    # The look ahead spares most numbers the list.
    return f"(?=[0-9]{{1,4}}(?![0-9,.%:/年月日个万亿]))(?:{either})"


def _together_pattern() -> str:
    """Numbers that name, one listed with the other: 985、211."""
    number = tables.any_of(tables.words("contexts.tsv", "named_together"))
    sides = "|".join(f"(?<={n}[、和与或/])" for n in tables.words("contexts.tsv", "named_together"))
    end = r"(?![0-9.%])"
    return rf"(?<![0-9.]){number}{end}(?=[、和与或/]{number}{end})|(?:{sides}){number}{end}"


def _named(match: re.Match[str]) -> str | None:
    if near(match) in tuple("0123456789."):
        return None
    return phone_digits(match.group().replace("-", ""))


def _slang(match: re.Match[str]) -> str | None:
    """Digits that are a word of their own: 每天996, 太666了."""
    quantity = ("元", "号", "家", "万", "亿", "分之", "~", "-", "+", "=", "/", ",")
    if right(match).startswith((*tables.words("measures.tsv", "measure"), *quantity)):
        return None
    spoken = re.search("[\u4e00-\u9fff“]$", left(match)) and re.match(
        "[\u4e00-\u9fff”，。！]|$", right(match)
    )
    counts = left(match)[-1:] in tables.words("contexts.tsv", "value_before")
    return digits(match.group()) if spoken and not counts else None


def _http(match: re.Match[str]) -> str:
    return f" {digits(match.group(1))}"


def _isotopes() -> str:
    return "".join(tables.words("contexts.tsv", "isotope"))


def _isotope(match: re.Match[str]) -> str | None:
    """Three digits of an isotope one by one: 铀-235, 碘131."""
    if right(match).startswith(tables.words("measures.tsv", "measure")):
        return None
    number = match.group(1)
    return phone_digits(number) if len(number) > 2 else cardinal(number)


def _case(match: re.Match[str]) -> str | None:
    """The numbers of a court and of its case: （2023）京01民终1234号."""
    before = left(match, 14)
    court = re.search(rf"{_COURT}$", before) and match.string[match.end()] != "号"
    filed = re.search(rf"{_COURT}[0-9]{{0,4}}[\u4e00-\u9fff]{{1,4}}$", before)
    return phone_digits(match.group()) if court or filed else None


def letters_and_digits(text: str) -> str:
    """A code as it is said: letters as they are, digits one by one with 幺.

    >>> letters_and_digits("CA1501")
    'CA幺五零幺'
    """
    return phone_digits(text)


def _plate(match: re.Match[str]) -> str | None:
    if near(match) not in _PROVINCES or not near(match):
        return None
    if not any(c.isdigit() for c in match.group(2)):
        return None
    tail = match.group(2)
    said = phone_digits(tail) if re.search("[A-Z]", tail) or "1" in tail else digits(tail)
    return f"{match.group(1)}{said}"


def _train(match: re.Match[str]) -> str | None:
    after = right(match).startswith(tables.words("contexts.tsv", "train_after"))
    before = left(match).endswith(tables.words("contexts.tsv", "train_before"))
    if not (
        after
        or before
        or (
            match.group(1) in "GDCK"
            and len(match.group(2)) == 4
            and near(match) not in "0123456789."
        )
    ):
        return None
    return f"{match.group(1)}{phone_digits(match.group(2))}"


def _flight(match: re.Match[str]) -> str | None:
    after = right(match).startswith(tables.words("contexts.tsv", "flight_after"))
    before = left(match).endswith(tables.words("contexts.tsv", "flight_before"))
    return letters_and_digits(match.group()) if after or before else None


def _code(match: re.Match[str]) -> str | None:
    code = match.group()
    if not re.search(r"[0-9]", code):
        return None
    before = left(match, 12)
    keys = tables.words("contexts.tsv", "code_before")
    if not before.endswith(keys) or (right(match, 1) in "元个万亿" and right(match, 1)):
        return None
    if code.isdigit() and (len(code) < 3 or (len(code) < 4 and before.endswith("订单"))):
        return None
    # A hyphen inside a code is only a pause.
    return " ".join(phone_digits(part) for part in code.split("-"))


def _card(match: re.Match[str]) -> str | None:
    """The number of a bank card in groups of four."""
    keys = (*tables.words("contexts.tsv", "code_before"), "卡")
    return phone_digits(match.group()) if left(match, 12).endswith(keys) else None


def _room(match: re.Match[str]) -> str | None:
    after = right(match).startswith(tables.words("contexts.tsv", "room_after"))
    before = left(match).endswith(tables.words("contexts.tsv", "room_before"))
    if right(match).startswith(("间", "个", "元", "平", "人", "多")):
        return None
    floor = re.search("([0-9]{1,2})[层楼]$", left(match))
    if floor and match.group(1).startswith(floor.group(1)):
        return phone_digits(match.group(1))
    return phone_digits(match.group(1)) if after or before else None


def _formation(match: re.Match[str]) -> str:
    """How a team stands: 4-4-2阵型."""
    return digits(match.group().replace("-", ""))


def _doors(match: re.Match[str]) -> str:
    parts = match.group().split("-")
    return "杠".join(phone_digits(p) if len(p) > 2 else cardinal(p) for p in parts)


def _door(match: re.Match[str]) -> str | None:
    """A door after its building: 12栋3-502, A座12-3."""
    ranged = tables.words("measures.tsv", "measure") + tables.words("measures.tsv", "ordinal")
    inside = left(match).endswith(("号楼", "单元")) and re.search("[0-9]{3}$", match.group())
    if near(match) not in tuple("栋幢座") and not inside:
        return None
    return None if right(match).startswith(ranged) else _doors(match)


def _suffix(match: re.Match[str]) -> str:
    return f"杠{cardinal(match.group(1))}"


def _model(match: re.Match[str]) -> str | None:
    before = left(match)
    road = right(match).startswith(tables.words("contexts.tsv", "model_after"))
    road = road and not right(match).startswith(("路人", "路边"))
    if not road and not before.endswith(tables.words("contexts.tsv", "model_before")):
        return None
    if right(match).startswith(("架", "辆", "台", "个", "元", "万", "公里", "米", "名", "亿")):
        return None
    return phone_digits(match.group(1))


def _train_number(match: re.Match[str]) -> str:
    return phone_digits(match.group(1))
