from pathlib import Path

import pytest

from worker.text.clean import clean
from worker.text.normalise import Normaliser
from worker.text.normalise.numbers import cardinal, roman

GOLDEN = Path(__file__).parents[2] / "golden" / "text" / "normalise.txt"
LINES = [
    line.split(" => ")
    for line in GOLDEN.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("# ")
]


@pytest.fixture(scope="module")
def normaliser() -> Normaliser:
    return Normaliser()


def test_golden_file_has_at_least_500_lines() -> None:
    assert len(LINES) >= 500


@pytest.mark.parametrize(("written", "spoken"), LINES, ids=[line[0] for line in LINES])
def test_golden(normaliser: Normaliser, written: str, spoken: str) -> None:
    assert normaliser.spoken(clean(written).text) == spoken


@pytest.mark.parametrize("written", [line[0] for line in LINES])
def test_pieces_cover_the_text_without_gap(normaliser: Normaliser, written: str) -> None:
    text = clean(written).text
    pieces = normaliser.pieces(text)
    assert "".join(text[p.start : p.end] for p in pieces) == text


def test_a_space_beside_a_number_is_part_of_its_piece(normaliser: Normaliser) -> None:
    text = "在 2008 年，有 2 人"
    pieces = normaliser.pieces(text)
    found = [(text[p.start : p.end], p.spoken) for p in pieces]
    assert found == [
        ("在", "在"),
        (" 2008 ", "二零零八"),
        ("年，有", "年，有"),
        (" 2 ", "两"),
        ("人", "人"),
    ]


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        ("0", "零"),
        ("10", "十"),
        ("110", "一百一十"),
        ("1001", "一千零一"),
        ("100000001", "一亿零一"),
        ("1000000010000", "一万亿零一万"),
        ("007", "零零七"),
        ("12345678901234567", "一二三四五六七八九零一二三四五六七"),
    ],
)
def test_cardinal(number: str, spoken: str) -> None:
    assert cardinal(number) == spoken


def test_roman_numerals_that_are_none_are_refused() -> None:
    assert [roman(n) for n in ("IV", "XIX", "IIII", "VX", "XL")] == [4, 19, None, None, None]


def test_what_no_rule_reads_is_marked_unread(normaliser: Normaliser) -> None:
    pieces = normaliser.pieces("你ж好")
    assert [(p.spoken, bool(p.unread)) for p in pieces] == [
        ("你", False),
        (" ", True),
        ("好", False),
    ]
