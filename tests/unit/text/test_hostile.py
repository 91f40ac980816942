"""Texts that would never end in a pattern that goes back and forth, and tricks of Unicode."""

import pytest

from shared.errors import InvalidMarkup
from worker.text.frontend import Frontend, Options
from worker.text.symbols import faults

FRONTEND = Frontend()
LENGTH = 1000

# Each would take longer than anybody waits if a pattern tried every way to split it.
REPEATED = (
    *("1", "1,", "1.", "-", "1-", "1:", "a", "a.", "a@", "a-", "/a", "/", "www.", "http://", "#"),
    *("\\a", " ", "\t", "1 ", "年", "1年", "第", "百", "零", "%", "1%", "$", "￥1", "'", "a'", '"'),
    *("(", "（", "《", "…", "。", "，", "！？", "\n", "é", "e\u0301", "一", "不", "儿", "&", "<"),
)
TRICKS = (
    "\u202e好世界\u202c", "好\u200b世\u200d界\ufeff", "e" + "\u0301" * LENGTH, "👨‍👩‍👧‍👦" * 100,
    "\U000e0061\U000e0062", "\u2028\u2029好", "ﷺ" * 50, "𝟏𝟐𝟑", "①②③", "٣٤٥", "Ⅷ", "\u0000",
    "\x1b[31m", "ǅﬀ", "İı", "\u115f\u1160", "\ud83d", "🇨🇳" * 200,
)  # fmt: skip


def speak(text: str, **options: object) -> str:
    segments = list(FRONTEND.segments(text, Options(**options)))  # type: ignore[arg-type]
    assert all(not faults(segment.symbols) for segment in segments if segment.symbols)
    return "".join(segment.text for segment in segments)


@pytest.mark.parametrize("unit", REPEATED)
def test_a_text_of_one_thing_comes_to_its_end(unit: str) -> None:
    speak(unit * (LENGTH // len(unit)) + "!")


@pytest.mark.parametrize("text", TRICKS)
def test_tricks_of_unicode_are_spoken_or_left_out(text: str) -> None:
    speak(text)
    speak(f"你好{text}世界。")


@pytest.mark.parametrize(
    "source",
    [
        "<speak>" + "<s>" * 5000,
        "<speak " + " ".join(f'a{n}="1"' for n in range(5000)) + "/>",
        '<speak><sub alias="' + "a" * 2_000_000 + '">a</sub></speak>',
        "<speak>" + "&#65;" * 100_000 + "</speak>",
        "<speak><![CDATA[" + "]]" * 5000 + "</speak>",
        "<speak><!--" + "--" * 5000 + "</speak>",
        "<" * 100_000,
    ],
)
def test_markup_out_of_measure_is_refused_or_read(source: str) -> None:
    try:
        speak(source, markup="ssml")
    except InvalidMarkup as error:
        assert error.details["errors"]  # noqa: PT017  # either is right
