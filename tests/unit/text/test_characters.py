import pytest

from worker.text.characters import count_spoken, count_syllables, is_spoken


@pytest.mark.parametrize("character", "好aZé5５五½あЖ𠮷")
def test_letters_ideographs_and_digits_are_spoken(character: str) -> None:
    assert is_spoken(character)


@pytest.mark.parametrize("character", "，。 \n%+《😀☀\x00\ud800\ue000\u0301")
def test_marks_pictures_and_controls_are_not(character: str) -> None:
    assert not is_spoken(character)


def test_count_counts_only_what_is_spoken() -> None:
    assert count_spoken("你好，iPhone 15！😀") == 10


def test_a_latin_word_counts_as_two_syllables() -> None:
    assert count_syllables("你好，iPhone 15！") == 6
