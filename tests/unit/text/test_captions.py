"""Which of the source's characters are spoken as which, and by which syllables of the symbols."""

import xml.etree.ElementTree as ElementTree
from typing import Literal
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.alignment import unpacked
from worker.text.frontend import Frontend, Options
from worker.text.passages import Traits, alone
from worker.text.ssml import looks_like_ssml
from worker.types import Segment

FRONTEND = Frontend()
MANDARIN = Traits()


def segments(text: str, traits: Traits = MANDARIN) -> list[Segment]:
    """Those of `text`, which is markup where it looks like it."""
    markup: Literal["text", "ssml"] = "ssml" if looks_like_ssml(text) else "text"
    return [*FRONTEND.segments(text, Options(markup=markup, cast=alone(traits), captions=True))]


def words(text: str, traits: Traits = MANDARIN) -> list[str]:
    """Each caption word as `shown=spoken`, or `shown` where both are the same."""
    found = []
    for segment in segments(text, traits):
        at = spoken_at = 0
        for size, n_spoken in unpacked(segment.caption_words):
            shown = segment.caption[at : at + size]
            spoken = segment.spoken[spoken_at : spoken_at + n_spoken]
            found.append(shown if shown == spoken else f"{shown}={spoken}")
            at, spoken_at = at + size, spoken_at + n_spoken
        assert (at, spoken_at) == (len(segment.caption), len(segment.spoken))
    return found


def content(ssml: str) -> str:
    return "".join(ElementTree.fromstring(ssml).itertext())  # the test's own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天，晴。", "今|天，|晴。"),
        ("2026年3月5日", "2026=二零二六|年|3=三|月|5=五|日"),
        ("涨了5.2%！", "涨|了|5.2%！=百分之五点二！"),
        ("花¥100元。", "花|¥100=一百|元。"),
        ("3/4杯", "3/4=四分之三|杯"),
        ("“好的。”他说", "“好|的。”|他|说"),
        ("《人民日报》讯", "《人|民|日|报》|讯"),
        ("用OpenAI的GPT-4。", "用|OpenAI|的|GPT-4。=GPT四。"),
        ("it's fine吧", "it's |fine|吧"),
        ("好😀吗？", "好😀=好|吗？"),
        ("  好\n\n吧", "  好\n\n=好|吧"),
        ("花儿開了", "花|儿|開=开|了"),
    ],
)
def test_source_and_speech_lie_side_by_side(text: str, expected: str) -> None:
    assert "|".join(words(text)) == expected


def test_an_english_voice_is_shown_by_words() -> None:
    shown = words('Hello, it\'s 1984 — "fine".', Traits(language="en", symbols=False))
    assert [word.partition("=")[0] for word in shown] == ["Hello, ", "it's ", '1984 — "', 'fine".']


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('去<sub alias="万维网">WWW</sub>。', "去|WWW。=万维网。"),
        ("<w>重庆</w>好", "重|庆|好"),
        ('<phoneme alphabet="py" ph="hao4 qi2">好奇</phoneme>心', "好|奇|心"),
        ('<say-as interpret-as="digits">2048</say-as>了', "2048=二零四八|了"),
        ("你&amp;我", "你|&=和|我"),
        ("&#x4f60;<![CDATA[好<]]>吗", "你|好|<=小于|吗"),
        ('好<break time="120ms"/>吗', "好=好，|吗"),
        ('好<break time="1s"/>吗', "好|吗"),
    ],
)
def test_markup_is_not_shown(inner: str, expected: str) -> None:
    assert "|".join(words(f"<speak>{inner}</speak>")) == expected


TEXTS = st.text(
    st.sampled_from("天气好的“”《》，。！？、…— \n123.5%¥年月日-:℃aBc'é😀\u200b\u0301开開〇㍻&<>"),
    max_size=40,
) | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(TEXTS, st.booleans())
def test_every_character_of_the_text_is_in_one_word(text: str, symbols: bool) -> None:
    found = segments(text, Traits(symbols=symbols))
    if found:
        assert "".join(one.caption for one in found) == text
    for one in found:
        pairs = [*unpacked(one.caption_words)]
        assert sum(size for size, _ in pairs) == len(one.caption)
        assert sum(n_spoken for _, n_spoken in pairs) == len(one.spoken)
        assert all(size and n_spoken for size, n_spoken in pairs)


@given(TEXTS)
def test_every_syllable_has_its_characters(text: str) -> None:
    for one in segments(text):
        assert one.symbols
        flags = [unit.split("$")[2] for unit in one.symbols.split(" ")]
        pairs = [*unpacked(one.syllables)]
        assert sum(n_chars for n_chars, _ in pairs) == len(one.spoken)
        assert sum(n for _, n in pairs) == sum(f in ("s_begin", "s_both") for f in flags)


# Without what XML can not hold at all.
MARKED = TEXTS.filter(lambda text: not set(text) & {"\ufffe", "\uffff"})
PIECES = MARKED.map(escape) | st.sampled_from(
    [
        '<break time="300ms"/>',
        '<break time="100ms"/>',
        '<sub alias="万维网">WWW</sub>',
        '<say-as interpret-as="digits">2048</say-as>',
        '<prosody rate="50%">慢 慢来。</prosody>',
        '<emotion category="happy">好！</emotion>',
        "<p>段落。</p>\n",
        "<![CDATA[好<&吧]]>",
        "&#20320;",
    ]
)


@given(st.lists(PIECES, max_size=6).map("".join))
def test_every_character_of_markups_text_is_in_one_word(inner: str) -> None:
    ssml = f"<speak>一。{inner}</speak>"
    assert "".join(one.caption for one in segments(ssml)) == content(ssml)


def test_captions_that_are_not_asked_for_cost_nothing() -> None:
    (one,) = FRONTEND.segments("今天天气很好。")
    assert (one.caption, one.caption_words) == ("", ())
