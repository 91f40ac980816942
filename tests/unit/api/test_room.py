"""Room in Redis for new work: the last of its memory is for what was accepted before."""

import pytest

from api.room import Room
from shared.errors import StateStoreFull
from shared.presence import StoreMemory


def test_the_last_tenth_is_for_accepted_work() -> None:
    assert not StoreMemory(used_bytes=899, limit_bytes=1000).crowded
    assert StoreMemory(used_bytes=900, limit_bytes=1000).crowded
    assert not StoreMemory(used_bytes=900, limit_bytes=0).crowded


def test_room_is_looked_up_once_a_second_and_each_time_while_there_is_none() -> None:
    now, used, looks = [100.0], [0], []

    def memory() -> StoreMemory:
        looks.append(now[0])
        return StoreMemory(used_bytes=used[0], limit_bytes=10)

    room = Room(memory, lambda: now[0])
    room.require()
    used[0] = 9
    room.require()
    assert looks == [100.0]
    now[0] = 101.0
    for _ in range(2):
        with pytest.raises(StateStoreFull):
            room.require()
    used[0] = 8
    room.require()
    assert looks == [100.0, 101.0, 101.0, 101.0]
