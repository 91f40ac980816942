from collections.abc import Callable

import pytest

from worker.text.english import EnglishReader
from worker.text.frontend import Frontend, Options
from worker.text.syllables import SyllableTable
from worker.text.symbols import Style, faults, inventory

# The three worked examples of the specification, made with upstream's own converter.
NICE_WEATHER = (
    "{j_c$tone1$s_begin$word_begin$%} {in_c$tone1$s_end$word_middle$%} "
    "{t_c$tone1$s_begin$word_middle$%} {ian_c$tone1$s_end$word_end$%} "
    "{#1$tone_none$s_none$word_none$%} "
    "{t_c$tone1$s_begin$word_begin$%} {ian_c$tone1$s_end$word_middle$%} "
    "{q_c$tone4$s_begin$word_middle$%} {i_c$tone4$s_end$word_end$%} "
    "{#B$tone_none$s_none$word_none$%} "
    "{z_c$tone3$s_begin$word_begin$%} {en_c$tone3$s_end$word_middle$%} "
    "{m_c$tone5$s_begin$word_middle$%} {e_c$tone5$s_end$word_middle$%} "
    "{y_c$tone4$s_begin$word_middle$%} {ang_c$tone4$s_end$word_end$%} "
    "{#4$tone_none$s_none$word_none$%}"
)
SAME = Style(pause_emotion="same")


def symbols(frontend: Frontend, text: str, style: Style = SAME) -> str:
    (segment,) = frontend.segments(text, Options(style=style))
    assert segment.symbols is not None
    return segment.symbols


def units(line: str) -> list[list[str]]:
    return [unit[1:-1].split("$") for unit in line.split(" ")]


def test_the_inventory_is_the_models() -> None:
    assert len(inventory("initials")) == 26
    assert len(inventory("finals")) == 39 - 3 + 35 + 3
    assert len(inventory("english_vowels", "english_consonants")) == 39
    assert len(inventory("emotions")) == 33
    phones = inventory("initials", "finals", "english_vowels", "english_consonants")
    assert len(phones) == 139  # and `pau`, which is never written


def test_a_plain_sentence_is_written_as_upstream_writes_it(frontend: Frontend) -> None:
    line = symbols(frontend, "今天天气怎么样？")
    # Which level stands between the two phrases is ours to choose; all else is fixed.
    level = units(line)[9][0]
    expected = NICE_WEATHER.replace("#B", level).replace("%", "emotion_neutral$F7")
    assert level in ("#1", "#2")
    assert line == expected


def test_erhua_zero_initials_and_english(frontend: Frontend) -> None:
    found = units(symbols(frontend, "我爱玩儿Python和AI。"))
    phones = [u[0] for u in found if u[0][0] != "#"]
    assert " ".join(phones) == "w_c o_c ga ai_c w_c anr_c p ay th aa n h_c e_c ey ay"
    assert [u[1:4] for u in found if u[0] in ("ey", "ay")][-2:] == [
        ["tone1", "s_both", "word_begin"],
        ["tone1", "s_both", "word_end"],
    ]


def test_sandhi_and_comma(frontend: Frontend) -> None:
    found = units(symbols(frontend, "一会儿去花园，好不好？"))
    assert [(u[0], u[1][-1]) for u in found if u[0][0] != "#"] == [
        ("y_c", "2"), ("i_c", "2"), ("h_c", "4"), ("ueir_c", "4"), ("q_c", "4"), ("v_c", "4"),
        ("h_c", "1"), ("ua_c", "1"), ("y_c", "2"), ("van_c", "2"), ("h_c", "3"), ("ao_c", "3"),
        ("b_c", "5"), ("u_c", "5"), ("h_c", "3"), ("ao_c", "3"),
    ]  # fmt: skip
    assert [u[0] for u in found if u[0][0] == "#"][-2:] == ["#3", "#4"]


def test_pauses_carry_no_emotion_unless_asked(frontend: Frontend) -> None:
    line = symbols(frontend, "好。", Style(emotion="happy", speaker="zhitian"))
    assert units(line)[0][4:] == ["emotion_happy", "zhitian"]
    assert units(line)[-1] == [
        "#4", "tone_none", "s_none", "word_none", "emotion_none", "zhitian"
    ]  # fmt: skip


GOOD = (
    "{h_c$tone3$s_begin$word_begin$emotion_none$F7} {ao_c$tone3$s_end$word_end$emotion_none$F7} "
    "{#4$tone_none$s_none$word_none$emotion_none$F7}"
)


def test_a_good_line_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("{pau$", "{h_c$"),
        ("tone6", "tone3"),
        ("s_middle$word_begin", "s_begin$word_begin"),
        ("word_middle$emotion_none$F7} {#4", "word_end$emotion_none$F7} {#4"),
        ("emotion_bored", "emotion_none"),
        ("{#3$", "{#4$"),
        ("$F7$x}", "$F7}"),
        ("{#4$tone1", "{#4$tone_none"),
    ],
)
def test_a_broken_line_is_found_out(wrong: str, right: str) -> None:
    broken = GOOD.replace(right, wrong, 1)
    assert broken != GOOD
    assert faults(broken) != []


def test_a_break_may_not_begin_a_line_nor_follow_a_break() -> None:
    pause = "{#1$tone_none$s_none$word_none$emotion_none$F7}"
    assert faults(f"{pause} {GOOD}") != []
    assert faults(GOOD.replace("{#4", f"{pause} {{#4")) != []


@pytest.mark.parametrize(
    ("reading", "phones"),
    [
        ("ju2", "j_c v_c"), ("que4", "q_c ve_c"), ("xuan2", "xx_c van_c"), ("yun1", "y_c vn_c"),
        ("yuan2", "y_c van_c"), ("you3", "y_c ou_c"), ("yong4", "y_c ong_c"), ("lve4", "l_c ve_c"),
        ("nüe4", "n_c ve_c"), ("zhi1", "zh_c ih_c"), ("si4", "s_c ii_c"), ("gui1", "g_c uei_c"),
        ("liu2", "l_c iou_c"), ("dun1", "d_c uen_c"), ("er2", "ge er_c"), ("ou3", "go ou_c"),
        ("e4", "ge e_c"), ("ger1", "g_c er_c"), ("huar1", "h_c uar_c"), ("ng4", "ge en_c"),
        ("m2", "m_c u_c"), ("weng1", "w_c eng_c"), ("bo1", "b_c o_c"),
    ],
)  # fmt: skip
def test_pinyin_to_phones(reading: str, phones: str) -> None:
    syllable = SyllableTable().syllable(reading)
    assert syllable is not None
    assert " ".join(syllable.phones) == phones


def test_every_base_syllable_has_an_erhua_the_model_knows() -> None:
    table, finals = SyllableTable(), inventory("finals")
    rows = [key for key in table.keys if key not in ("er", "yo")]
    assert len(table.keys) == 411
    for key in rows:
        syllable = table.syllable(f"{key}r1")
        assert syllable is not None
        assert syllable.phones[1] in finals


@pytest.mark.parametrize("reading", ["", "1", "xyz3", "hao", "hao6", "haor0", "r1x"])
def test_what_is_no_syllable_is_refused(reading: str) -> None:
    assert SyllableTable().syllable(reading) is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Python", "p ay1 . th aa n0"),
        ("AI", "ey1 . ay1"),
        ("NASA", "n ae1 . s ah0"),
        ("W", "d ah1 . b ah l0 . y uw0"),
        ("OpenAI", "ow1 . p ah n0 . ey1 . ay1"),
        ("html", "ey ch1 . t iy1 . eh m1 . eh l1"),
        ("iOS", "ay1 . ow1 . eh s1"),
        ("SaaS", "s ae s1"),
        ("nginx", "eh n1 . jh ah n0 . eh k s1"),
        ("vlogs", "v l aa g z1"),
        ("café", "k ah0 . f ey1"),
    ],
)
def test_english(word: str, expected: str) -> None:
    said = " . ".join(f"{' '.join(s.phones)}{s.tone[-1]}" for s in EnglishReader().syllables(word))
    assert said == expected


def test_any_latin_word_is_said_with_phones_of_the_model() -> None:
    phones = inventory("english_vowels", "english_consonants")
    reader: Callable[..., object] = EnglishReader().syllables
    for word in ("zzyzx", "'", "ß", "Þ", "ǅ", "q", "x'x", "aaaaaaaaaaaaaaaaaaa", "ﬁ"):
        for syllable in EnglishReader().syllables(word):
            assert set(syllable.phones) <= phones
        assert reader(word)
