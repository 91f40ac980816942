"""Syllables and how Chinese ones are written in the model's phones (KAN-TTS's PinYin set).

The table of 411 base syllables and the rules from pinyin to phones are facts of the model; which
reading a character has is decided in `g2p`, its surface tone in `sandhi`.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from worker.text import tables

_INITIALS: Final = (
    "zh", "ch", "sh", "b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h", "j", "q", "r", "x",
    "z", "c", "s", "y", "w",
)  # fmt: skip
_SPELLED: Final = {"ui": "uei", "iu": "iou", "un": "uen"}
# Syllables the model has no entry for, and the nearest it has.
_NEAREST: Final = {
    "n": "en", "ng": "en", "m": "mu", "hm": "heng", "hng": "heng", "ê": "ei", "yai": "ya",
    "fiao": "fei", "rua": "ruan", "biang": "bang",
    "bong": "beng", "cei": "cai", "nia": "niang", "len": "leng",
    "din": "ding", "wong": "weng", "kei": "ke", "tei": "te", "shong": "song", "pia": "pian",
    "nun": "nuan", "fong": "feng", "eo": "o", "r": "er", "dia": "dia", "zhei": "zhei", "lo": "luo",
    "yo": "yo", "o": "o", "dei": "dei",
}  # fmt: skip
# More than the readings there are; markup may ask for any.
_CACHED: Final = 8192
_READING: Final = re.compile(r"([a-zê]+?)(r?)([1-5])")


class Syllable(NamedTuple):
    """Phones that share a tone; `tone` is `tone0` to `tone5`, `place` an index into the words."""

    phones: tuple[str, ...]
    tone: str


class SyllableTable:
    """Every syllable of the model and the way from pinyin to its phones."""

    def __init__(self) -> None:
        self.keys = frozenset(
            initial.replace("∅", "") + final
            for initial, finals in tables.rows("syllables.tsv")
            for final in finals.split(" ")
        )
        # The phones of a reading such as `hao3` or `huar1`, None when it is no syllable.
        self.syllable = lru_cache(maxsize=_CACHED)(self._make)

    def _make(self, reading: str) -> Syllable | None:
        tone = reading[-1:]
        base = reading[:-1]
        if tone not in "12345" or not tone or not base:
            return None
        erhua = base != "er" and base.endswith("r")
        key = self.key(base[:-1] if erhua else base)
        if key is None:
            return None
        onset, final = _split(key)
        if erhua and key not in ("er", "yo"):
            final += "r"
        return Syllable(phones=(onset, f"{final}_c"), tone=f"tone{tone}")

    def key(self, base: str) -> str | None:
        """The table key of a toneless syllable in usual spelling, or of the nearest one there is.

        >>> SyllableTable().key("xuan"), SyllableTable().key("lüe"), SyllableTable().key("you")
        ('xvan', 'lve', 'you')
        """
        key = base.lower().replace("ü", "v").replace("u:", "v")
        if key in ("lue", "nue"):
            key = key[0] + "ve"
        if key[:1] in ("j", "q", "x", "y") and key[1:2] == "u":
            key = key[0] + "v" + key[2:]
        if key not in self.keys:
            key = _NEAREST.get(key, key)
        return key if key in self.keys else None


def _split(key: str) -> tuple[str, str]:
    """Onset and final of a table key, without the final's suffix."""
    if key[0] in "aeo":
        return f"g{key[0]}", key
    initial = next(i for i in _INITIALS if key.startswith(i))
    final = _SPELLED.get(key[len(initial) :], key[len(initial) :])
    if final == "i":
        final = {
            "zh": "ih",
            "ch": "ih",
            "sh": "ih",
            "r": "ih",
            "z": "ii",
            "c": "ii",
            "s": "ii",
        }.get(initial, "i")
    return ("xx_c" if initial == "x" else f"{initial}_c"), final
