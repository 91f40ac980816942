from collections.abc import Callable
from pathlib import Path

import pytest

from worker.text.frontend import Frontend
from worker.text.g2p import Lexicon
from worker.text.polyphones import PolyphoneModel
from worker.text.syllables import SyllableTable

Read = Callable[[str], list[str | None]]

GOLDEN = Path(__file__).parents[2] / "golden" / "text" / "readings.txt"
LINES = [
    line.split(" ")
    for line in GOLDEN.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
def test_golden(read: Read, line: list[str]) -> None:
    text, *readings = line
    assert [r or "-" for r in read(text)] == readings


def test_readings_stand_under_their_characters(read: Read) -> None:
    assert read("a好,1个😀Ж人") == [None, "hao3", None, None, "ge4", None, None, "ren2"]


def test_a_users_lexicon_comes_first() -> None:
    own = Frontend(lexicon={"重行": ("zhong4", "hang2")})
    (part,) = own.parts("重行人")
    assert part.pinyin[:2] == ("zhong4", "hang2")


def test_a_users_lexicon_comes_before_what_stands_beside_a_word() -> None:
    own = Frontend(lexicon={"弹了": ("dan4", "le5")})
    (part,) = own.parts("他弹了弹烟灰")
    assert part.pinyin[1:4] == ("dan4", "le5", "tan2")


def test_every_reading_of_the_lists_is_a_syllable_of_the_model() -> None:
    lexicon, table = Lexicon(), SyllableTable()
    bad = {r for r in lexicon.characters.values() if table.syllable(r) is None}
    assert bad == set()


def test_every_gb2312_character_has_a_reading() -> None:
    lexicon = Lexicon()
    table = SyllableTable()
    chars = [
        bytes([high, low]).decode("gb2312", "ignore")
        for high in range(0xB0, 0xF8)
        for low in range(0xA1, 0xFF)
    ]
    found = [c for c in chars if c]
    assert len(found) == 6763
    assert [c for c in found if table.syllable(lexicon.default(c)) is None] == []


def test_the_model_tells_readings_apart_by_context() -> None:
    model = PolyphoneModel()
    text = "藏族同胞收藏"
    assert model.readings(text, [0, 5]) == ["zang4", "cang2"]
