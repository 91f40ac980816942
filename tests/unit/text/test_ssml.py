import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidMarkup
from worker.text.frontend import Frontend, Options
from worker.text.passages import Traits, alone
from worker.text.ssml import looks_like_ssml
from worker.text.symbols import faults
from worker.types import Segment, Substitution

FRONTEND = Frontend()
MANDARIN, ENGLISH = Traits(), Traits(language="en", symbols=False)


def speak(source: str, traits: Traits = MANDARIN, *, lenient: bool = False) -> list[Segment]:
    chosen = Options(markup="ssml", cast=alone(traits), lenient=lenient)
    return list(FRONTEND.segments(source, chosen))


def readings(source: str) -> list[str]:
    parts = FRONTEND.parts(source, Options(markup="ssml"))
    return [reading for part in parts for reading in part.pinyin if reading]


BOMB = "<!DOCTYPE s [" + "".join(
    f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 9)
) + "]><speak>&e8;</speak>"  # fmt: skip


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('<!DOCTYPE s [<!ENTITY x SYSTEM "file:///x">]><speak>&x;</speak>', "dtd_forbidden"),
        (BOMB, "dtd_forbidden"),
        ("<speak><?php x?>hi</speak>", "pi_forbidden"),
        ("<speak>&nbsp;x</speak>", "entity_forbidden"),
        ("<speak><foo>好</foo></speak>", "unknown_tag"),
        ("<speak><audio src='x'/></speak>", "unknown_tag"),
        ('<speak rate="fast">a</speak>', "bad_attribute"),
        ('<speak rate="501">a</speak>', "bad_attribute"),
        ('<speak volume="-1">a</speak>', "bad_attribute"),
        ('<speak encodeType="ogg">a</speak>', "bad_attribute"),
        ('<speak>a<break time="0.5s"/></speak>', "bad_attribute"),
        ('<speak>a<break time="20ms"/></speak>', "bad_attribute"),
        ('<speak>a<break time="11s"/></speak>', "bad_attribute"),
        ('<speak>a<break time="1"/></speak>', "bad_attribute"),
        ('<speak>a<break strength="loud"/></speak>', "bad_attribute"),
        ("<speak><emotion>a</emotion></speak>", "bad_attribute"),
        ('<speak><emotion category="bored">a</emotion></speak>', "unsupported_emotion"),
        ('<speak><emotion category="happy" intensity="0">a</emotion></speak>', "bad_attribute"),
        ('<speak><emotion category="happy" intensity="2.5">a</emotion></speak>', "bad_attribute"),
        ('<speak><emotion category="happy" intensity="nan">a</emotion></speak>', "bad_attribute"),
        ('<speak><phoneme alphabet="py" ph="hao3">你好</phoneme></speak>', "phoneme_count"),
        ('<speak><phoneme alphabet="py" ph="xyz9">好</phoneme></speak>', "bad_pinyin"),
        ('<speak><phoneme alphabet="ipa" ph="x">好</phoneme></speak>', "bad_attribute"),
        ('<speak><phoneme alphabet="cmu" ph="QQ">a</phoneme></speak>', "bad_phone"),
        ('<speak><sub alias="">W3C</sub></speak>', "bad_attribute"),
        ('<speak><say-as interpret-as="poem">a</say-as></speak>', "bad_attribute"),
        ('<speak><prosody>a</prosody></speak>', "bad_attribute"),
        ('<speak><prosody rate="9">a</prosody></speak>', "bad_attribute"),
        ("<speak>你好", "not_well_formed"),
        ("<speak><speak>x</speak></speak>", "nested_speak"),
        ('<speak a="1" a="2">x</speak>', "not_well_formed"),
        ('<speak onload="x">x</speak>', "unknown_attribute"),
        ('<speak xlink:href="x">x</speak>', "unknown_attribute"),
        ('<speak bgm="x">x</speak>', "unknown_attribute"),
        ('<speak><break time="2s"/></speak>', "no_text"),
        ("<speak><sub alias='x'><s>y</s></sub></speak>", "bad_nesting"),
        ("<speak>" + "<prosody rate='1'>" * 9 + "x" + "</prosody>" * 9 + "</speak>", "too_deep"),
        ("<speak>" + "a<break/>" * 2_001 + "</speak>", "too_many_elements"),
        ("<speak>" + "<s/>" * 4_001 + "</speak>", "too_many_tags"),
        ("<speak>" + "好" * 30_000 + "</speak>", "too_large"),
        (f'<speak><sub alias="{"a" * 1025}">x</sub></speak>', "bad_attribute"),
        ('<?xml version="1.0" encoding="gbk"?><speak>x</speak>', "bad_encoding"),
    ],
)  # fmt: skip
def test_what_is_refused(source: str, fault: str) -> None:
    with pytest.raises(InvalidMarkup) as caught:
        speak(source)
    assert caught.value.fault == fault


def test_an_error_says_line_and_column_and_quotes_little() -> None:
    with pytest.raises(InvalidMarkup) as caught:
        speak(f"<speak>\n你好<{'x' * 60}/></speak>")
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert "x" * 41 not in caught.value.message
    assert caught.value.details["errors"][0]["code"] == "unknown_tag"


def test_the_voices_own_emotions_decide() -> None:
    source = '<speak><emotion category="gentle">好</emotion></speak>'
    with pytest.raises(InvalidMarkup):
        speak(source, Traits(emotions=frozenset(["happy"])))
    (segment,) = speak(source, Traits(emotions=frozenset(["gentle"])))
    assert "emotion_gentle" in (segment.symbols or "")


def test_emotions_split_segments_and_carry_intensity() -> None:
    source = '<speak>甲<emotion category="happy" intensity="1.5">乙</emotion>丙</speak>'
    found = [(s.spoken, s.emotion, s.emotion_intensity) for s in speak(source)]
    assert found == [("甲", None, None), ("乙", "happy", 1.5), ("丙", None, None)]


def test_spans_cover_the_source() -> None:
    source = '<?xml version="1.0"?>\n<speak>甲<break/>乙</speak> 丙 <speak><s>丁</s>戊</speak>\n'
    segments = speak(source)
    assert [s.spoken for s in segments] == ["甲", "乙", "丙", "丁", "戊"]
    assert "".join(s.text for s in segments) == source
    assert segments[1].start == source.index("<break")


@pytest.mark.parametrize(
    ("source", "silences"),
    [
        ("<speak>甲<break/>乙</speak>", [(0, 1000), (0, 0)]),
        ('<speak>甲<break time="500ms"/><break time="300ms"/>乙</speak>', [(0, 800), (0, 0)]),
        ('<speak><break time="2s"/>甲</speak>', [(2000, 0)]),
        ('<speak>甲<break time="9s"/><break time="9s"/></speak>', [(0, 10000)]),
        ('<speak><break time="2s"/><sub alias="甲">X</sub>乙</speak>', [(2000, 0)]),
        ('<speak><break/><say-as interpret-as="digits">1</say-as></speak>', [(1000, 0)]),
        ('<speak>甲<break time="1s"/>——<break time="2s"/>乙</speak>', [(0, 3000), (0, 0)]),
        ('<speak>甲<break time="1s"/>😀<break time="2s"/></speak>', [(0, 3000)]),
        ('<speak>甲<break time="9s"/>…<break time="9s"/>乙</speak>', [(0, 10000), (0, 0)]),
        ('<speak>😀<break time="2s"/>…<break time="1s"/>甲</speak>', [(3000, 0)]),
        ('<speak><break time="1s"/>😀<break time="2s"/>甲</speak>', [(3000, 0)]),
        ("<speak>甲。<s>…</s>乙</speak>", [(0, 280), (0, 0)]),
        ("<speak><p>甲</p><p>乙</p></speak>", [(0, 500), (0, 500)]),
    ],
)
def test_breaks_are_silences(source: str, silences: list[tuple[int, int]]) -> None:
    assert [(s.silence_before_ms, s.silence_after_ms) for s in speak(source)] == silences


def test_a_short_break_is_a_pause_inside_the_segment() -> None:
    (segment,) = speak('<speak>你们<break time="150ms"/>大家</speak>')
    assert "{#3$" in (segment.symbols or "")


def test_rate_pitch_volume_become_factors() -> None:
    (segment,) = speak('<speak voice="zhibei" rate="500" pitch="-250" volume="100">好</speak>')
    assert (segment.voice, segment.speed, segment.pitch, segment.volume) == ("zhibei", 2, -6, 2)
    (slow,) = speak('<speak rate="-500">好</speak>')
    assert slow.speed == 0.5


def test_prosody_multiplies_what_is_around() -> None:
    source = '<speak rate="500"><prosody rate="50%" pitch="+2st" volume="soft">好</prosody></speak>'
    (segment,) = speak(source)
    assert (segment.speed, segment.pitch, segment.volume) == (1.0, 2.0, 0.5)
    silent = (
        '<speak><prosody volume="silent">好<prosody volume="loud">吧</prosody></prosody></speak>'
    )
    assert [segment.volume for segment in speak(silent)] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("kind", "written", "spoken"),
    [
        ("cardinal", "-1,024", "负一千零二十四"),
        ("cardinal", "3.00", "三"),
        ("digits", "2048", "二零四八"),
        ("telephone", "0571-88157788-26", "零五七幺 八八幺五 七七八八 转二六"),
        ("telephone", "13912345678", "幺三九 幺二三四 五六七八"),
        ("telephone", "400-820-8820", "四零零 八二零 八八二零"),
        ("telephone", "+86 139 1234 5678", "八六 幺三九 幺二三四 五六七八"),
        ("address", "5幢2单元1201", "五幢二单元幺二零幺"),
        ("id", "ab_12", "A B 下划线 一 二"),
        ("characters", "v1.0", "V 一 点 零"),
        ("punctuation", "?!", "问号 叹号"),
        ("date", "2026.3.8", "二零二六年三月八日"),
        ("date", "3/8/2026", "二零二六年三月八日"),
        ("time", "3:05pm", "下午三点零五分"),
        ("time", "9:00-11:30", "九点到十一点三十分"),
        ("currency", "20.5 EUR", "二十点五欧元"),
        ("currency", "$2", "两美元"),
        ("measure", "3~5kg", "三至五千克"),
        ("date", "不是日期", "不是日期"),
    ],
)
def test_say_as(kind: str, written: str, spoken: str) -> None:
    (segment,) = speak(f'<speak><say-as interpret-as="{kind}">{written}</say-as></speak>')
    assert segment.spoken == spoken


def test_a_name_has_its_surnames_reading() -> None:
    assert readings('<speak><say-as interpret-as="name">单于明</say-as></speak>') == []
    (segment,) = speak('<speak><say-as interpret-as="name">单于明</say-as></speak>')
    assert (segment.symbols or "").startswith("{sh_c$tone4")


def test_phonemes_are_final() -> None:
    (segment,) = speak('<speak>去<phoneme alphabet="py" ph="ni3 hao3">你好</phoneme></speak>')
    assert (segment.symbols or "").count("$tone3$") == 4
    (segment,) = speak('<speak><phoneme alphabet="py" ph="huar1">花儿</phoneme></speak>')
    assert "{uar_c$tone1" in (segment.symbols or "")
    (segment,) = speak('<speak><phoneme alphabet="cmu" ph="T EH1 S T">x</phoneme></speak>')
    assert (segment.symbols or "").startswith("{t$tone1$s_begin")


def test_references_and_cdata_are_text() -> None:
    assert [s.spoken for s in speak("<speak>1 &lt; 2</speak>")] == ["一 小于 二"]
    assert [s.spoken for s in speak("<speak><![CDATA[<b>]]></speak>")] == ["小于b大于"]
    assert [s.spoken for s in speak("<speak>a<!-- x -->b</speak>")] == ["ab"]


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        ("<speak>好😀</speak>", "😀"),
        ("<speak>好&#x1F600;</speak>", "&"),
        ('<speak>好<sub alias="ж">x</sub></speak>', '<sub alias="ж">x</sub>'),
        ("<speak>好<w>人😀</w></speak>", "<w>人😀</w>"),
    ],
)
def test_what_is_left_out_is_reported_in_markup_too(source: str, lost: str) -> None:
    found: list[Substitution] = []
    list(FRONTEND.segments(source, Options(markup="ssml"), found))
    assert [s.text for s in found] == [lost]
    assert [(s.start, s.end) for s in found] == [
        (source.index(lost), source.index(lost) + len(lost))
    ]


@pytest.mark.parametrize(
    ("source", "spoken"),
    [
        ('See the <sub alias="World Wide Web 2">WWW</sub> now.', "See the World Wide Web 2 now."),
        ('<sub alias="World Wide Web">WWW</sub>', "World Wide Web"),
        ('<say-as interpret-as="telephone">555-0100</say-as>, please.', "555-0100, please."),
        ('A <phoneme alphabet="cmu" ph="K AE1 T">cat</phoneme> or <w>two</w>.', "A cat or two."),
        ('Wait<break time="120ms"/>now<break time="60ms"/> go.', "Wait, now, go."),
        ('<sub alias="naïve café">x</sub>', "naïve café"),
    ],
)
def test_for_a_voice_of_another_language_elements_say_what_is_written(
    source: str, spoken: str
) -> None:
    found: list[Substitution] = []
    chosen = Options(markup="ssml", cast=alone(ENGLISH), captions=True)
    segments = FRONTEND.segments(f"<speak>{source}</speak>", chosen, found)
    assert [s.spoken for s in segments] == [spoken]
    assert found == []


CAST = {
    None: Traits(emotions=frozenset(["neutral", "happy"])),
    "tender": Traits(emotions=frozenset(["gentle"])),
    "plain": Traits(symbols=False, emotions=frozenset(["happy"])),
    "english": ENGLISH,
}


def spoken_by(source: str) -> list[Segment]:
    chosen = Options(markup="ssml", cast=CAST.__getitem__)
    return list(FRONTEND.segments(f"<speak>{source}</speak>", chosen))


def test_what_another_voice_says_is_read_for_that_voice() -> None:
    mandarin, plain, english = spoken_by(
        '有5个。<voice name="plain">有<sub alias="6">x</sub>个。</voice>'
        '<voice name="english">There are <sub alias="7">x</sub>.</voice>'
    )
    assert (mandarin.spoken, plain.spoken, english.spoken) == (
        "有五个。", "有六个。", "There are 7."
    )  # fmt: skip
    assert mandarin.symbols
    assert (plain.symbols, english.symbols) == (None, None)


def test_another_voices_emotions_decide_within_it() -> None:
    _, gentle = spoken_by(
        '好。<voice name="tender"><emotion category="gentle">好。</emotion></voice>'
    )
    assert (gentle.voice, gentle.emotion) == ("tender", "gentle")
    for source in (
        '<voice name="tender"><emotion category="happy">好</emotion></voice>',
        '<emotion category="gentle">好</emotion>',
        '<emotion category="happy"><p>好<voice name="tender">好</voice></p></emotion>',
    ):
        with pytest.raises(InvalidMarkup) as caught:
            spoken_by(source)
        assert caught.value.fault == "unsupported_emotion"


def test_lenient_keeps_the_text_of_unknown_tags() -> None:
    assert [s.spoken for s in speak("<speak><foo>你好</foo></speak>", lenient=True)] == ["你好"]


@pytest.mark.parametrize("source", ["<speak></speak>", "<speak> \n </speak>"])
def test_an_empty_document_has_no_segment(source: str) -> None:
    assert speak(source) == []


def test_ssml_is_known_by_its_head() -> None:
    assert looks_like_ssml(' \ufeff<?xml version="1.0"?> <speak>x</speak>')
    assert not looks_like_ssml("说 <speak>")


PARTS = st.sampled_from(
    ["<speak>", "</speak>", "<s>", "</s>", "<break/>", '<emotion category="happy">', "</emotion>",
     "<w>", "</w>", '<sub alias="1月">', "</sub>", "&lt;", "&#x4f60;", "你好", "1.5", "<!--", "-->",
     '<say-as interpret-as="date">', "</say-as>", '<phoneme alphabet="py" ph="ni3">', "</phoneme>",
     "<![CDATA[", "]]>", "\n", "😀", "\ud800", "&amp", "<", ">", "<p>", "</p>"]
)  # fmt: skip


@given(
    st.lists(st.one_of(PARTS, st.text(max_size=3)), max_size=25).map("".join),
    st.sampled_from(["zh", "en"]),
)
def test_any_document_is_spoken_or_refused_with_a_place(source: str, language: str) -> None:
    try:
        segments = speak(f"<speak>{source}</speak>", Traits(language=language))
    except InvalidMarkup as error:
        placed = error.line is None or error.line >= 1
    else:
        placed = "".join(s.text for s in segments) in ("", f"<speak>{source}</speak>")
        lines = [s.symbols or "" for s in segments if language == "zh"]
        assert [fault for line in lines for fault in faults(line)] == []
        assert "\U000f0000" not in "".join(s.spoken for s in segments)
    assert placed
