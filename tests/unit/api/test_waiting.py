"""How many callers may wait at once."""

import pytest

from api.waiting import WaitSlots
from shared.errors import Unavailable


def test_three_quarters_of_the_threads_may_wait() -> None:
    slots = WaitSlots(8)
    for _ in range(6):
        slots.acquire("a")
    with pytest.raises(Unavailable) as caught:
        slots.acquire("a")
    assert caught.value.details["retry_after_s"] == 5
    assert slots.taken == 6


def test_a_long_poll_without_a_place_is_told_so_and_takes_none() -> None:
    slots = WaitSlots(1)
    with slots.try_hold("a") as first, slots.try_hold("a") as second:
        assert (first, second, slots.taken) == (True, False, 1)
    assert slots.taken == 0
    with slots.try_hold("a") as again:
        assert again


def test_a_place_is_given_back_when_the_wait_fails() -> None:
    slots = WaitSlots(1)
    with pytest.raises(ZeroDivisionError), slots.try_hold("a"):
        _ = 1 / 0
    assert slots.taken == 0
    with slots.try_hold("a") as again:
        assert again


def test_no_tenant_takes_the_last_place_from_another() -> None:
    slots = WaitSlots(16, fair=True)  # 12 places
    for _ in range(6):
        slots.acquire("greedy")
    with pytest.raises(Unavailable):
        slots.acquire("greedy")
    for _ in range(3):
        slots.acquire("modest")
    with slots.try_hold("modest") as fourth, slots.try_hold("newcomer") as first:
        assert (fourth, first) == (False, True)
    for _ in range(6):
        slots.release("greedy")
    for _ in range(3):
        slots.release("modest")
    assert slots.taken == 0
