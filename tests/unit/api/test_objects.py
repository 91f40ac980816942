"""Which bytes a Range header asks for."""

import pytest

from api.objects import select_range
from shared.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes= 5-6", (5, 7)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("seconds=0-1", None),
        ("bytes=٠-٩", None),
        ("bytes=０-９", None),
        (f"bytes=0-{'9' * 6000}", (0, 100)),
        (f"bytes=-{'9' * 6000}", (0, 100)),
        (f"bytes={'0' * 6000}5-6", (5, 7)),
    ],
)
def test_a_range_selects_bytes_or_is_ignored(
    header: str | None, expected: tuple[int, int] | None
) -> None:
    assert select_range(header, 100) == expected


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={'9' * 6000}-"]
)
def test_a_range_outside_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        select_range(header, 100)
    assert caught.value.details["size_bytes"] == 100
