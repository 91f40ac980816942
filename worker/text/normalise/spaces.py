"""Spaces that Chinese typesetting puts between numbers and characters, and that nobody hears.

`2024 年 5 月` is read as `2024年5月`. A number before a word that is no unit keeps its space, and
so does one that heads a line: `2 项目背景` counts nothing.
"""

import re
from functools import cache
from typing import Final

from worker.text import tables
from worker.text.characters import HANZI

# What a number at the head of a line may count; any other is the number of a heading.
_HEAD: Final = re.compile(r"(?:^|\n) *[0-9]{1,2} (?![年月日号点个岁元万亿天人时分到至])")
_COUNTS: Final = "年月日号点时分秒后强届版折层楼室章讲课集"


@cache
def _pattern() -> re.Pattern[str]:
    units = {*tables.words("measures.tsv", "measure"), *tables.words("measures.tsv", "ordinal")}
    words = tables.any_of(tables.words("measures.tsv", "no_unit"))
    unit = f"(?!{words}){tables.any_of({*units, *_COUNTS})}"
    # A numeral on the left would become part of another number: 三 5.
    before = f"(?<=[{HANZI}] )(?<![〇零一二三四五六七八九十] )"
    spaces = (
        "(?<=[第到至] )(?=[0-9])",
        "(?<=[0-9] )(?=[到至] ?[0-9])",
        rf"{before}(?=[0-9][0-9.,]{{0,31}} ?{unit})",
        f"(?<=[0-9] )(?={unit})",
    )
    return re.compile(f" (?:{'|'.join(spaces)})")


def tighten(text: str) -> tuple[str, list[int]]:
    """`text` without those spaces, and where each of its characters stood, its end last.

    No places where there are no such spaces.
    """
    dropped = {match.start() for match in _pattern().finditer(text)}
    dropped.difference_update(match.end() - 1 for match in _HEAD.finditer(text))
    if not dropped:
        return text, []
    places = [at for at in range(len(text) + 1) if at not in dropped]
    return "".join(text[at] for at in places[:-1]), places


def loosen(places: list[int], tight: str, at: int) -> int:
    """Where a piece that begins or ends at `at` of the tight text does so in the text itself.

    The space beside a number is part of its piece.
    """
    if 0 < at < len(tight) and tight[at].isdigit():
        return places[at - 1] + 1
    return places[at]
