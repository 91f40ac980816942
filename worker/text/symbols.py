"""The model's own notation: syllables and breaks to `{sy$tone$syllable$word$emotion$speaker}`.

The grammar and the inventory are facts of KAN-TTS's Chinese models. `check` is the state machine
that proves a line before it leaves the frontend.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from worker.text import tables
from worker.text.syllables import Syllable

BREAKS: Final = ("#1", "#2", "#3", "#4")


def inventory(*keys: str) -> frozenset[str]:
    """What the model knows of a kind: `initials`, `finals`, `tones`, `emotions` and others."""
    return frozenset(word for key in keys for word in tables.words("inventory.tsv", key))


@dataclass(frozen=True, kw_only=True)
class Style:
    """The two last fields of every symbol; `pause_emotion` says what pauses carry as emotion."""

    emotion: str = "neutral"
    speaker: str = "F7"
    pause_emotion: Literal["none", "same"] = "none"


class SpokenWord(NamedTuple):
    """The syllables of a prosodic word and the level of the break after it."""

    syllables: tuple[Syllable, ...]
    level: int


def line(words: Iterable[SpokenWord], style: Style) -> str:
    """The symbols of a segment, one space between; "" for no words."""
    tail = f"$emotion_{style.emotion}${style.speaker}}}"
    pause_emotion = "none" if style.pause_emotion == "none" else style.emotion
    pause_tail = f"$tone_none$s_none$word_none$emotion_{pause_emotion}${style.speaker}}}"
    found: list[str] = []
    for word in words:
        last = len(word.syllables) - 1
        found += [
            _units(syllable, i == 0, i == last, tail) for i, syllable in enumerate(word.syllables)
        ]
        found.append(f"{{#{word.level}{pause_tail}")
    return " ".join(found)


# The Chinese syllables of a style are some thousands, each at up to four places in a word.
@lru_cache(maxsize=8192)
def _units(syllable: Syllable, first: bool, last: bool, tail: str) -> str:
    """The symbols of one syllable; `first` and `last` are its places in the word."""
    return " ".join(
        f"{{{phone}${syllable.tone}${flag}${word}{tail}"
        for phone, flag, word in _flags(syllable.phones, first=first, last=last)
    )


def _flags(phones: tuple[str, ...], *, first: bool, last: bool) -> Iterable[tuple[str, str, str]]:
    end = len(phones) - 1
    for j, phone in enumerate(phones):
        flag = (
            "s_both" if end == 0 else "s_begin" if j == 0 else "s_end" if j == end else "s_middle"
        )
        word = "word_middle"
        if first and last and end == 0:
            word = "word_both"
        elif first and j == 0:
            word = "word_begin"
        elif last and j == end:
            word = "word_end"
        yield phone, flag, word


def _flagged(syllables: Sequence[Syllable]) -> Iterable[tuple[str, str, str, str]]:
    last = len(syllables) - 1
    for i, syllable in enumerate(syllables):
        for phone, flag, word in _flags(syllable.phones, first=i == 0, last=i == last):
            yield phone, syllable.tone, flag, word


def _phones() -> frozenset[str]:
    return inventory("initials", "finals", "english_vowels", "english_consonants")


def faults(symbols: str) -> list[str]:
    """What breaks the grammar in a segment's symbols; empty for a good line."""
    units = [unit[1:-1].split("$") for unit in symbols.split(" ")]
    found = [f"unit {i} has {len(u)} fields" for i, u in enumerate(units) if len(u) != 6]
    if found:
        return found
    for i, unit in enumerate(units):
        found += _unit_faults(i, unit)
    breaks = [i for i, unit in enumerate(units) if unit[0] in BREAKS]
    if not breaks or breaks[0] == 0 or units[-1][0] != "#4":
        found.append("a line begins with a phone and ends with #4")
    if any(b - a == 1 for a, b in pairwise(breaks)):
        found.append("two breaks in a row")
    if any(units[i][0] == "#4" for i in breaks[:-1]):
        found.append("#4 before the end")
    start = 0
    for i in breaks:
        found += _word_faults(units[start:i], start)
        start = i + 1
    return found


def _unit_faults(i: int, unit: list[str]) -> list[str]:
    phone, tone, syllable, word, emotion, speaker = unit
    pause = phone in BREAKS
    found = []
    if not pause and phone not in _phones():
        found.append(f"unit {i}: unknown phone {phone!r}")
    if tone not in inventory("tones") or (tone == "tone_none") != pause:
        found.append(f"unit {i}: tone {tone!r}")
    if pause and (syllable, word) != ("s_none", "word_none"):
        found.append(f"unit {i}: a break with flags")
    if emotion.removeprefix("emotion_") not in inventory("emotions") or not speaker:
        found.append(f"unit {i}: emotion {emotion!r} or speaker")
    return found


def _word_faults(units: list[list[str]], start: int) -> list[str]:
    """Flags of the phones between two breaks: syllables begin and end, the word does once."""
    syllables: list[Syllable] = []
    phones: list[str] = []
    for unit in units:
        phones.append(unit[0])
        if unit[2] in ("s_end", "s_both"):
            syllables.append(Syllable(phones=tuple(phones), tone=unit[1]))
            phones = []
    if phones or not syllables:
        return [f"unit {start}: a syllable without end"]
    expected = [list(flags) for flags in _flagged(syllables)]
    if expected != [unit[:4] for unit in units]:
        return [f"unit {start}: flags of a word"]
    if any(s.phones[0] in inventory("initials") and len(s.phones) != 2 for s in syllables):
        return [f"unit {start}: a Chinese syllable has two phones"]
    return []
