"""When a delivery's next try is made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deliveries import Schedule
from shared.settings import Settings


def test_the_default_schedule_is_that_of_the_standard() -> None:
    delays_s = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert Schedule.of(Settings()).delays_s == Schedule().delays_s == delays_s
    assert Schedule.of(Settings()).keep_s == Schedule().keep_s
    assert Schedule.of(Settings(webhook_retention_s=60)).keep_s == 60


@given(tries=st.integers(0, 9), jitter=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_spread_by_a_tenth(tries: int, jitter: float) -> None:
    delay_s = Schedule().delay_s(tries, jitter)
    planned_s = Schedule().delays_s[tries]
    assert delay_s is not None
    assert 0.9 * planned_s <= delay_s <= 1.1 * planned_s


@pytest.mark.parametrize("tries", [10, 11])
def test_after_the_last_try_there_is_no_delay(tries: int) -> None:
    assert Schedule().delay_s(tries, 0.5) is None


def test_a_lease_outlives_the_longest_attempt() -> None:
    settings = Settings(webhook_timeout_s=40)
    assert Schedule.of(settings).lease_s > settings.webhook_timeout_s


def test_what_is_sent_at_once_is_bounded_as_set() -> None:
    asked = Schedule.of(Settings(webhook_host_limit=2, webhook_tenant_limit=3))
    assert (asked.host_limit, asked.tenant_limit) == (2, 3)


def test_a_delay_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="should be seconds"):
        Schedule.of(Settings(webhook_delays_s="0,soon"))
