"""Sentences: where cleaned text may be cut so that each part can be spoken alone.

Works on a block of cleaned text. Blocks come from `blocks`, which cuts a stream of any length
so that memory stays flat. Cuts for length are left to `lengths`, after normalisation.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.text import tables
from worker.text.characters import CLOSING, HANZI, LATIN, PAIRS, count_syllables, is_hanzi

BLOCK_CHARS: Final = 4096
# Quotes longer than this are prose of their own: a full stop inside them ends a sentence.
_LONGEST_QUOTE: Final = 100
_MIN_BEFORE_SEMICOLON: Final = 10
_MIN_BEFORE_ELLIPSIS: Final = 6


class End(StrEnum):
    """What ends a sentence, which decides the silence after it."""

    HARD = "hard"
    PARAGRAPH = "paragraph"
    SOFT = "soft"


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence by its offsets in the block; the next one starts where this one ends."""

    start: int
    end: int
    ends: End


_BREAK: Final = re.compile(r"\n[\n ]*|[。！？!?…]+|[；;]+|\.+")
_MORE: Final = re.compile(f"[。！？!?…；;{re.escape(CLOSING)}\"']*")
_LINE_HEAD: Final = re.compile(r"(?:^|\n) *\d{1,3}$")
_URL: Final = re.compile(r"(?:[a-z]{2,10}://|www\.)[!-~]{1,2000}", re.IGNORECASE)
_SAYS_NEXT: Final = re.compile(
    f"[{HANZI}]{{0,4}}?(?:说|道|问|喊|叫|答|嚷|吼|笑|叹|骂|想)(?:[，。：:！？,]|[道着了])"
    "|[，。；、,;的说道问喊]"
)
_SAID_BEFORE: Final = re.compile(r"[：:，,] *[“‘「『\"（(]?[^“‘「『\"（(]*$")
_LATIN_END: Final = re.compile(f"[{LATIN}]+$")
_DOTTED: Final = re.compile(f"(?:[{LATIN}]\\.){{1,8}}[{LATIN}]$")


def blocks(chunks: Iterable[str]) -> Iterator[str]:
    """The stream cut into pieces of about `BLOCK_CHARS`, at line or sentence ends where it can."""
    held = ""
    for chunk in chunks:
        for at in range(0, len(chunk), BLOCK_CHARS):
            held += chunk[at : at + BLOCK_CHARS]
            while len(held) > 2 * BLOCK_CHARS:
                cut = _block_end(held)
                yield held[:cut]
                held = held[cut:]
    while len(held) > 2 * BLOCK_CHARS:
        cut = _block_end(held)
        yield held[:cut]
        held = held[cut:]
    if held:
        yield held


def _block_end(held: str) -> int:
    """Where to cut `held`: after a line, a sentence, a comma or a space, else in the middle."""
    for marks in ("\n", "。！？", "，；,;", " "):
        found = max(held.rfind(mark, BLOCK_CHARS // 2, 2 * BLOCK_CHARS - 64) for mark in marks)
        if found >= 0:
            return found + 1 + len(_after(held, found + 1))
    return BLOCK_CHARS


def _after(held: str, at: int) -> str:
    """What clings to a cut at `at`: more ends of sentence, closing marks, line ends."""
    match = re.compile(f'[。！？!?…；\r\n {re.escape(CLOSING)}"]{{0,48}}').match(held, at)
    return match.group() if match else ""


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a block, one after the other, covering all of it. Linear in its length."""
    quotes = _quoted(text)
    urls = _url_spans(text)
    start = 0
    at = 0
    while match := _BREAK.search(text, at):
        at = match.end()
        ascii_mark = match.group()[0] in ".!?;"
        if ascii_mark and _inside(urls, match.start()) and text[at : at + 1].strip():
            continue
        if not _ends(text, start, match, quotes):
            continue
        if match.group()[0] != "\n":
            at = _stretch(text, start, match.end())
        yield Sentence(start=start, end=at, ends=_kind(match.group()))
        start = at
    if start < len(text):
        yield Sentence(start=start, end=len(text), ends=End.HARD)


def _kind(mark: str) -> End:
    return End.PARAGRAPH if mark.count("\n") > 1 else End.HARD


def _stretch(text: str, start: int, at: int) -> int:
    """The end of the sentence with the closing marks after it; a straight quote only if open."""
    stop = _MORE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches anything
    for i in range(at, stop):
        if text[i] in "\"'" and text.count(text[i], start, i) % 2 == 0:
            return i
    return stop


def _ends(text: str, start: int, match: re.Match[str], quotes: list[tuple[int, int]]) -> bool:
    mark = match.group()
    if mark[0] == "\n":
        return True
    if mark[0] == "." and len(mark) < 3:
        return _dot_ends(text, match.start(), match.end())
    if mark[0] in "…." and _mid_ellipsis(text, start, match):
        return False
    if mark == "!" and _names_or_counts(text, match.start()):
        return False
    if mark[0] in "；;" and count_syllables(text[start : match.start()]) < _MIN_BEFORE_SEMICOLON:
        return False
    return not _demoted(text, match, quotes)


def _mid_ellipsis(text: str, start: int, match: re.Match[str]) -> bool:
    if set(match.group()) & set("。！？!?"):
        return False
    if text[match.end() : match.end() + 1] in tuple("，、；：,+×="):
        return True
    left = count_syllables(text[start : match.start()])
    return is_hanzi(text[match.end() : match.end() + 1]) and left < _MIN_BEFORE_ELLIPSIS


def _names_or_counts(text: str, at: int) -> bool:
    """Whether the mark at `at` belongs to a sum (5!=120) or to a name (Yahoo!)."""
    if text[at + 1 : at + 2] == "=":
        return True
    word = _LATIN_END.search(text[max(0, at - 20) : at])
    return word is not None and word.group() in tables.word_set("sentences.tsv", "with_mark")


def _demoted(text: str, match: re.Match[str], quotes: list[tuple[int, int]]) -> bool:
    """Whether the mark stands inside a quotation after which the sentence goes on."""
    span = _inside(quotes, match.start())
    if span is None:
        return False
    if text[span[0]] == "《":
        return True
    after = _MORE.match(text, match.end()).end()  # type: ignore[union-attr]  # matches anything
    if after <= span[1]:
        return True
    introduced = text[max(0, span[0] - 1) : span[0]] in ("：", ":")
    return not introduced and _SAYS_NEXT.match(text, after) is not None


def _inside(spans: list[tuple[int, int]], at: int) -> tuple[int, int] | None:
    """The span that holds `at`, dropping those left behind: asked with growing `at` only."""
    while spans and spans[0][1] < at:
        spans.pop(0)
    return spans[0] if spans and spans[0][0] <= at else None


def _quoted(text: str) -> list[tuple[int, int]]:
    """Outermost quotations and brackets, short ones: offsets of both marks. Unbalanced: none."""
    open_at: list[int] = []
    spans: list[tuple[int, int]] = []
    for match in re.finditer(r"[“‘「『（(《”’」』）)》]", text):
        char = match.group()
        if char in PAIRS:
            while open_at and text[open_at[-1]] != PAIRS[char]:
                open_at.pop()
            if open_at:
                _add(spans, (open_at.pop(), match.start()))
        elif len(open_at) < 8:
            open_at.append(match.start())
    return spans


def _add(spans: list[tuple[int, int]], span: tuple[int, int]) -> None:
    if span[1] - span[0] > _LONGEST_QUOTE:
        return
    while spans and spans[-1][0] > span[0]:
        spans.pop()
    spans.append(span)


def _url_spans(text: str) -> list[tuple[int, int]]:
    if "://" not in text and "www." not in text.lower():
        return []
    return [(m.start(), m.end()) for m in _URL.finditer(text)]


def _dot_ends(text: str, start: int, end: int) -> bool:
    """Whether the full stop at `start` ends a sentence rather than a number, name or short form."""
    following = text[end : end + 1]
    before = text[max(0, start - 20) : start]
    if following and not (following in " \n\"'" or following in CLOSING or is_hanzi(following)):
        return False
    if not before or before[-1] in " \n":
        return False
    if before[-1].isdigit():
        head = _LINE_HEAD.search(before) is not None
        return following in ("", " ", "\n") and not head
    word = _LATIN_END.search(before)
    return word is None or _word_ends(text, before, word.group(), end)


def _word_ends(text: str, before: str, word: str, end: int) -> bool:
    dotted = _DOTTED.search(before)
    name = (dotted.group() if dotted else word).lower()
    rest = text[end:].lstrip(" ")
    if name in tables.word_set("sentences.tsv", "may_end"):
        return not rest or rest[0].isupper() or rest[0] == "\n"
    if name in tables.word_set("sentences.tsv", "abbreviation"):
        return False
    if dotted or (len(word) == 1 and word.isupper()):
        return not rest or rest[0] == "\n"
    return True
