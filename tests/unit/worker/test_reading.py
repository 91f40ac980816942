import threading
from collections.abc import Iterator

import pytest

from worker.reading import AHEAD, read_ahead


def test_items_come_in_order_whatever_takes_how_long() -> None:
    second = threading.Event()

    def fetch(item: int) -> int:
        if item == 1:
            second.set()
        if item == 0:
            assert second.wait(60), "the second was not fetched while the first was"
        return item * item

    with read_ahead(range(50), fetch) as fetched:
        assert [(item, wait()) for item, wait in fetched] == [(i, i * i) for i in range(50)]


def test_no_more_is_read_than_is_wanted_soon() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    with read_ahead(items(), str) as fetched:
        assert next(fetched)[1]() == "0"
        assert len(taken) == AHEAD + 1


def test_a_fault_is_raised_where_its_item_is_used() -> None:
    def fetch(item: int) -> float:
        return 1 / item

    with read_ahead([1, 0, 2], fetch) as fetched:
        waits = [wait for _, wait in fetched]
        assert (waits[0](), waits[2]()) == (1.0, 0.5)
        with pytest.raises(ZeroDivisionError):
            waits[1]()
