"""One sentence through every stage: pieces, words, readings, prosody, sandhi, symbols."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from shared.alignment import Runs, packed
from worker.text import lengths, prosody, symbols
from worker.text.characters import is_hanzi
from worker.text.english import EnglishReader
from worker.text.g2p import Reader
from worker.text.normalise import Normaliser, Piece
from worker.text.passages import NUMERALS, Fixed, Passage, Spoken, Traits, speak
from worker.text.sandhi import Sandhi
from worker.text.split import End, Sentence
from worker.text.syllables import Syllable, SyllableTable
from worker.text.symbols import SpokenWord, Style
from worker.text.words import Segmenter, Word, WordKind, breathed

_WORDLIKE: Final = re.compile(r"\w")
_NO_READING: Final = "character without a known reading"
_SPOKEN_KINDS: Final = (WordKind.HANZI, WordKind.LATIN)
_USER_WORD_WEIGHT: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """Cleaned text between two offsets that is not said, and why."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A segment to be, by offsets in the passage's cleaned text; `spoken` may be empty.

    `pinyin` are offsets of Chinese characters with their surface readings. `syllables` pairs
    characters of `spoken` with those of `symbols`; `origins` says for each of the former where in
    the sentence, which begins at `sentence`, it comes from.
    """

    start: int
    end: int
    spoken: str
    symbols: str | None
    words: tuple[str, ...]
    pinyin: tuple[tuple[int, str], ...]
    unread: tuple[Unread, ...]
    ends: End
    first: bool
    syllables: Runs
    sentence: int
    origins: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chunk:
    """Words of a sentence that make one segment, with where the next one begins."""

    words: tuple[Word, ...]
    end: int
    ends: End


class _Line(NamedTuple):
    """Symbols, readings of source characters, origins of what has none, each word's syllables."""

    symbols: str = ""
    pinyin: tuple[tuple[int, str], ...] = ()
    missing: Sequence[tuple[int, int]] = ()
    said: Sequence[tuple[Word, Sequence[Syllable | None]]] = ()


class Speaker:
    """All stages with their data; no state between sentences."""

    def __init__(self, lexicon: Mapping[str, tuple[str, ...]]) -> None:
        self._normaliser = Normaliser()
        self._segmenter = Segmenter((word, _USER_WORD_WEIGHT, "n") for word in lexicon)
        self._lexicon = dict(lexicon)
        self._table = SyllableTable()
        self._english = EnglishReader()

    # Only symbols need these: a worker whose engines take text never loads them. Two threads that
    # come first together may both build one, which is wasteful once and harmless.
    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._segmenter, self._lexicon)

    @cached_property
    def _sandhi(self) -> Sandhi:
        return Sandhi(self._segmenter)

    def load_readings(self) -> None:
        """Loads what only symbols need, ahead of the first text."""
        _ = self._reader, self._sandhi

    def drafts(
        self, passage: Passage, sentence: Sentence, style: Style, traits: Traits
    ) -> Iterator[Draft]:
        """The segments of one sentence, at least one; a sentence too long gives several."""
        text = passage.cleaned.text[sentence.start : sentence.end]
        chinese = traits.language == "zh"
        pieces = self._pieces(text, passage.fixed, chinese=chinese)
        spoken = speak(pieces, text, passage.fixed)
        words = self._words(spoken)
        if passage.voicing.emotion:
            style = Style(
                emotion=passage.voicing.emotion,
                speaker=style.speaker,
                pause_emotion=style.pause_emotion,
            )
        unread = _unread(pieces, passage.fixed, text)
        start = 0
        for chunk in self._chunks(words, spoken, sentence, chinese=chinese):
            mine = tuple(
                Unread(start=u.start + sentence.start, end=u.end + sentence.start, reason=u.reason)
                for u in unread
                if start <= u.start < chunk.end
            )
            yield self._draft(
                chunk,
                spoken,
                sentence,
                start,
                mine,
                style if traits.symbols and chinese else None,
            )
            start = chunk.end

    def _pieces(self, text: str, fixed: Mapping[str, Fixed], *, chinese: bool) -> list[Piece]:
        if chinese:
            return self._normaliser.pieces(text)
        marks = [at for at, char in enumerate(text) if char in fixed] if fixed else []
        cuts = sorted({0, len(text), *marks, *(at + 1 for at in marks)})
        written = text.replace("\n", " ")
        return [
            Piece(start=a, end=b, spoken=written[a:b], rule="", plain=text[a] not in fixed)
            for a, b in pairwise(cuts)
        ]

    def _words(self, spoken: Spoken) -> list[Word]:
        """Words of the text between the ranges that markup fixed; a whole range is one word."""
        if not spoken.fixed:
            return self._segmenter.words(spoken.text, spoken.numbers)
        words: list[Word] = []
        at = 0
        for begin, end, element in [*spoken.fixed, (len(spoken.text), len(spoken.text), None)]:
            words += self._shifted(spoken.text[at:begin], at)
            inner = spoken.text[begin:end]
            if element and inner and (element.whole or element.syllables):
                kind = WordKind.LATIN if element.syllables else WordKind.HANZI
                words.append(Word(text=inner, start=begin, kind=kind, tag="w"))
            elif inner:
                numbers = [m.span() for m in NUMERALS.finditer(inner)]
                words += self._shifted(
                    inner, begin, () if element and element.readings else numbers
                )
            at = end
        return words

    def _shifted(self, text: str, by: int, numbers: Sequence[tuple[int, int]] = ()) -> list[Word]:
        found = self._segmenter.words(text, numbers)
        return [Word(text=w.text, start=w.start + by, kind=w.kind, tag=w.tag) for w in found]

    def _chunks(
        self, words: Sequence[Word], spoken: Spoken, sentence: Sentence, *, chinese: bool
    ) -> Iterator[_Chunk]:
        length = sentence.end - sentence.start
        if len(spoken.text) <= lengths.TARGET_SYLLABLES:
            # Latin words have fewer syllables than letters: nothing here can be too long.
            yield _Chunk(words=tuple(words), end=length, ends=sentence.ends)
            return
        weights = [self._weight(word) if chinese else len(word.text) // 3 for word in words]
        free = [_is_free(spoken, word.start) for word in words]
        start = 0
        for cut in lengths.cuts(words, weights, free):
            end = spoken.origins[words[cut].start][0]
            yield _Chunk(words=tuple(words[start:cut]), end=end, ends=End.SOFT)
            start = cut
        yield _Chunk(words=tuple(words[start:]), end=length, ends=sentence.ends)

    def _weight(self, word: Word) -> int:
        """Syllables of a word, more for English ones that need many phones."""
        if word.kind is WordKind.HANZI:
            return len(word.text)
        if word.kind is not WordKind.LATIN:
            return 0
        syllables = self._english.syllables(word.text)
        return max(len(syllables), sum(len(s.phones) for s in syllables) // 3)

    def _draft(
        self,
        chunk: _Chunk,
        spoken: Spoken,
        sentence: Sentence,
        start: int,
        unread: tuple[Unread, ...],
        style: Style | None,
    ) -> Draft:
        words = chunk.words
        low, high = (words[0].start, words[-1].end) if words else (0, 0)
        text = spoken.text[low:high].strip()
        low = spoken.text.find(text, low)
        high = low + len(text)
        line = _Line()
        speakable = any(w.kind in _SPOKEN_KINDS for w in words)
        if style is not None and speakable:
            line = self._symbols(words, spoken, style)
            unread += tuple(
                Unread(start=sentence.start + a, end=sentence.start + b, reason=_NO_READING)
                for a, b in line.missing
            )
            speakable = bool(line.symbols)
        elif style is None:
            speakable = speakable or _WORDLIKE.search(text) is not None
        return Draft(
            start=sentence.start + start,
            end=sentence.start + chunk.end,
            spoken=text if speakable else "",
            symbols=line.symbols or None,
            words=tuple(w.text for w in words if w.kind is not WordKind.SPACE),
            pinyin=tuple((sentence.start + at, reading) for at, reading in line.pinyin),
            unread=unread,
            ends=chunk.ends,
            first=sentence.start + start == 0,
            syllables=_paired(line.said, low, high),
            sentence=sentence.start,
            origins=spoken.origins[low:high],
        )

    def _symbols(self, words: Sequence[Word], spoken: Spoken, style: Style) -> _Line:
        said = self._reader.readings(spoken.text, words)
        for begin, end, element in spoken.fixed:
            if element.readings:
                said[begin:end] = element.readings
        fixed = {b: e for b, _, e in spoken.fixed if e.syllables or e.readings}
        usable, missing = self._usable(words, spoken, said)
        groups = prosody.groups(usable, lambda w: self._latin_size(w, fixed))
        free = [w for w in usable if w.start not in fixed] if fixed else usable
        self._sandhi.apply(spoken.text, free, groups, said)
        for begin, end, element in spoken.fixed:
            if element.readings:
                said[begin:end] = element.readings
        sounds = list(map(self._table.syllable, said))
        spoken_words = []
        uttered: list[tuple[Word, Sequence[Syllable | None]]] = []
        for group in groups:
            found: list[Syllable] = []
            for word in group.words:
                if word.kind is WordKind.HANZI and not fixed:
                    its: Sequence[Syllable | None] = sounds[word.start : word.end]
                else:
                    its = self._syllables(word, sounds, fixed)
                found += filter(None, its)
                uttered.append((word, its))
            spoken_words.append(SpokenWord(syllables=tuple(found), level=group.level))
        return _Line(
            symbols=symbols.line(spoken_words, style),
            pinyin=_source_pinyin(spoken, words, said),
            missing=missing,
            said=uttered,
        )

    def _usable(
        self, words: Sequence[Word], spoken: Spoken, said: Sequence[str]
    ) -> tuple[list[Word], list[tuple[int, int]]]:
        """The words of which any can be said, and the origins of characters that can not."""
        sounds = list(map(self._table.syllable, said))
        usable: list[Word] = []
        missing: list[tuple[int, int]] = []
        for word in words:
            if word.kind is WordKind.HANZI:
                its = sounds[word.start : word.start + len(word.text)]
                if not all(its):
                    lacking = [i for i, sound in enumerate(its, word.start) if not sound]
                    missing += [spoken.origins[i] for i in lacking]
                    if not any(its):
                        continue
            if word.tag == "m":
                usable += breathed(word)
            else:
                usable.append(word)
        return usable, missing

    def _latin_size(self, word: Word, fixed: Mapping[int, Fixed]) -> int:
        element = fixed.get(word.start)
        syllables = element.syllables if element else None
        return len(syllables or self._english.syllables(word.text))

    def _syllables(
        self, word: Word, sounds: Sequence[Syllable | None], fixed: Mapping[int, Fixed]
    ) -> Sequence[Syllable | None]:
        element = fixed.get(word.start) if fixed else None
        if element and element.syllables:
            return element.syllables
        if word.kind is WordKind.LATIN:
            return self._english.syllables(word.text)
        return sounds[word.start : word.end]


def _is_free(spoken: Spoken, at: int) -> bool:
    """Whether the text may be cut before `at`: never inside what one rule or element spoke."""
    return at == 0 or spoken.origins[at][0] >= spoken.origins[at - 1][1]


def _paired(said: Iterable[tuple[Word, Sequence[Syllable | None]]], low: int, high: int) -> Runs:
    """How many characters between `low` and `high` share how many syllables, in order."""
    pairs: list[tuple[int, int]] = []
    for word, its in said:
        if word.start > low:
            pairs.append((word.start - low, 0))
        if word.kind is WordKind.HANZI:
            pairs += [(1, 1 if syllable else 0) for syllable in its]
        else:
            pairs.append((len(word.text), len(its)))
        low = word.end
    if pairs and high > low:
        pairs.append((high - low, 0))
    return packed(pairs)


def _unread(pieces: Sequence[Piece], fixed: Mapping[str, Fixed], text: str) -> list[Unread]:
    return [
        Unread(start=p.start, end=p.end, reason=p.unread)
        for p in pieces
        if p.unread and text[p.start] not in fixed
    ]


def _source_pinyin(
    spoken: Spoken, words: Sequence[Word], said: Sequence[str]
) -> tuple[tuple[int, str], ...]:
    """Readings of the Chinese characters that stand for themselves, by their place."""
    if not words:
        return ()
    low, high = words[0].start, words[-1].end
    places = zip(spoken.origins[low:high], said[low:high], spoken.text[low:high], strict=True)
    return tuple(
        (first, reading)
        for (first, last), reading, char in places
        if reading and last - first == 1 and is_hanzi(char)
    )
