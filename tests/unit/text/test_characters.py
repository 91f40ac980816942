import pytest

from worker.text.characters import blanked, count_spoken, is_spoken, substitutions


@pytest.mark.parametrize("character", "好aZé5５五½あЖ𠮷")
def test_letters_ideographs_and_digits_are_spoken(character: str) -> None:
    assert is_spoken(character)


@pytest.mark.parametrize("character", "，。 \n%+《😀☀🄀\x00\ud800\ue000\u0301")
def test_marks_pictures_and_controls_are_not(character: str) -> None:
    assert not is_spoken(character)


def test_count_counts_only_what_is_spoken() -> None:
    assert count_spoken("你好，iPhone 15！😀") == 10


def test_blanking_keeps_every_place() -> None:
    assert blanked("你😀好\n世\x07界\ud800") == "你 好 世 界 "


def test_each_run_is_reported_once_with_its_place_and_reason() -> None:
    found = [*substitutions("你好👩\u200d👩😀，再\x07\x08见\ue000", 100)]
    assert [(one.start, one.end, one.text, one.reason) for one in found] == [
        (102, 106, "👩\u200d👩😀", "emoji"),
        (108, 110, "\x07\x08", "control character"),
        (111, 112, "\ue000", "private use"),
    ]
    assert {one.replacement for one in found} == {""}


def test_a_lone_surrogate_is_reported_as_text_that_can_be_sent() -> None:
    (found,) = substitutions("好\ud800", 0)
    assert found.reason == "lone surrogate"
    assert found.text == "?"


def test_ordinary_text_with_line_breaks_has_nothing_to_report() -> None:
    assert not [*substitutions("你好，world！\r\n\t“再见”…… 5% ℃ ©", 0)]
