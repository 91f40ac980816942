"""Readings: which syllable each Chinese character is, before any change of tone between them.

In order: the user's lexicon, our own words, phrase lists inside the segmenter's words, rules for
frequent polyphones, what stands beside a word, the model for the rest. Tones that change in
context are `sandhi`'s.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from worker.text import polyphone_rules, tables
from worker.text.beside import Beside
from worker.text.names import Surnames
from worker.text.polyphones import PolyphoneModel
from worker.text.sides import NUMBERED
from worker.text.words import Segmenter, Word, WordKind

_LONGEST_PHRASE: Final = 12
# Words whose look-ups are kept, most of those in daily use.
_CACHED: Final = 16_384
_NAMES: Final = ("nr", "nrt")
# Parts of speech of words that no rule looks into: names, and what markup made one word.
_WHOLE: Final = frozenset(("nr", "nrt", "nrfg", "ns", "nt", "nz", "w"))


class Lexicon:
    """Words with their readings, the most trusted source first; read once."""

    def __init__(self) -> None:
        self.characters = {c: reading for reading, chars in _rows("characters.tsv") for c in chars}
        self._alone = {w[0]: w[1:] for w in tables.words("g2p.tsv", "default")}
        phrases = _rows("phrases.tsv")
        self._phrases = {word: tuple(said.split(" ")) for word, said in phrases}
        own = {word: tuple(said.split(" ")) for word, said in _rows("readings.tsv")}
        self._phrases |= own
        self._own = frozenset(own)
        self._usual = frozenset(
            word for row in tables.rows("usual_words.tsv") for word in row[0].split(" ")
        )
        self._neutral = frozenset(tables.words("neutral.tsv", "neutral"))
        self._inside_neutral = tables.word_set("neutral.tsv", "inside")
        self._full_de = tables.word_set("g2p.tsv", "de_full")
        self._directions = tables.word_set("g2p.tsv", "direction_after_verb")
        self._full_zi = frozenset(tables.words("g2p.tsv", "zi_full"))

    def default(self, char: str) -> str:
        """The reading of a character that stands alone, "" for one that no list has."""
        return self._alone.get(char) or self.characters.get(char, "")

    def reading(self, word: str) -> tuple[str, ...] | None:
        """The readings of a listed word of two characters or more, None for any other."""
        said = self._phrases.get(word)
        if said is None and (word in self._usual or word in self._neutral):
            said = tuple(self.characters.get(c, "") for c in word)
        if len(word) == 4 and word[0] == word[1] and word[2] == word[3] and word not in self._own:
            said = self._doubled(word) or said
        if said is None:
            return None
        return self._with_neutral(word, said)

    def _doubled(self, word: str) -> tuple[str, ...] | None:
        """漂漂亮亮 is read as 漂亮 is, but no syllable of it is neutral."""
        once = self.reading(word[::2])
        if once is None:
            return None
        first, second = once
        if second.endswith("5"):
            second = self.default(word[2])
        return (first, first, second, second)

    def complement(self, word: str) -> int:
        """Where 得 opens a complement in a verb: 累得, 来得及, 说得过去; 0 where it does not."""
        opens = len(word) == 3 or word[2:] in self._directions
        if word[1:2] == "得" and opens and word[:2] not in self._full_de:
            return 1
        ends = len(word) in (2, 3) and word[-1] == "得" and word[-2:] not in self._full_de
        return len(word) - 1 if ends else 0

    def has_phrase(self, word: str) -> bool:
        """Whether `word` is listed because it is not read character by character."""
        return word in self._phrases

    def heads(self) -> Iterator[str]:
        """The first two characters of every phrase."""
        return (phrase[:2] for phrase in self._phrases)

    def _with_neutral(self, word: str, said: tuple[str, ...]) -> tuple[str, ...]:
        if word not in self._own and (de := self.complement(word)):
            said = (*said[:de], "de5", *said[de + 1 :])
            if de == 1 and len(word) == 2:
                return said
        if len(word) > 2 and word[:2] in self._inside_neutral:
            said = (said[0], said[1][:-1] + "5", *said[2:])
        if self.ends_neutral(word):
            return (*said[:-1], said[-1][:-1] + "5")
        return said

    def ends_neutral(self, word: str) -> bool:
        """Whether the last syllable of `word` is neutral: listed, or 子 as a suffix."""
        if word in self._neutral or (len(word) > 2 and word[-2:] in self._inside_neutral):
            return True
        if word[-1] != "子" or len(word) < 2 or word in self._full_zi:
            return False
        return word[-2:] not in self._full_zi


def _rows(name: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in tables.rows(name)]


class Reader:
    """Gives every Chinese character of a sentence its reading; no state between calls."""

    def __init__(self, segmenter: Segmenter, custom: dict[str, tuple[str, ...]]) -> None:
        self._segmenter = segmenter
        self._custom = custom
        self._lexicon = Lexicon()
        self._model = PolyphoneModel()
        self._surnames = Surnames()
        self._beside = Beside()
        # Characters whose usual reading is right so often that the model only adds mistakes.
        self._settled = tables.word_set("g2p.tsv", "settled")
        self._degrees = tables.word_set("g2p.tsv", "degree")
        self._ends = {w[0]: w[1:] for w in tables.words("g2p.tsv", "word_end")}
        # Few places in a text begin a phrase; the others need no look at their words.
        self._heads = frozenset((*self._lexicon.heads(), *(word[:2] for word in custom)))
        self._listed = lru_cache(maxsize=_CACHED)(self._lexicon.reading)
        self._is_known = lru_cache(maxsize=_CACHED)(self._look_up)
        self._spelled = lru_cache(maxsize=_CACHED)(self._spell)

    def knows(self, char: str) -> bool:
        """Whether a reading of the character is known."""
        return bool(self._lexicon.default(char))

    def readings(self, spoken: str, words: Sequence[Word]) -> list[str]:
        """A reading such as `hao3` for each character of `spoken`; "" where there is none."""
        words = self._known_parts(words)
        said = [""] * len(spoken)
        open_at: list[int] = []
        for i, word in enumerate(words):
            if word.kind is WordKind.HANZI:
                self._word(words, i, said, open_at)
        self._across(spoken, words, said, open_at)
        for at, reading in self._beside.readings(spoken, words).items():
            if not self._is_custom(spoken, at):
                said[at] = reading
                open_at = [place for place in open_at if place != at]
        self._ask_model(spoken, said, open_at)
        return said

    def _is_custom(self, spoken: str, at: int) -> bool:
        """Whether a word of the user's lexicon covers the place."""
        near = (
            (word, spoken[max(0, at - len(word) + 1) : at + len(word)]) for word in self._custom
        )
        return any(word in text for word, text in near)

    def _known_parts(self, words: Sequence[Word]) -> Sequence[Word]:
        """A word the segmenter guessed comes apart, so that rules see what stands beside a
        polyphone: 太重, 他长. Names and listed words stay whole."""
        found: list[Word] = []
        for word in words:
            text, start, kind, tag = word
            guessed = 2 <= len(text) <= 3 and kind is WordKind.HANZI and tag not in _WHOLE
            if guessed and self._is_degree(text):
                # 太长, 很重: the dictionary has them, no list says how they are read.
                found += [Word(text[0], start, kind, "d"), Word(text[1], start + 1, kind, "a")]
            elif not guessed or self._is_known(text):
                found.append(word)
            elif tag[:1] != "n":
                found += [Word(char, start + i, kind, tag) for i, char in enumerate(text)]
            elif len(text) == 3 and polyphone_rules.rules(text[0]) and self._is_known(text[1:]):
                # 扎辫子: a verb and what it is done to, taken for one noun.
                found += [Word(text[0], start, kind, "v"), Word(text[1:], start + 1, kind, tag)]
            elif len(text) == 2 and any(map(polyphone_rules.rules, text)):
                found += [Word(char, start + i, kind, tag) for i, char in enumerate(text)]
            else:
                found.append(word)
        return found

    def _is_degree(self, text: str) -> bool:
        """Whether a word no list reads is a degree and what it is of."""
        if len(text) != 2 or text[0] not in self._degrees or text[1] == "得":
            return False
        weighed = polyphone_rules.rules(text[1])
        return weighed and text not in self._custom and self._listed(text) is None

    def _look_up(self, word: str) -> bool:
        known = self._segmenter.has_word(word) or word in self._custom
        return known or self._listed(word) is not None

    def _word(self, words: Sequence[Word], i: int, said: list[str], open_at: list[int]) -> None:
        word = words[i]
        text, start = word.text, word.start
        known = self._custom.get(text)
        guessed = text[0] in "老小" and len(text) == 2 and not self._is_known(text)
        if not known and (text in self._surnames.characters or text[0] == "姓" or guessed):
            known = self._surnames.reading(words, i)
        if not known and len(text) > 1:
            known = self._listed(text)
        if known:
            said[start : start + len(text)] = known
        elif len(text) == 1:
            ruled = polyphone_rules.reading(words, i)
            said[start] = ruled or self._lexicon.default(text)
            if ruled is None and self._is_open(text):
                open_at.append(start)
        else:
            said[start : start + len(text)], places = self._spelled(text, word.tag in _NAMES)
            open_at += [start + at for at in places]
            if text[-1] == "为" and word.tag == "p":
                # 能为, 正为: the segmenter knows that a preposition ends them.
                said[word.end - 1] = "wei4"
                open_at[:] = [at for at in open_at if at != word.end - 1]
        if word.tag == "m" and text[-1] == "行" and len(text) > 1:
            said[word.end - 1] = polyphone_rules.row(words, i)
        head = self._surnames.head(word) if word.tag[:2] == "nr" else None
        if head and not (self._lexicon.has_phrase(text) or self._lexicon.has_phrase(text[:2])):
            said[start] = head
            if text[0] not in self._surnames.unsure:
                open_at[:] = [at for at in open_at if at != start]

    def _is_open(self, char: str) -> bool:
        """Whether a character without a rule is left to the model."""
        return char not in self._settled and self._model.knows(char)

    def _spell(self, text: str, name: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """A word no list has: the longest listed parts of it, then single characters; with the
        places that are left to the model."""
        said: list[str] = []
        open_at: list[int] = []
        halved = len(text) == 4 and self._is_halved(text)
        while (at := len(said)) < len(text):
            longest = 2 - at % 2 if halved else min(len(text) - at, _LONGEST_PHRASE)
            for length in range(longest, 1, -1):
                known = self._lexicon.reading(text[at : at + length])
                if known and length < len(text):
                    said += known
                    break
            else:
                said.append(self._lexicon.default(text[at]))
                if self._is_open(text[at]):
                    open_at.append(at)
        self._close(text, name, said, open_at)
        return tuple(said), tuple(open_at)

    def _close(self, text: str, name: bool, said: list[str], open_at: list[int]) -> None:
        """What the shape of a word decides: 得 before a complement, and how it ends."""
        if de := self._lexicon.complement(text):
            said[de] = "de5"
            open_at[:] = [at for at in open_at if at != de]
        if not name and self._lexicon.ends_neutral(text):
            said[-1] = said[-1][:-1] + "5"
        if open_at[-1:] == [len(text) - 1] and text[-1] in self._ends and text[-2] not in NUMBERED:
            # 减重, 吹倒: what the character is where a word ends; 三重 is counted.
            said[-1] = self._ends[text[-1]]
            open_at.pop()

    def _is_halved(self, text: str) -> bool:
        """Whether four characters are two words: 缩小差距, where 小差 is none of them."""
        first, second = text[:2], text[2:]
        if second[0] == "得" or self._listed(text[:3]) or self._listed(text[1:]):
            return False
        return self._is_known(first) and self._is_known(second)

    def _across(
        self, spoken: str, words: Sequence[Word], said: list[str], open_at: list[int]
    ) -> None:
        """Listed phrases that the segmenter cut into several words."""
        i = 0
        while i < len(words):
            start = words[i].start
            begins = spoken[start : start + 2] in self._heads
            i += (begins and self._phrase_at(spoken, words, i, said, open_at)) or 1

    def _phrase_at(
        self, spoken: str, words: Sequence[Word], i: int, said: list[str], open_at: list[int]
    ) -> int:
        start = words[i].start
        particle = words[i].tag == "ul" and spoken[start + 1 : start + 2] != "了"
        if words[i].tag == "q" or particle:
            # 这种花 is a kind of flower, whatever 种花 is; 上了当 holds no 了当.
            return 0
        for j in range(min(i + 4, len(words)) - 1, i, -1):
            end = words[j].end
            text = spoken[start:end]
            known = self._custom.get(text)
            if known is None and not self._lexicon.has_phrase(text):
                continue
            if end - start > _LONGEST_PHRASE or any(
                w.kind is not WordKind.HANZI for w in words[i : j + 1]
            ):
                continue
            pair = all(len(w.text) == 1 for w in words[i : j + 1])
            if known is None and (len(text) > 2 or pair):
                known = self._lexicon.reading(text)
            if known:
                said[start:end] = known
                open_at[:] = [at for at in open_at if not start <= at < end]
                return j - i + 1
        return 0

    def _ask_model(self, spoken: str, said: list[str], open_at: list[int]) -> None:
        """The model sees a sentence at a time, never what a mark cuts off far away."""
        open_at.sort()
        for at, reading in zip(open_at, self._model.readings(spoken, open_at), strict=True):
            said[at] = reading
