"""What stands beside a character that rules have to read: words and their parts of speech."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.text import tables
from worker.text.words import Word, WordKind

NUMBERED: Final = frozenset("一二三四五六七八九十两几百千万亿半零")


def neighbour(words: Sequence[Word], j: int) -> Word | None:
    """The word at `j`, None past an end or at a mark."""
    if 0 <= j < len(words) and words[j].kind in (WordKind.HANZI, WordKind.LATIN):
        return words[j]
    return None


class Sides(NamedTuple):
    """The words beside a character and their parts of speech, "" at an end or a mark."""

    before: str
    before_tag: str
    after: str
    after_tag: str
    later_tag: str
    words: Sequence[Word]
    at: int

    @property
    def ahead(self) -> str:
        """What follows, up to six words or a mark."""
        found = []
        for j in range(self.at + 1, min(self.at + 7, len(self.words))):
            if neighbour(self.words, j) is None:
                break
            found.append(self.words[j].text)
        return "".join(found)

    @property
    def behind(self) -> str:
        """What stands before, up to six words or a mark."""
        found: list[str] = []
        for j in range(self.at - 1, max(self.at - 7, -1), -1):
            if neighbour(self.words, j) is None:
                break
            found.insert(0, self.words[j].text)
        return "".join(found)

    @property
    def earlier_tag(self) -> str:
        """The part of speech of the word before the one before."""
        earlier = neighbour(self.words, self.at - 2)
        return earlier.tag if earlier else ""

    @property
    def verb_before(self) -> bool:
        return self.before_tag[:1] == "v"

    @property
    def verb_after(self) -> bool:
        return self.after_tag[:1] == "v"

    @property
    def number_before(self) -> bool:
        return self.before[-1:] in NUMBERED and self.before != ""

    def before_is(self, key: str) -> bool:
        return self.before in tables.word_set("g2p.tsv", key)

    def after_is(self, key: str) -> bool:
        return self.after in tables.word_set("g2p.tsv", key)
