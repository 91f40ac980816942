"""Pronunciations that a user writes: pinyin syllables and ARPAbet words."""

from functools import lru_cache

from worker.text.english import is_phone, syllabify
from worker.text.syllables import Syllable, SyllableTable


@lru_cache(maxsize=1)
def _table() -> SyllableTable:
    return SyllableTable()


def pinyin(written: str) -> list[str] | None:
    """The syllables of `dian3 dang4`, None when one is no syllable with a tone from 1 to 5.

    >>> pinyin("hao3 de"), pinyin("LÜ4")
    (None, ['lv4'])
    """
    readings = [part.lower().replace("ü", "v").replace("u:", "v") for part in written.split()]
    if not readings or any(_table().syllable(r) is None for r in readings):
        return None
    return readings


def cmu(written: str) -> tuple[Syllable, ...]:
    """One English word from its phones with stress, `P AY1 TH AA0 N`; empty when it is none."""
    phones = [p.lower().replace("2", "0") for p in written.replace(".", " ").split()]
    if len(phones) > 40 or not all(is_phone(p.rstrip("01")) for p in phones):
        return ()
    return syllabify(phones)
