"""Encoding the frontend's notation, and what is said about notation that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import EmptyAudio, TextRefused
from tests.reference import VARIANTS, references, voice
from worker.engine.sambert.symbols import SymbolEncoder, emotions, tables

BREAK = "{#4$tone_none$s_none$word_none$emotion_none$F7}"


def unit(phone: str = "b_c", tone: str = "tone3", emotion: str = "neutral", who: str = "F7") -> str:
    return f"{{{phone}${tone}$s_begin$word_begin$emotion_{emotion}${who}}}"


def encoder(*speakers: str, ignore: bool = False, limit: int = 50) -> SymbolEncoder:
    return SymbolEncoder(speakers or ("F7", "F74"), ignore_speaker=ignore, max_units=limit)


@pytest.mark.parametrize("variant", VARIANTS)
def test_reference_sequences_encode_as_upstream_does(variant: str) -> None:
    for reference in references(variant):
        found = voice(variant).encoder.encode(reference.symbols)
        assert (found.ids == reference.expected["ids"]).all()
        assert found.n_units == found.ids.shape[1] - 1


def test_tables_have_the_published_sizes() -> None:
    sizes = {column: len(values) for column, values in tables().items()}
    assert sizes == {
        "sy": 144,
        "tone": 7,
        "syllable_flag": 5,
        "word_segment": 5,
        "emo_category": 33,
    }
    assert emotions()[0] == "neutral"


def test_an_emotion_replaces_neutral_and_nothing_else() -> None:
    line = f"{unit()} {unit(emotion='sad')} {BREAK}"
    rows = [emotions().index(e) + 1 for e in ("happy", "sad")]
    assert encoder().encode(line, "happy").ids[4, :3].tolist() == [*rows, 0]


def test_unknown_fields_are_named_with_their_unit() -> None:
    with pytest.raises(TextRefused, match=r"unit 2: sy 'qq_c'; unit 3: tone 'tone9'"):
        encoder().encode(f"{unit()} {unit(phone='qq_c')} {unit(tone='tone9')} {BREAK}")


@pytest.mark.parametrize("line", ["b_c$tone3", "{b_c} x", "{b_c$tone3", "{a$b}"])
def test_what_is_no_unit_is_refused(line: str) -> None:
    with pytest.raises(TextRefused):
        encoder().encode(line)


@pytest.mark.parametrize("line", ["", "  \n"])
def test_no_symbols_is_an_error_of_its_own(line: str) -> None:
    with pytest.raises(EmptyAudio):
        encoder().encode(line)


def test_a_segment_over_the_limit_is_refused() -> None:
    encoder(limit=3).encode(" ".join([unit()] * 3))
    with pytest.raises(TextRefused, match="4 symbols, the limit is 3"):
        encoder(limit=3).encode(" ".join([unit()] * 4))


def test_extra_fields_are_ignored() -> None:
    plain, extra = unit(), unit()[:-1] + "$more$still}"
    assert (encoder().encode(plain).ids == encoder().encode(extra).ids).all()


def test_f7_stands_for_the_first_speaker_where_it_is_not_listed() -> None:
    assert encoder("anna", "ben").encode(unit()).ids[5, 0] == 0
    assert encoder("anna", "ben").encode(unit(who="ben")).ids[5, 0] == 1
    with pytest.raises(TextRefused, match="speaker_category 'carl'"):
        encoder("anna", "ben").encode(unit(who="carl"))
    assert encoder("anna", ignore=True).encode(unit(who="carl")).ids[5, 0] == 0


@given(st.text(alphabet="{}$ab_c1#", max_size=60))
def test_any_other_line_is_refused_as_such(line: str) -> None:
    """No mix of these letters is a unit of the tables, so nothing may get through."""
    with pytest.raises((TextRefused, EmptyAudio)):
        encoder().encode(line)
