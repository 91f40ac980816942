"""The faults, each noted in the history with what it did to whom."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tests.units
from shared.bells import Bells, celery_app, lane_queue
from shared.settings import Settings
from tests.faults.field import Field

WORKERS = ("worker0", "worker1")


def units(field: Field, job: str) -> dict[str, dict[str, Any]]:
    """What Redis knows of every unit of a job."""
    return tests.units.units(field.farm.redis.url, job)


def held_by(field: Field, name: str, job: str) -> list[str]:
    """The segments of a job that a worker's process holds now."""
    return tests.units.held_by(field.farm.redis.url, field.farm.children[name].pid, job)


def kill(field: Field, name: str) -> None:
    """kill -9 of a process and its children."""
    field.history.note("kill -9", name)
    field.farm.kill(name)


def kill_child(field: Field, name: str) -> None:
    """kill -9 of the process that renders; its parent lives."""
    pid = int(field.workers(patience_s=5)[name]["pid"])
    field.history.note("kill -9 of the child", name, pid=pid)
    os.kill(pid, signal.SIGKILL)


@contextmanager
def frozen(field: Field, name: str) -> Iterator[None]:
    """SIGSTOP of a process and its children, until the block's end."""
    field.history.note("freeze", name)
    field.farm.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        if name in field.farm.children:  # else it was killed as it was
            field.history.note("thaw", name)
            field.farm.signal(name, signal.SIGCONT)


@contextmanager
def cut(field: Field, name: str) -> Iterator[None]:
    """The wire between a process and Redis is half-open, until the block's end."""
    field.history.note("cut from Redis", name)
    field.farm.wire(name).cut()
    try:
        yield
    finally:
        field.history.note("mend", name)
        field.farm.wire(name).mend()


def kill_redis(field: Field, down_s: float) -> None:
    """kill -9 of Redis, which is back after a while with its append-only file."""
    field.history.note("kill -9", "redis", down_s=round(down_s, 1))
    field.farm.redis.kill()
    time.sleep(down_s)
    field.farm.redis.start()  # type: ignore[union-attr]
    field.history.note("start", "redis")


@contextmanager
def redis_frozen(field: Field) -> Iterator[None]:
    process = field.farm.redis.process  # type: ignore[union-attr]
    assert process
    field.history.note("freeze", "redis")
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        field.history.note("thaw", "redis")
        process.send_signal(signal.SIGCONT)


@contextmanager
def redis_full(field: Field) -> Iterator[None]:
    """Redis refuses every write that needs room, until the block's end or its own."""
    client = field.ground.client
    field.history.note("fill", "redis")
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)
        field.history.note("make room", "redis")


def drop_the_queue(field: Field) -> None:
    """Delete every Celery message, taken or not."""
    gone = field.ground.client.delete(lane_queue("fake"), "unacked", "unacked_index")
    field.history.note("delete the queue", gone=gone)


@contextmanager
def bells_watched(field: Field) -> Iterator[Callable[[], bool]]:
    """Tells whether a bell was taken out of the queue inside the block, once one has rung."""
    client, told = field.ground.client, list[str]()
    client.config_set("notify-keyspace-events", "Kl")
    with client.pubsub(ignore_subscribe_messages=True) as watched:
        watched.subscribe(f"__keyspace@0__:{lane_queue('fake')}")

        def all_is_told() -> bool:
            message = watched.get_message(timeout=0.2)
            told.extend([message["data"]] if message else [])
            return message is None and "lpush" in told

        def taken() -> bool:
            field.until(all_is_told)
            return "rpop" in told

        yield taken
    client.config_set("notify-keyspace-events", "")


def ring(field: Field, times: int) -> None:
    """Bells nobody asked for."""
    field.history.note("ring", "fake", times=times)
    settings = Settings(redis_url=field.farm.redis.url)
    with celery_app(settings, main="faults") as app:
        Bells(app).ring("fake", times)


@contextmanager
def store_away(field: Field) -> Iterator[None]:
    """The object store refuses every connection, or its directory is not one."""
    field.history.note("take down", "store")
    wire, folder = field.farm.store_wire, field.farm.directory / "objects"
    hidden = folder.with_name("hidden")
    if wire:
        wire.take_down()
    else:
        folder.rename(hidden)
        folder.write_text("no directory")
    try:
        yield
    finally:
        field.history.note("mend", "store")
        if wire:
            wire.mend()
        else:
            folder.unlink()
            hidden.rename(folder)
