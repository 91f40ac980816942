"""Numbers as they are said: cardinals, digit strings, decimals, years.

The choice between 二 and 两 inside a number is made here; before a measure word by the caller,
who knows what follows.
"""

from typing import Final

DIGITS: Final = "零一二三四五六七八九"
_PHONE: Final = str.maketrans("0123456789", "零幺二三四五六七八九")
_PLAIN: Final = str.maketrans("0123456789", DIGITS)
_PLACES: Final = ("", "十", "百", "千")
_GROUPS: Final = ("", "万", "亿", "万亿")
LONGEST_CARDINAL: Final = 16


def digits(number: str) -> str:
    """`number` digit by digit, as years and codes are read.

    >>> digits("2026")
    '二零二六'
    """
    return number.translate(_PLAIN)


def phone_digits(number: str) -> str:
    """`number` digit by digit with 幺 for one, as telephone and room numbers are read.

    >>> phone_digits("110")
    '幺幺零'
    """
    return number.translate(_PHONE)


def cardinal(number: str) -> str:
    """The quantity `number`, a string of digits; digit by digit if it leads with 0 or is too long.

    >>> cardinal("10010"), cardinal("2020"), cardinal("220")
    ('一万零一十', '两千零二十', '两百二十')
    """
    if (len(number) > 1 and number[0] == "0") or len(number) > LONGEST_CARDINAL:
        return digits(number)
    if int(number) == 0:
        return "零"
    spoken = _groups(number)
    return spoken[1:] if spoken.startswith("一十") else spoken


def _groups(number: str) -> str:
    """Groups of four digits, highest first, one 零 for each gap between them."""
    parts: list[str] = []
    width = len(number) % 4 or 4
    groups = [number[:width], *(number[i : i + 4] for i in range(width, len(number), 4))]
    gap = False
    for place, group in enumerate(groups):
        name = _GROUPS[len(groups) - 1 - place]
        if int(group) == 0:
            gap = True
            continue
        if parts and (gap or group[0] == "0"):
            parts.append("零")
        parts.append(_group(group.lstrip("0"), bool(name)) + name)
        gap = False
    return _join_trillions("".join(parts), groups)


def _join_trillions(spoken: str, groups: list[str]) -> str:
    """一万亿二千亿 is said 一万二千亿: 亿 once, after its last group."""
    if len(groups) == 4 and int(groups[1]) != 0:
        return spoken.replace("万亿", "万", 1)
    return spoken


def _group(group: str, named: bool) -> str:
    """Up to four digits without leading zero; `named` when 万 or 亿 follows."""
    if group == "2" and named:
        return "两"
    spoken = ""
    gap = False
    for i, digit in enumerate(group):
        place = len(group) - 1 - i
        if digit == "0":
            gap = True
            continue
        if spoken and gap:
            spoken += "零"
        gap = False
        spoken += _digit(digit, place, first=i == 0, last=int(group[i + 1 :] or "0") == 0)
        spoken += _PLACES[place]
    return spoken


def _digit(digit: str, place: int, *, first: bool, last: bool) -> str:
    """两 before 千, and before 百 where it leads or closes the group (两百二十, 一千两百)."""
    if digit == "2" and (place == 3 or (place == 2 and (first or last))):
        return "两"
    return DIGITS[int(digit)]


def ordinal(number: str) -> str:
    """`number` as it names a place in an order: 二 before 百 and 千 too.

    >>> ordinal("200"), ordinal("2012")
    ('二百', '二千零一十二')
    """
    return cardinal(number).replace("两", "二")


def decimal(number: str) -> str:
    """`number` with at most one dot and thousands commas, as a quantity.

    >>> decimal("1,234.50"), decimal(".5")
    ('一千二百三十四点五零', '零点五')
    """
    whole, dot, fraction = number.replace(",", "").partition(".")
    spoken = cardinal(whole or "0")
    return f"{spoken}点{digits(fraction)}" if dot and fraction else spoken


def signed(number: str) -> str:
    """`number` with an optional sign, as a quantity."""
    if number[:1] in "-−﹣":
        return "负" + decimal(number[1:])
    return ("正" if number[:1] == "+" else "") + decimal(number.lstrip("+"))


def money(number: str) -> str:
    """An amount: zeros that close the fraction are not said.

    >>> money("12.50"), money("3.00")
    ('十二点五', '三')
    """
    whole, dot, fraction = number.replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return decimal(whole + (dot + fraction if fraction else ""))


def counted(number: str) -> str:
    """`number` before a measure word: a lone 2 is 两.

    >>> counted("2"), counted("12")
    ('两', '十二')
    """
    return "两" if number == "2" else decimal(number)


_ROMAN: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(number: str) -> int | None:
    """The value of a Roman numeral below 40, None for anything else.

    >>> roman("IV"), roman("IIII"), roman("IX")
    (4, None, 9)
    """
    total = 0
    for i, letter in enumerate(number):
        value = _ROMAN.get(letter, 0)
        following = _ROMAN.get(number[i + 1], 0) if i + 1 < len(number) else 0
        total += -value if value < following else value
    return total if 0 < total < 40 and _to_roman(total) == number else None


def _to_roman(value: int) -> str:
    tens, units = divmod(value, 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[units]
