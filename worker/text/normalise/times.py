"""Times of day and lengths of time."""

import re
from typing import Final

from worker.text import tables
from worker.text.normalise.numbers import cardinal, counted, decimal, digits
from worker.text.normalise.rule import NO_LETTER, PERIOD, Rule, left, near, right, rule

_CLOCK: Final = r"([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?:[:：]([0-5][0-9])(?:\.[0-9]{1,3})?)?"
_HALF: Final = r"(?: ?([AaPp])\.?[Mm]\.?" + NO_LETTER + ")?"
_NO_MORE: Final = r"(?![0-9:：])"


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    clock = _CLOCK + _HALF
    return (
        rule("stopwatch", r"([0-5]?[0-9])[:：]([0-5][0-9])\.([0-9]{1,3})(?![0-9.:：])", _stopwatch),
        rule("clock_range", rf"{clock} ?[~～—–-]{{1,2}} ?{clock}{_NO_MORE}", _range),
        rule("clock", rf"{clock}{_NO_MORE}(?!\.[0-9])", _clock),
        rule("hour", r"(1[0-2]|0?[1-9]) ?([AaPp])\.?[Mm]" + NO_LETTER + r"\.?", _hour),
        rule("hms", r"([0-9]{1,3})h ?([0-9]{1,2})(?:min|m)(?: ?([0-9]{1,2})s)?" + NO_LETTER, _hms),
        rule("ms", r"([0-9]{1,3})(?:min|m) ?([0-9]{1,2})s" + NO_LETTER, _ms),
        rule("primes", r"([0-9]{1,2})['′’]([0-9]{1,2})(?:\"|″|”|'')", _primes),
        rule("oclock", r"(0?[0-9]|1[0-9]|2[0-4])(?=[点时][0-9半整一二三四五钟])", _oclock),
        rule("minute", r"(0[0-9])(?=分)", _leading_zero),
        rule("second", r"(0[0-9])(?=秒)", _leading_zero),
    )


def spoken_clock(hour: str, minute: str, second: str | None, half: str | None = None) -> str:
    """A time of day said in full; `half` is `a` or `p` for the half of the day.

    >>> spoken_clock("8", "05", None), spoken_clock("14", "00", None)
    ('八点零五分', '十四点')
    """
    said = f"{_half_day(int(hour), half)}{counted(str(int(hour)))}点"
    if int(minute) or (second and int(second)):
        said += f"{_two_digits(minute)}分"
    if second and int(second):
        said += f"{_two_digits(second)}秒"
    return said


def _two_digits(number: str) -> str:
    value = int(number)
    return f"零{cardinal(str(value))}" if 0 < value < 10 else cardinal(str(value))


def _half_day(hour: int, half: str | None) -> str:
    if half is None:
        return ""
    if half.lower() == "a":
        return "凌晨" if hour < 5 or hour == 12 else "上午"
    if hour == 12:
        return "中午"
    return "下午" if hour < 6 else "晚上"


def _is_score(match: re.Match[str]) -> bool:
    # The scores of several games follow one another: 21:19、21:17击败.
    after = re.sub("^(?:[、，,和] ?[0-9]{1,3}[:：][0-9]{1,3}){1,6}", "", right(match, 40))
    before = re.sub("(?:[0-9]{1,3}[:：][0-9]{1,3}[、，,和]){1,6}$", "", left(match, 40))
    before, after = before.rstrip(" ：:是为#"), after[:8].lstrip()
    # A lesson begins at a time: 第一节8:00.
    if PERIOD.search(before) and before[-1] != "节":
        return True
    if before.endswith(tables.words("contexts.tsv", "ratio_before")):
        return True
    ends = (
        *tables.words("contexts.tsv", "score_after"),
        *tables.words("contexts.tsv", "ratio_after"),
    )
    if after.startswith(ends):
        return True
    scored = before.endswith(tables.words("contexts.tsv", "score_before"))
    # 以 and 分 also stand before a time of day: 三分 ten past, 以 with nothing after.
    return scored and (not after or not before.endswith(("以", "分")))


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second, half = match.groups()
    if second is None and half is None and _is_score(match):
        return None
    if int(hour) == 24 and int(minute) > 0:
        return None
    timed = left(match).endswith(tables.words("contexts.tsv", "duration_before"))
    if second and right(match).startswith(tables.words("contexts.tsv", "duration_after")):
        timed = True
    if half is None and timed:
        # 03:25 on a stopwatch is minutes and seconds.
        return _duration(hour, minute, second) if second else _duration("0", hour, minute)
    # A half of the day that the text has said already is not said again.
    if half and left(match).endswith(("上午", "下午", "晚上", "早上", "中午", "凌晨", "傍晚")):
        half = None
    return spoken_clock(hour, minute, second, half)


def _duration(hour: str, minute: str, second: str) -> str:
    """A length of time written as on a stopwatch."""
    minutes = _two_digits(minute) if int(hour) else cardinal(str(int(minute)))
    hours = f"{counted(str(int(hour)))}小时" if int(hour) else ""
    return f"{hours}{minutes}分{_two_digits(second)}秒"


def _stopwatch(match: re.Match[str]) -> str | None:
    """Minutes, seconds and their fraction, where something was run or swum: 800米1:40.91."""
    before = left(match, 20)
    # A zero in front, or the frame of a line of a song, is a clock's and no ratio's.
    timed = match.group()[0] == "0" or near(match) in tuple("[<")
    timed = timed or re.search("[米泳跑滑圈速程时绩录冠]", before) is not None
    if not timed or before.endswith(tables.words("contexts.tsv", "ratio_before")):
        return None
    minutes, seconds, fraction = match.groups()
    return f"{counted(str(int(minutes)))}分{_two_digits(seconds)}秒{digits(fraction)}"


def _range(match: re.Match[str]) -> str:
    hour, minute, second, half, last_hour, last_minute, last_second, last_half = match.groups()
    if last_half and not half:
        # 8:00-9:00 AM: the half of the day holds for both.
        half, last_half = last_half, None
    first = spoken_clock(hour, minute, second, half)
    return f"{first}到{spoken_clock(last_hour, last_minute, last_second, last_half)}"


def _hour(match: re.Match[str]) -> str | None:
    half = match.group(2)
    if left(match).endswith(("上午", "下午", "晚上", "早上", "中午", "凌晨")):
        half = None
    return spoken_clock(match.group(1), "00", None, half)


def _hms(match: re.Match[str]) -> str:
    hours, minutes, seconds = match.groups()
    said = f"{counted(hours)}小时{counted(str(int(minutes)))}分钟"
    return said + (f"{counted(str(int(seconds)))}秒" if seconds else "")


def _ms(match: re.Match[str]) -> str:
    return f"{counted(match.group(1))}分{counted(str(int(match.group(2))))}秒"


def _primes(match: re.Match[str]) -> str:
    return f"{cardinal(str(int(match.group(1))))}分{decimal(str(int(match.group(2))))}秒"


def _oclock(match: re.Match[str]) -> str | None:
    return counted(str(int(match.group(1))))


def _leading_zero(match: re.Match[str]) -> str:
    value = int(match.group(1))
    return f"零{cardinal(str(value))}"
