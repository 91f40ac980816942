import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.characters import count_spoken, is_spoken
from worker.text.split import MAX_CHARS, split

MIXED = st.text(
    st.one_of(
        st.sampled_from("好的天气人a1.，。！？…“”\n 😀\x07《》;:、-[]\u0301"), st.characters()
    ),
    max_size=400,
)


def spoken(text: str, **options: int) -> list[str]:
    return [segment.spoken for segment in split(text, **options)]


def pauses(text: str) -> list[int]:
    return [segment.silence_after_ms for segment in split(text)]


@given(MIXED, st.integers(5, 80))
def test_no_character_is_lost(text: str, max_chars: int) -> None:
    segments = [*split(text, max_chars=max_chars)]
    if not segments:
        assert count_spoken(text) == 0
        return
    assert "".join(segment.text for segment in segments) == text
    assert all(segment.text == text[segment.start : segment.end] for segment in segments)
    assert [segment.index for segment in segments] == [*range(len(segments))]


@given(MIXED, st.integers(5, 80))
def test_every_segment_says_what_its_source_says(text: str, max_chars: int) -> None:
    for segment in split(text, max_chars=max_chars):
        assert [*filter(is_spoken, segment.spoken)] == [*filter(is_spoken, segment.text)]
        assert count_spoken(segment.spoken) > 0
        assert len(segment.spoken) <= max_chars + 8
        assert segment.spoken == segment.spoken.strip()
        assert segment.spoken.isprintable() or not segment.spoken.isascii()


@pytest.mark.parametrize("text", ["", " \n\t", "。。。！", "😀😀", "\x00\ud800", "《》"])
def test_text_without_speech_has_no_segment(text: str) -> None:
    assert spoken(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天下雨。我们不去了！好不好呀？", ["今天下雨。", "我们不去了！", "好不好呀？"]),
        ("他说：“明天再来。”然后走了。", ["他说：“明天再来。”", "然后走了。"]),
        ("圆周率是3.14159，见www.abc.com。", ["圆周率是3.14159，见www.abc.com。"]),
        ("It costs 3.5. Then we left.", ["It costs 3.5.", "Then we left."]),
        ("好。我是小明。", ["好。我是小明。"]),
        ("第一行标题\n第二行正文", ["第一行标题", "第二行正文"]),
        ("标题\n第二行正文", ["标题", "第二行正文"]),
        ("等等……我想一想。", ["等等……我想一想。"]),
        ("……“你好呀，朋友。”😀😀", ["……“你好呀，朋友。”"]),
        ("温度-5度", ["温度-5度"]),
        ("-5度，还很冷", ["-5度，还很冷"]),
    ],
)
def test_sentences_become_segments(text: str, expected: list[str]) -> None:
    assert spoken(text) == expected


def test_a_long_sentence_is_cut_after_a_comma() -> None:
    clause = "我们昨天一起去了公园，"
    cut = spoken(clause * 12)
    assert len(cut) > 1
    assert all(part.endswith("，") for part in cut)


def test_a_long_sentence_without_commas_is_cut_between_words() -> None:
    words = "supercalifragilistic " * 10
    assert all(set(part.split()) == {"supercalifragilistic"} for part in spoken(words))


def test_chinese_without_any_mark_is_cut_at_the_limit() -> None:
    assert [len(part) for part in spoken("很长" * 100)] == [60, 60, 60, 20]


def test_a_number_and_a_mark_are_not_torn_from_what_they_belong_to() -> None:
    parts = spoken("很" * 57 + "12345678" + "很" * 9)
    assert any("12345678" in part for part in parts)
    parts = spoken("很" * 60 + "》很很很很很")
    assert not parts[1].startswith("》")


def test_a_word_longer_than_the_limit_is_cut_all_the_same() -> None:
    assert [len(part) for part in spoken("a" * 150)] == [60, 60, 30]


def test_pauses_follow_the_strongest_mark_and_the_last_segment_has_none() -> None:
    assert pauses("今天下雨了。明天是晴天；后天不知道！\n\n大后天再说吧") == [350, 250, 600, 0]
    assert pauses("我们昨天一起去了公园，" * 6) == [150, 0]
    assert pauses("今天下雨了。😀😀明天是晴天") == [350, 0]
    assert pauses("很长" * 40) == [0, 0]


def test_segments_are_made_while_the_text_is_read() -> None:
    started = time.perf_counter()
    first = next(split("今天下雨了。" * 1_000_000))
    assert first.spoken == "今天下雨了。"
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    "unit", ["很", "a", "。", "，", "😀", "“", "\n", " ", "很。", "…很\n", "a."]
)
def test_work_grows_with_the_text_and_not_faster(unit: str) -> None:
    def cost_s(n_chars: int) -> float:
        text = unit * (n_chars // len(unit))
        started = time.process_time()
        for _ in split(text):
            pass
        return time.process_time() - started

    small, large = (min(cost_s(n) for _ in range(3)) for n in (5_000, 40_000))
    assert large < 24 * small + 0.05  # 8 times the text; a square would be 64 times


def test_a_picture_book_keeps_its_segments_small() -> None:
    text = "你好" + "😀" * 5_000 + "。" * 5_000 + "再见，朋友们"
    segments = [*split(text)]
    assert "".join(segment.text for segment in segments) == text
    assert all(len(segment.spoken) <= MAX_CHARS + 8 for segment in segments)
    assert all(a.end == b.start for a, b in itertools.pairwise(segments))
