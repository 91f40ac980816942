import pytest

from shared.errors import InvalidRequest
from worker.text.frontend import Frontend
from worker.text.lexicon import parse


def test_a_lexicon_gives_words_their_readings() -> None:
    words = parse(["# ours\n", "\n", "重行\tzhong4 hang2\t100\tn\n"])
    assert words == {"重行": ("zhong4", "hang2")}
    (part,) = Frontend(lexicon=words).parts("他去重行了")
    assert part.pinyin[2:4] == ("zhong4", "hang2")
    assert "重行" in part.words


def test_every_bad_line_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(["好\thao3", "重行\tzhong4", "人\tren9", "无"])
    assert [fault["line"] for fault in caught.value.details["errors"]] == [2, 3, 4]
