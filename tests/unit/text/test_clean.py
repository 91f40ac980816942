import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.clean import clean


@pytest.mark.parametrize(
    ("source", "text", "reasons"),
    [
        ("你好😀！", "你好！", ["emoji"]),
        ("👨‍👩‍👧家", "家", ["emoji"]),
        ("🇨🇳队", "队", ["emoji"]),
        ("5️⃣号", "号", ["emoji"]),
        ("加油💪🏻", "加油", ["emoji"]),
        ("你\u200b好\ufeff", "你好", []),
        ("a\x07b", "ab", ["control character"]),
        ("\ud800好", "好", ["lone surrogate"]),
        ("\ufffd好", "好", ["replacement character"]),
        ("\ue000好", "好", ["private use character"]),
        ("\U000f0000好", "好", ["private use character"]),
        ("ＡＢ１２％＋", "AB12%+", []),
        ("甲\u3000乙\u00a0丙", "甲 乙 丙", []),
        ("上\r\n下\r左\u2028右", "上\n下\n左\n右", []),
        ("①㎡½℃Ⅳ…", "①㎡½℃Ⅳ…", []),
        ("cafe\u0301", "café", []),
        ("中\u0301", "中", ["combining mark"]),
        ("，！？：；（）", "，！？：；（）", []),
    ],
)
def test_clean(source: str, text: str, reasons: list[str]) -> None:
    cleaned = clean(source)
    assert cleaned.text == text
    assert [r.reason for r in cleaned.removals] == reasons


@given(st.text())
def test_offsets_rise_and_end_at_the_end(source: str) -> None:
    cleaned = clean(source, base=7)
    assert len(cleaned.offsets) == len(cleaned.text) + 1
    assert list(cleaned.offsets) == sorted(cleaned.offsets)
    assert cleaned.offsets[-1] == len(source) + 7
    assert all(7 <= r.start < r.end <= len(source) + 7 for r in cleaned.removals)


@given(st.text())
def test_cleaning_twice_changes_nothing_more(source: str) -> None:
    once = clean(source).text
    assert clean(once).text == once
