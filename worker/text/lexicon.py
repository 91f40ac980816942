"""A user's own words: lines of word, pinyin, and optionally weight and part of speech.

Weight and part of speech are read for compatibility with dictionaries that have them; a listed
word is always one word.
"""

from collections.abc import Iterable

from shared.errors import InvalidRequest
from worker.text.spelled import pinyin


def parse(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words with a reading for each character, from `word<TAB>zhong4 hang2[<TAB>weight<TAB>pos]`.

    Empty lines and those that begin with `#` are skipped. Raises `InvalidRequest` that names
    every line whose pinyin is none or has not one syllable for each character.
    """
    found: dict[str, tuple[str, ...]] = {}
    faults: list[dict[str, object]] = []
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        word, _, rest = text.partition("\t")
        readings = pinyin(rest.partition("\t")[0])
        if readings is None or len(readings) != len(word):
            message = "pinyin with a tone for each character is expected after a tab"
            faults.append({"line": number, "message": message})
        else:
            found[word] = tuple(readings)
    if faults:
        raise InvalidRequest("Lines of the lexicon can not be read", errors=faults)
    return found
