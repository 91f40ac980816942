"""English words and letters as syllables of ARPAbet phones.

Words and letter-to-sound trees are from the CMU lexicon of Festival (festlex-cmu); letters are
ours. Text is normalised already: no digits or signs reach this module but an apostrophe.
"""

import gzip
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Final

from worker.text import tables
from worker.text.syllables import Syllable

_LONGEST: Final = 64
_LETTER_WORDS: Final = 5


def vowels() -> frozenset[str]:
    """The phones that can bear stress."""
    return tables.word_set("inventory.tsv", "english_vowels")


def is_phone(phone: str) -> bool:
    """Whether `phone` is one of the English phones, in lower case and without stress."""
    return phone in vowels() or phone in tables.word_set("inventory.tsv", "english_consonants")


class EnglishReader:
    """Reads Latin words; data is opened at the first one, answers are kept for the frequent."""

    def __init__(self) -> None:
        self._letters = {row[0]: _syllables(row[1]) for row in tables.rows("letters.tsv")}
        self._own = {row[0]: _syllables(row[1]) for row in tables.rows("english_words.tsv")}
        self.syllables = lru_cache(maxsize=8192)(self._read)

    def _read(self, word: str) -> tuple[Syllable, ...]:
        """The syllables of a word of Latin letters; never empty."""
        plain = _plain(word)[:_LONGEST]
        lower = plain.lower()
        if found := self._listed(plain, lower):
            return found
        parts = _camel_parts(plain)
        if len(parts) > 1:
            return tuple(s for part in parts for s in self.syllables(part))
        if found := self._inflected(lower):
            return found
        if _is_spelled(plain):
            return self.spell(plain)
        guessed = syllabify(_letter_phones(lower.replace("'", "")))
        return guessed or self.spell(plain)

    def _listed(self, plain: str, lower: str) -> tuple[Syllable, ...] | None:
        if len(plain) == 1:
            return self._letters.get(lower)
        if lower in self._own:
            return self._own[lower]
        if plain.isupper() and len(plain) <= _LETTER_WORDS and not self._said_as_word(lower):
            return self.spell(plain)
        found = _look_up(lower)
        return _syllables(found) if found else None

    def _said_as_word(self, lower: str) -> bool:
        """Whether capitals are read as a word: NASA; short function words stay letters (IT, US)."""
        return lower in tables.words("english_lists.tsv", "capital_words")

    def spell(self, word: str) -> tuple[Syllable, ...]:
        """A word letter by letter."""
        letters = (self._letters.get(c, ()) for c in word.lower())
        return tuple(s for syllables in letters for s in syllables) or self._letters["x"]

    def _inflected(self, lower: str) -> tuple[Syllable, ...] | None:
        """A word whose stem is listed: plural, possessive, past, -ing, -er, -ly."""
        for ending, phones in (
            ("'s", "z"),
            ("s'", "z"),
            ("s", "z"),
            ("es", "ih z"),
            ("ed", "d"),
            ("ing", "ih ng"),
            ("er", "er"),
            ("ers", "er z"),
            ("ly", "l iy"),
        ):
            if not lower.endswith(ending) or len(lower) - len(ending) < 3:
                continue
            stem = lower[: -len(ending)]
            found = _look_up(stem) or (_look_up(stem + "e") if ending[0] in "ei" else None)
            if found:
                return _with_ending(_syllables(found), phones)
        return None


def _plain(word: str) -> str:
    """ASCII letters and apostrophes of a word; accents go, ligatures come apart."""
    special = {"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "œ": "oe", "þ": "th", "ð": "th"}
    word = "".join(special.get(c, c) for c in word.replace("’", "'"))
    folded = unicodedata.normalize("NFKD", word)
    return "".join(c for c in folded if c.isascii() and (c.isalpha() or c == "'"))


def _camel_parts(word: str) -> list[str]:
    """`iPhone` to i, Phone; `OpenAI` to Open, AI; one part for anything else."""
    if word.islower() or word.isupper() or word.istitle():
        return [word]
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z']+|[A-Z]", word) or [word]


def _is_spelled(word: str) -> bool:
    if word.isupper() and len(word) <= _LETTER_WORDS:
        return True
    return not re.search("[aeiouy]", word.lower()) or len(word) < 2


def _syllables(written: str) -> tuple[Syllable, ...]:
    """`p ay1.th aa n0` as syllables."""
    return tuple(
        Syllable(phones=tuple(part[:-1].split(" ")), tone="tone1" if part[-1] == "1" else "tone0")
        for part in written.split(".")
    )


def _with_ending(stem: tuple[Syllable, ...], phones: str) -> tuple[Syllable, ...]:
    last = stem[-1]
    final = last.phones[-1]
    added = tuple(phones.split(" "))
    if added == ("z",):
        if final in ("s", "z", "sh", "zh", "ch", "jh"):
            return (*stem, Syllable(phones=("ih", "z"), tone="tone0"))
        added = ("s",) if final in ("p", "t", "k", "f", "th") else added
    if added == ("d",):
        if final in ("t", "d"):
            return (*stem, Syllable(phones=("ih", "d"), tone="tone0"))
        added = ("t",) if final in ("p", "k", "f", "s", "sh", "ch", "th") else added
    if added[0] in vowels() or added[0] == "l":
        return (*stem, Syllable(phones=added, tone="tone0"))
    return (*stem[:-1], Syllable(phones=last.phones + added, tone=last.tone))


@lru_cache(maxsize=1)
def _lexicon() -> tuple[bytes, dict[bytes, int]]:
    """The lexicon's lines, sorted, and where the words with each first two letters begin."""
    data = gzip.decompress(tables.data_bytes("english.tsv.gz"))
    heads: dict[bytes, int] = {}
    for match in re.finditer(rb"\n([a-z'][a-z'\t])", data):
        heads.setdefault(match.group(1), match.start())
    return data, heads


def _look_up(word: str) -> str | None:
    data, heads = _lexicon()
    line = f"\n{word}\t".encode()
    start = heads.get(line[1:3])
    if start is None:
        return None
    at = data.find(line, start, start + 400_000)
    if at < 0:
        return None
    return data[at + len(line) : data.index(b"\n", at + 1)].decode()


@lru_cache(maxsize=1)
def _trees() -> dict[str, list[str]]:
    text = gzip.decompress(tables.data_bytes("letter_rules.tsv.gz")).decode()
    return {line[0]: line[2:].split(" ") for line in text.splitlines()}


def _letter_phones(word: str) -> list[str]:
    """Phones with stress (`ay1`) for every letter, by the lexicon's decision trees."""
    padded = f"00#{word}#00"
    phones: list[str] = []
    for i in range(3, 3 + len(word)):
        phone = _leaf(padded, i)
        if phone != "_epsilon_":
            phones.extend(phone.split("-"))
    return ["ah" + p[2:] if p.startswith("ax") else p for p in phones]


def _leaf(padded: str, at: int) -> str:
    """Walks one tree kept in pre-order: no skips a subtree by counting its open questions."""
    tree = _trees()[padded[at]]
    i = 0
    while tree[i][0] != "=":
        place = "123456".index(tree[i][0])
        letter = padded[at - place - 1] if place < 3 else padded[at + place - 2]
        i = i + 1 if letter == tree[i][1] else _after(tree, i + 1)
    return tree[i][1:]


def _after(tree: list[str], i: int) -> int:
    """The index after the subtree at `i`."""
    pending = 1
    while pending:
        pending += -1 if tree[i][0] == "=" else 1
        i += 1
    return i


def _is_onset(phones: list[str]) -> bool:
    """Whether the consonants may begin an English syllable together."""
    return "-".join(phones) in tables.word_set("inventory.tsv", "english_onsets")


def syllabify(phones: list[str]) -> tuple[Syllable, ...]:
    """Phones in syllables by the longest onset; none when no phone is a vowel."""
    bare = [p.rstrip("01") for p in phones]
    nuclei = [i for i, p in enumerate(bare) if p in vowels()]
    if not nuclei:
        return ()
    cuts = [0]
    for left, right in pairwise(nuclei):
        cut = right
        while cut > left + 1 and (cut == right or _is_onset(bare[cut - 1 : right])):
            if cut == right and bare[cut - 1] == "ng":
                break
            cut -= 1
        cuts.append(cut)
    cuts.append(len(bare))
    return tuple(
        Syllable(
            phones=tuple(bare[a:b]),
            tone="tone1" if any(p.endswith("1") for p in phones[a:b]) else "tone0",
        )
        for a, b in pairwise(cuts)
    )
