"""Readings that the text right beside a word decides, as patterns in `beside.tsv`.

A row is a pattern and readings; the last group of the pattern is what they are for. It must begin
where a word begins, so that 弹了 says nothing of 炮弹了.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from worker.text import tables
from worker.text.sides import NUMBERED
from worker.text.words import Word

_GROUP = re.compile(r"\(([^()?])[^()?]*\)")


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    readings: tuple[str, ...]


class Beside:
    """The patterns by the character that the last group begins with; no state between calls."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, list[_Row]] = defaultdict(list)
        for written, said in tables.rows("beside.tsv"):
            *_, head = _GROUP.findall(written)
            self._rows[head].append(_Row(re.compile(written), tuple(said.split(" "))))
        self._heads = frozenset(self._rows)

    def readings(self, spoken: str, words: Sequence[Word]) -> dict[int, str]:
        """The readings that patterns decide, by place; a later row goes before an earlier one."""
        heads = self._heads.intersection(spoken)
        if not heads:
            return {}
        starts = {at for word in words for at in _starts(word)}
        found: dict[int, str] = {}
        # Most 得 and 行 stand inside a word: their patterns need no look.
        for head in heads.intersection([spoken[at] for at in starts]):
            for pattern, said in self._rows[head]:
                for match in pattern.finditer(spoken):
                    at = match.start(pattern.groups)
                    if at in starts:
                        found |= dict(enumerate(said, at))
        return found


def _starts(word: Word) -> Sequence[int]:
    """Where words begin in a word: everywhere in a number with its measure, 三行."""
    return range(word.start, word.end if word.text[0] in NUMBERED else word.start + 1)
