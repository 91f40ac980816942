"""Names of jobs."""

from api.ids import JOB_ID, new_id


def test_ids_sort_by_time_and_fit_where_a_client_could_choose_them() -> None:
    early = new_id(clock=lambda: 1_700_000_000.000, random_bits=lambda bits: 2**bits - 1)
    late = new_id(clock=lambda: 1_700_000_000.001, random_bits=lambda bits: 0)
    assert early < late
    assert len(early) == len(late) == 26
    assert JOB_ID.match(early)


def test_the_layout_is_a_ulids() -> None:
    assert new_id(clock=lambda: 1469918176.385, random_bits=lambda bits: 0).startswith("01aryz6s41")


def test_two_ids_differ() -> None:
    assert new_id() != new_id()
