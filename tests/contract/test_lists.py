"""Lists that are read in pieces, on a real Redis that others write to meanwhile."""

import pytest

from shared.records import SCAN, newest
from tests.walk import Farm

pytestmark = pytest.mark.redis


def test_what_comes_and_goes_between_two_pieces_moves_no_name(farm: Farm) -> None:
    client, index = farm.scripts.client, farm.scripts.key("jobs", "default")
    names = [f"j{i:03d}" for i in range(5 * SCAN // 2)]
    client.zadd(index, {name: number for number, name in enumerate(names)})
    pieces = newest(farm.scripts, index, None)
    found = next(pieces)
    client.zadd(index, {"new": len(names)})
    found += next(pieces)
    client.zrem(index, names[-1], names[-2], names[-3])
    found += [row for piece in pieces for row in piece]
    assert [name for name, _ in found] == names[::-1]


def test_more_names_of_one_moment_than_a_piece_holds_come_once_each(farm: Farm) -> None:
    client, index = farm.scripts.client, farm.scripts.key("jobs", "default")
    names = [f"j{i:03d}" for i in range(5 * SCAN // 2)]
    client.zadd(index, {**dict.fromkeys(names, 7), "first": 6, "last": 8})
    found = [name for piece in newest(farm.scripts, index, None) for name, _ in piece]
    assert found == ["last", *names[::-1], "first"]
    rest = [name for piece in newest(farm.scripts, index, f"7.{names[1]}") for name, _ in piece]
    assert rest == [names[0], "first"]
