"""Surnames that are read otherwise than the word: 单 shan4, 任 ren2, 尉迟 yu4 chi2."""

from collections.abc import Sequence
from typing import Final

from worker.text import tables
from worker.text.words import Word

# What a surname may follow in one word of the segmenter's.
_FAMILIAR: Final = {"老": "lao3", "小": "xiao3"}


class Surnames:
    """The list of surnames with readings of their own."""

    def __init__(self) -> None:
        self._readings = {row[0]: row[1:] for row in tables.words("g2p.tsv", "surname")}
        self.characters = frozenset(name for name in self._readings if len(name) == 1)
        # Companies and places begin with these as often as people do.
        self.unsure = tables.word_set("g2p.tsv", "surname_unsure")
        self._not_names = tables.words("g2p.tsv", "surname_not")

    def reading(self, words: Sequence[Word], i: int) -> tuple[str, ...] | None:
        """The reading of a one-character word that is a surname, None when it is no surname.

        A longer name gets its readings elsewhere but for the head, see `head`.
        """
        word = words[i]
        if len(word.text) == 2 and word.text[0] == "姓" and word.text[1] in self._readings:
            return ("xing4", self._readings[word.text[1]])
        after = words[i + 1] if i + 1 < len(words) else None
        if len(word.text) == 2 and word.text[0] in _FAMILIAR and word.text[1] in self._readings:
            # 老单, which the segmenter guessed.
            named = after is None or after.tag[:1] in ("v", "", "p", "d", "u")
            return (_FAMILIAR[word.text[0]], self._readings[word.text[1]]) if named else None
        if len(word.text) != 1 or word.text not in self._readings:
            return None
        before = words[i - 1].text if i else ""
        titled = after is not None and after.text.startswith(tables.words("g2p.tsv", "titles"))
        ends = after is None or after.tag[:1] in ("v", "")
        if titled or before.endswith("姓") or (before in ("老", "小") and ends):
            return (self._readings[word.text],)
        return None

    def head(self, word: Word) -> str | None:
        """The reading of the first character of a name such as 任正非, None where none applies."""
        if not word.tag.startswith("nr") or not 2 <= len(word.text) <= 4:
            return None
        if word.text[0] not in self._readings or word.text.startswith(self._not_names):
            return None
        return self._readings[word.text[0]]
