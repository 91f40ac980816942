"""Captions: sentences with the times of their words, read from what workers write, and shown as
WebVTT, SubRip and LRC.

Everything is a stream: a book's captions are never held whole.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any

HEAD = '{"sentences":[\n'
TAIL = "\n]}\n"

# What readers of subtitles are used to: full-width characters a line, lines, time on screen.
LINE_WIDTH = 20
SHORTEST_MS = 1_000
LONGEST_MS = 7_000

# How much worse a break is than one in the very middle, by the mark before it.
_PENALTIES = (("。！？!?…；;", 0.0), ("，、：,:—", 0.05))
_BLANK_PENALTY, _NO_MARK_PENALTY = 0.25, 0.45
_BLANKS = re.compile(r"\s+")
CACHED_WORDS = 4096  # of a language's words and characters, those that are common
_CLOSING = "”’」』）】》〉〕］)]}\"'"


@dataclass(frozen=True, kw_only=True)
class Word:
    """A Chinese character, a Latin word or a number, with the marks that cling to it."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Words that are spoken in one go; at least one."""

    words: tuple[Word, ...]

    def view(self) -> dict[str, Any]:
        """The sentence as JSON-ready values."""
        return {
            "start_ms": self.words[0].start_ms,
            "end_ms": self.words[-1].end_ms,
            "text": "".join(word.text for word in self.words),
            "words": [
                {"start_ms": word.start_ms, "end_ms": word.end_ms, "text": word.text}
                for word in self.words
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Cue:
    """What stands on the screen at once: one or two lines of words."""

    start_ms: int
    end_ms: int
    lines: tuple[tuple[Word, ...], ...]

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(chain.from_iterable(self.lines))


def read_sentences(chunks: Iterable[bytes]) -> Iterator[Sentence]:
    """The sentences of a captions file that comes in pieces."""
    for line in _lines(chunks):
        if line.startswith(b'{"start_ms"'):
            values = json.loads(line.rstrip(b","))
            yield Sentence(words=tuple(Word(**word) for word in values["words"]))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        yield from whole
    yield held


# Cues


def cues(sentences: Iterable[Sentence], duration_ms: int) -> Iterator[Cue]:
    """The sentences cut to the screen's size and time: in order, without overlap, none past
    `duration_ms`. A short one stays until it can be read, or joins the next one where it can not.
    """
    held: tuple[Word, ...] = ()
    for sentence in sentences:
        for words in _screens(_shown_words(sentence.words)):
            if held and _too_short(held, words) and _fits(held + words):
                held += words
                continue
            if held:
                yield _cue(held, words[0].start_ms)
            held = words
    if held:
        yield _cue(held, duration_ms)


def _too_short(words: Sequence[Word], following: Sequence[Word]) -> bool:
    return following[0].start_ms - words[0].start_ms < SHORTEST_MS


def _cue(words: tuple[Word, ...], limit_ms: int) -> Cue:
    start_ms, end_ms = words[0].start_ms, words[-1].end_ms
    end_ms = min(max(end_ms, start_ms + SHORTEST_MS), start_ms + LONGEST_MS, limit_ms)
    return Cue(start_ms=start_ms, end_ms=max(start_ms, end_ms), lines=_wrapped(words))


def _screens(words: tuple[Word, ...]) -> Iterator[tuple[Word, ...]]:
    """The words in as many parts as it takes for each to fit, cut at the best places."""
    pending = [words]
    while pending:
        part = pending.pop()
        if len(part) == 1 or _fits(part):
            yield part
        else:
            cut = _best_break(part)
            pending += [part[cut:], part[:cut]]


def _fits(words: Sequence[Word]) -> bool:
    return words[-1].end_ms - words[0].start_ms <= LONGEST_MS and _line_break(words) is not None


def _wrapped(words: tuple[Word, ...]) -> tuple[tuple[Word, ...], ...]:
    cut = _line_break(words)
    return (words[:cut], words[cut:]) if cut else (words,)


def _line_break(words: Sequence[Word]) -> int | None:
    """Where the second line begins; 0 where one is enough, None where two are too few."""
    ends = _ends(words)
    if ends[-1] - _blank(words[-1]) <= LINE_WIDTH:
        return 0
    if ends[-1] > 2 * LINE_WIDTH + 1:
        return None
    fitting = [
        cut
        for cut in range(1, len(words))
        if ends[cut - 1] - _blank(words[cut - 1]) <= LINE_WIDTH
        and ends[-1] - ends[cut - 1] - _blank(words[-1]) <= LINE_WIDTH
    ]
    return min(fitting, key=_badness(words, ends), default=None)


def _best_break(words: Sequence[Word]) -> int:
    return min(range(1, len(words)), key=_badness(words, _ends(words)))


def _badness(words: Sequence[Word], ends: Sequence[float]) -> Callable[[int], float]:
    """How bad it is to break before each word: far from the middle, or within a phrase."""

    def badness(cut: int) -> float:
        return abs(ends[cut - 1] / ends[-1] - 0.5) + _penalty(words[cut - 1].text)

    return badness


@lru_cache(maxsize=CACHED_WORDS)
def _penalty(text: str) -> float:
    """How bad it is to break after a word, by the mark at its end."""
    mark = (text.rstrip(_CLOSING + " ") or " ")[-1]
    for marks, penalty in _PENALTIES:
        if mark in marks:
            return penalty
    return _BLANK_PENALTY if text.endswith(" ") else _NO_MARK_PENALTY


def _ends(words: Sequence[Word]) -> list[float]:
    """How wide the words are up to the end of each."""
    return [*accumulate(_width(word.text) for word in words)]


def _blank(word: Word) -> float:
    """The width of the blank at a word's end, which a line's end hides."""
    return 0.5 if word.text.endswith(" ") else 0.0


def _shown_words(words: Iterable[Word]) -> tuple[Word, ...]:
    """The words with single spaces for blanks, those wider than a line cut into pieces."""
    return tuple(chain.from_iterable(map(_pieces, words)))


def _pieces(word: Word) -> Iterator[Word]:
    text = _BLANKS.sub(" ", word.text)
    if _width(text) <= LINE_WIDTH:
        yield Word(start_ms=word.start_ms, end_ms=word.end_ms, text=text)
        return
    text, gap = text.strip(), " " * text.endswith(" ")
    size = LINE_WIDTH if _width(text) > len(text) / 2 else 2 * LINE_WIDTH
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    parts[-1] += gap
    span_ms = word.end_ms - word.start_ms
    for i, part in enumerate(parts):
        start_ms = word.start_ms + span_ms * i // len(parts)
        end_ms = word.start_ms + span_ms * (i + 1) // len(parts)
        yield Word(start_ms=start_ms, end_ms=end_ms, text=part)


def shown(words: Sequence[Word]) -> str:
    """The words as one line, without blanks at its ends or two in a row."""
    return " ".join("".join(word.text for word in words).split())


@lru_cache(maxsize=CACHED_WORDS)
def _width(text: str) -> float:
    """Full-width characters; the others count a half."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WFA" else 0.5 for c in text)


# Formats


def _vtt(found: Iterable[Cue], *, words: bool) -> Iterator[str]:
    yield "WEBVTT\n"
    for cue in found:
        marked = _marked(cue) if words else map(shown, cue.lines)
        text = "\n".join(marked) if words else html.escape("\n".join(marked), quote=False)
        yield f"\n{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n"


def _marked(cue: Cue) -> Iterator[str]:
    """The cue's lines with the time of each word that has one of its own inside the cue."""
    last_ms = cue.start_ms
    for line in cue.lines:
        text = ""
        for word in line:
            if last_ms < word.start_ms < cue.end_ms:
                last_ms = word.start_ms
                text += f"<{_clock(last_ms, '.')}>"
            text += html.escape(word.text, quote=False)
        yield " ".join(text.split())


def _srt(found: Iterable[Cue], *, words: bool) -> Iterator[str]:
    del words  # SubRip has no times of words
    for number, cue in enumerate(found, start=1):
        # An arrow of the text would be read as a line of times.
        text = "\n".join(shown(line).replace("-->", "→") for line in cue.lines)
        yield f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n"


def _lrc(found: Iterable[Cue], *, words: bool) -> Iterator[str]:
    end_ms = 0
    for cue in found:
        if end_ms and cue.start_ms - end_ms >= SHORTEST_MS:
            yield f"[{_tag(end_ms)}]\n"  # an empty line: nothing is said for a while
        text = shown(cue.words)
        if words:
            timed = "".join(f"<{_tag(word.start_ms)}>{word.text}" for word in cue.words)
            text = " ".join(timed.split())
        yield f"[{_tag(cue.start_ms)}]{text}\n"
        end_ms = cue.end_ms
    if end_ms:
        yield f"[{_tag(end_ms)}]\n"


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _tag(ms: int) -> str:
    minutes, hundredths = divmod(ms // 10, 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


FORMATS: Mapping[str, Callable[..., Iterator[str]]] = {"srt": _srt, "vtt": _vtt, "lrc": _lrc}
CAPTION_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "lrc": "application/lrc; charset=utf-8",
}


def rendered(
    chunks: Iterable[bytes], caption_format: str, duration_ms: int, *, words: bool = False
) -> Iterator[bytes]:
    """A captions file as `srt`, `vtt` or `lrc`; `words` adds the times of words where the format
    has them."""
    found = cues(read_sentences(chunks), duration_ms)
    for piece in FORMATS[caption_format](found, words=words):
        yield piece.encode()
