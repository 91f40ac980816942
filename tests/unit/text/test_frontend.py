import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import TextTooLong
from worker.text.frontend import Frontend, Options
from worker.text.passages import Traits, alone
from worker.text.symbols import faults
from worker.types import Segment, Substitution

FRONTEND = Frontend()
# Characters that rules look at, drawn more often than the rest of Unicode.
TELLING = st.sampled_from(
    list(
        "0123456789.,:/-~%¥$€℃°+×=²½①Ⅳ#@&_*^'\"“”（）。，！？；…—\n 一不儿两年月日个第零了的地得着"
    )
)
TEXTS = st.text(
    st.one_of(TELLING, st.characters(), st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)),
    max_size=120,
)


def speak(text: str, options: Options | None = None) -> tuple[list[Segment], list[Substitution]]:
    found: list[Substitution] = []
    return list(FRONTEND.segments(text, options, found)), found


def accounted(text: str, segments: list[Segment], found: list[Substitution]) -> None:
    """Every character is in exactly one segment, or the whole text is reported as not spoken."""
    if segments:
        assert "".join(s.text for s in segments) == text
        assert [s.start for s in segments] == [0, *(s.end for s in segments[:-1])]
        assert segments[-1].end == len(text)
        assert [s.index for s in segments] == list(range(len(segments)))
    elif text:
        assert (0, len(text)) in [(s.start, s.end) for s in found]
    for s in found:
        assert 0 <= s.start < s.end <= len(text)


@given(TEXTS)
@example("\ud800\n😀\u0301")
@example("儿儿儿不一一不")
@example("1" * 300)
@example("㍻㏂﷽𝟙𝐀ﬁ")
def test_any_text_is_spoken_or_reported(text: str) -> None:
    segments, found = speak(text)
    accounted(text, segments, found)
    for segment in segments:
        assert segment.spoken
        assert segment.symbols is not None
        assert faults(segment.symbols) == []
        units = segment.symbols.count(" ") + 1
        assert units <= 400


@given(TEXTS)
def test_text_engines_get_the_same_segments_without_symbols(text: str) -> None:
    segments, found = speak(text, Options(cast=alone(Traits(symbols=False))))
    accounted(text, segments, found)
    assert all(s.symbols is None and s.spoken for s in segments)


@given(TEXTS)
def test_other_languages_are_only_split(text: str) -> None:
    segments, found = speak(text, Options(cast=alone(Traits(language="en"))))
    accounted(text, segments, found)
    assert all(s.symbols is None for s in segments)


@given(TEXTS)
def test_the_same_text_gives_the_same_segments(text: str) -> None:
    assert speak(text) == speak(text)


@given(TEXTS)
def test_a_reading_stands_under_every_character(text: str) -> None:
    readings = [reading for part in FRONTEND.parts(text) for reading in part.pinyin]
    assert len(readings) == len(text)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("？？？", []),
        ("", []),
        ("第一行\n第二行", ["第一行", "第二行"]),
        ("共3个。走！", ["共三个。", "走！"]),
    ],
)
def test_segments(text: str, spoken: list[str]) -> None:
    assert [s.spoken for s in speak(text)[0]] == spoken


def test_what_is_left_out_is_reported_with_its_place() -> None:
    _, found = speak("你好😀，ж！")
    assert [(s.start, s.end, s.text, s.replacement) for s in found] == [
        (2, 3, "😀", ""),
        (4, 5, "ж", ""),
    ]


def test_a_paragraph_is_followed_by_a_longer_silence() -> None:
    segments, _ = speak("一句。二句。\n\n三句。")
    assert [s.silence_after_ms for s in segments] == [280, 500, 0]


def test_a_long_sentence_is_cut_at_a_comma_with_a_short_silence() -> None:
    clause = "这是一个相当长的分句并且没有句号"
    segments, _ = speak("，".join([clause] * 6) + "。")
    assert len(segments) > 1
    assert all(s.spoken.endswith(("，", "。")) for s in segments)
    assert {s.silence_after_ms for s in segments[:-1]} == {120}
    assert segments[-1].silence_after_ms == 0


@pytest.mark.parametrize("unit", ["长", "1", "a", "word ", "你好", "１２３，"])
def test_no_segment_is_too_long_for_the_model(unit: str) -> None:
    segments, _ = speak(unit * (2_000 // len(unit)))
    for segment in segments:
        assert segment.symbols is not None
        assert segment.symbols.count("$s_begin$") + segment.symbols.count("$s_both$") <= 120


def test_threads_share_a_frontend() -> None:
    text = "银行的行长2026年1月9日说：Hello，一会儿去玩儿。" * 3
    fresh = Frontend()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: list(fresh.segments(text)), range(8)))
    assert all(segments == found[0] for segments in found)
    assert found[0] == list(FRONTEND.segments(text))


def test_longer_texts_than_allowed_are_refused() -> None:
    with pytest.raises(TextTooLong):
        speak("好" * 101, Options(max_chars=100))


def test_a_book_streams_in_flat_memory() -> None:
    page = "他在2026年1月9日说：“这本书有350页，卖￥58.00。”大家都很高兴地笑了😀。\n" * 50

    def book(pages: int) -> Iterator[str]:
        for _ in range(pages):
            yield page

    def peak(pages: int) -> int:
        tracemalloc.start()
        chosen = Options(cast=alone(Traits(symbols=False)))
        count = sum(1 for _ in FRONTEND.segments(book(pages), chosen))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count >= pages * 50
        return size

    peak(1)
    assert peak(60) < peak(15) + 300_000
