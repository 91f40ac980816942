"""Bells on a real broker, and on none."""

import pytest
from redis import Redis

from shared.bells import DELIVER_QUEUE, BackgroundBells, Bells, celery_app, lane_queue
from shared.settings import Settings
from tests.conftest import free_port

pytestmark = pytest.mark.redis


def test_a_bell_waits_in_its_lane_for_a_worker(redis_client: Redis, redis_url: str) -> None:
    bells = Bells(celery_app(Settings(redis_url=redis_url)))
    bells.ring("espeak-zh", 2)
    bells.ring_courier()
    assert redis_client.llen(lane_queue("espeak-zh")) == 2
    assert redis_client.llen(DELIVER_QUEUE) == 1


def test_bells_from_the_background_arrive_and_join(redis_client: Redis, redis_url: str) -> None:
    bells = BackgroundBells(celery_app(Settings(redis_url=redis_url)))
    for _ in range(200):
        bells.ring("fake")
    bells.ring("fake-2")
    bells.close()
    assert 1 <= redis_client.llen(lane_queue("fake")) < 200
    assert redis_client.llen(lane_queue("fake-2")) == 1


def test_nobody_waits_for_a_broker_that_is_away() -> None:
    bells = BackgroundBells(celery_app(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")))
    for _ in range(50):
        bells.ring("fake")  # waiting for it 50 times would outlast this test's time limit


def test_an_outage_of_the_broker_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bells = Bells(celery_app(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")))
    bells.ring("fake", 2)
    # Other tests' bells may still ring in their background.
    said = [record.message for record in caplog.records if record.threadName == "MainThread"]
    assert said == ["bells are not heard; the keeper rings on"]
