from hypothesis import given, settings
from hypothesis import strategies as st

from shared.alignment import packed, unpacked

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)))


@settings(deadline=None)
@given(PAIRS)
def test_what_is_packed_comes_back(pairs: list[tuple[int, int]]) -> None:
    assert [*unpacked(packed(pairs))] == pairs


def test_a_plain_sentence_takes_one_row() -> None:
    assert packed([(1, 1)] * 30) == ((30, 1, 1),)
    assert packed([]) == ()
