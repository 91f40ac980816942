"""Bells: Celery messages that say "there is due work in this lane", and nothing more.

A bell may vanish (the keeper rings again) or ring twice (the claim finds nothing).
"""

import logging
import threading
from time import monotonic
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from shared.connection import RedisError
from shared.redis_address import parse_redis_url
from shared.sentinels import sentinel_options
from shared.settings import Settings

log = logging.getLogger(__name__)

WORK_TASK = "ttsfarm.work"
DELIVER_TASK = "ttsfarm.deliver"
DELIVER_QUEUE = "ttsfarm.deliver"
SENTINEL_TIMEOUT_S = 1.0
QUIET_S = 60.0  # between two words about bells that are not heard


def lane_queue(voice: str) -> str:
    """The queue a voice's bells ring in."""
    return f"ttsfarm.lane.{voice}"


def celery_app(settings: Settings, *, main: str = "ttsfarm") -> Celery:
    """A Celery app with the farm's settings; the reason for each stands beside it."""
    address = parse_redis_url(settings.redis_url.get_secret_value())
    app = Celery(main, broker=address.broker_url())
    sentinels: dict[str, Any] = {}
    if address.master:
        TRANSPORT_ALIASES["sentinel"] = "shared.sentinels:Transport"
        sentinels["master_name"] = address.master
        sentinels["sentinel_kwargs"] = sentinel_options(address, SENTINEL_TIMEOUT_S)
    app.conf.update(
        broker_use_ssl=address.tls if address.tls is not None else False,
        task_default_queue=DELIVER_QUEUE,
        task_create_missing_queues=True,
        task_ignore_result=True,  # a result backend costs a third more and nobody reads it
        task_acks_late=True,  # with prefetch 1: a busy worker hoards no bell
        worker_prefetch_multiplier=1,
        task_reject_on_worker_lost=False,  # the lease recovers, counted
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a Redis without room would end every worker
        broker_transport_options={
            "visibility_timeout": 60,  # only tidies up: no bell is work
            "unacked_restore_interval": 5,
            "priority_steps": [0],
            "socket_timeout": 5,  # without it a half-open connection is never noticed
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 5,
            **sentinels,
        },
        worker_proc_alive_timeout=settings.load_timeout_s,  # a respawned child loads a model
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


class Bells:
    """Rings lanes through Celery's public API."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._quiet_until_s = 0.0

    def ring(self, voice: str, times: int = 1) -> bool:
        """Say that `voice` has due work. A bell that can not be sent is left to the keeper.

        Answers whether all were sent, or will be.
        """
        return all([self._send(WORK_TASK, lane_queue(voice), voice) for _ in range(times)])

    def ring_courier(self, times: int = 1) -> None:
        """Say that deliveries are due."""
        for _ in range(times):
            self._send(DELIVER_TASK, DELIVER_QUEUE)

    def _send(self, task: str, queue: str, *args: str) -> bool:
        try:
            self._app.send_task(task, args=args, queue=queue, retry=False)
        except (OperationalError, RedisError):
            if monotonic() >= self._quiet_until_s:
                log.warning("bells are not heard; the keeper rings on", extra={"action": "ring"})
                self._quiet_until_s = monotonic() + QUIET_S
            return False
        return True


class BackgroundBells(Bells):
    """Rings from a thread of its own, so that no caller waits for the broker.

    Rings for the same lane that have not gone out yet are one.
    """

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._wanted: dict[tuple[str, str, tuple[str, ...]], None] = {}
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="bells", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ring what is wanted, then stop."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(timeout=5)

    def _send(self, task: str, queue: str, *args: str) -> bool:
        with self._news:
            self._wanted[task, queue, args] = None
            self._news.notify()
        return True

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._wanted or self._closed)
                wanted, self._wanted = list(self._wanted), {}
            for task, queue, args in wanted:
                super()._send(task, queue, *args)
            if self._closed and not wanted:
                return
