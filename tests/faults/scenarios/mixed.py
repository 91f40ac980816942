"""Everything at once: a seeded mix of faults, some of them inside others, under load."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from random import Random
from threading import Event

from redis.exceptions import RedisError

from tests.faults import harm
from tests.faults.field import BROKEN, Field
from tests.faults.orders import Order, order
from tests.faults.receiver import MOODS
from tests.faults.scenarios.base import QUICK, Scenario, long_job, measured, restore, under_load

Fault = Callable[[Field], AbstractContextManager[None]]
LONGEST_S = 4.0
PROCESSES = ("api", "courier", *harm.WORKERS)
N_FAULTS = 4
N_ORDERS = 6  # for each fault
PACE_S = 1.5  # a caller rests up to so long between two orders


@contextmanager
def _victim(field: Field) -> Iterator[str]:
    """A process that no fault around this one has chosen."""
    name = field.rng.choice([name for name in PROCESSES if name not in field.suffering])
    field.suffering.add(name)
    try:
        yield name
    finally:
        field.suffering.discard(name)


@contextmanager
def _killed(field: Field) -> Iterator[None]:
    with _victim(field) as name:
        harm.kill(field, name)
        yield
        field.start(name)


@contextmanager
def _child_killed(field: Field) -> Iterator[None]:
    with suppress(*BROKEN, AssertionError):  # nobody is there to be killed just now
        harm.kill_child(field, field.rng.choice(harm.WORKERS))
    yield


@contextmanager
def _terminated(field: Field) -> Iterator[None]:
    with _victim(field) as name:
        field.history.note("SIGTERM", name)
        field.farm.children[name].terminate()
        yield
        try:
            status = field.farm.children[name].wait(timeout=90)
            field.history.note("ended", name, status=status)
        except subprocess.TimeoutExpired:
            harm.kill(field, name)
        else:
            del field.farm.children[name]
        field.start(name)


@contextmanager
def _frozen(field: Field) -> Iterator[None]:
    with _victim(field) as name, harm.frozen(field, name):
        yield


@contextmanager
def _cut(field: Field) -> Iterator[None]:
    with _victim(field) as name, harm.cut(field, name):
        yield


@contextmanager
def _redis_killed(field: Field) -> Iterator[None]:
    harm.kill_redis(field, field.rng.uniform(0.1, 2.0))
    yield


@contextmanager
def _queue_deleted(field: Field) -> Iterator[None]:
    with suppress(RedisError):  # Redis is away
        harm.drop_the_queue(field)
    yield


@contextmanager
def _store_deaf(field: Field) -> Iterator[None]:
    if field.farm.store_wire is None:
        with harm.store_away(field):
            yield
        return
    field.history.note("deafen", "store")
    field.farm.store_wire.deafen()
    yield
    field.farm.store_wire.mend()
    field.history.note("mend", "store")


@contextmanager
def _moody(field: Field) -> Iterator[None]:
    field.history.note("moods", "receiver")
    field.receiver.moods.extend(field.rng.choices(MOODS, k=3))
    yield


@contextmanager
def _receiver_away(field: Field) -> Iterator[None]:
    field.history.note("take down", "receiver")
    field.receiver.go_away()
    yield
    field.receiver.come_back()
    field.history.note("mend", "receiver")


FAULTS: dict[str, Fault] = {
    "kill": _killed,
    "kill a child": _child_killed,
    "terminate": _terminated,
    "freeze": _frozen,
    "cut": _cut,
    "kill Redis": _redis_killed,
    "freeze Redis": harm.redis_frozen,
    "fill Redis": harm.redis_full,
    "delete the queue": _queue_deleted,
    "store away": harm.store_away,
    "store deaf": _store_deaf,
    "moods": _moody,
    "receiver away": _receiver_away,
}
# Of a group, none stands inside another.
STORE = {"store away", "store deaf"}
REDIS = {"kill Redis", "freeze Redis", "fill Redis", "delete the queue"}
RECEIVER = {"moods", "receiver away"}


def mixed(field: Field) -> None:
    """Callers submit, cancel and delete while one fault follows another."""
    long_job(field, field.rng.randint(10, 30))
    n_faults = int(field.length(N_FAULTS, N_FAULTS + 4, N_FAULTS + 8))
    load = [_wish(field.rng, i) for i in range(n_faults * N_ORDERS)]
    with under_load(field, load, n_callers=3, pace_s=PACE_S, then=_change_of_mind):
        for _ in range(n_faults):
            _suffer(field, list(FAULTS))
        restore(field)
        with measured(field, "last fault mended to all jobs' end"):
            field.end(list(field.orders))


def _suffer(field: Field, choice: Sequence[str]) -> None:
    rng = field.rng
    name = rng.choice(choice)
    kind = next((kind for kind in (STORE, REDIS, RECEIVER) if name in kind), {name})
    with FAULTS[name](field):
        Event().wait(rng.uniform(0.1, LONGEST_S) / 2)
        if len(choice) == len(FAULTS) and rng.random() < 0.4:
            _suffer(field, [other for other in choice if other not in kind])
        Event().wait(rng.uniform(0.1, LONGEST_S) / 2)
    Event().wait(rng.uniform(0.0, 1.0))


def _wish(rng: Random, i: int) -> Order:
    """Mostly jobs like any; some are slow, fail, or are canceled or deleted by their caller."""
    wish, kind = order(rng, f"{i:03d}", webhook=True), rng.random()
    if kind < 0.1:
        return replace(wish, text=f"[[sleep {rng.uniform(0.2, 2):.1f}]]{wish.text}")
    if kind < 0.2:
        ends = frozenset({"failed"})
        return replace(wish, text=f"{wish.text}[[refuse]]不读。", ends=ends, error="text_refused")
    if kind < 0.35:
        return replace(wish, ends=frozenset({"succeeded", "canceled"}))
    if kind < 0.45:
        return replace(wish, ends=frozenset({"deleted"}))
    return wish


def _change_of_mind(field: Field, job: str) -> None:
    """A caller whose order may end so cancels or deletes it."""
    wish = field.orders[job]
    rng = Random(f"{field.history.seed} {wish.key}")
    if "canceled" in wish.ends:
        Event().wait(rng.uniform(0, 1.5))
        with suppress(*BROKEN):
            answer = field.farm.call("POST", f"/v1/jobs/{job}/cancel")
            field.history.note("cancel", job, status=answer.status)
    if "deleted" in wish.ends:
        Event().wait(rng.uniform(0, 1.5))
        field.delete(job)


SCENARIOS = (
    Scenario(number="17", title="a mix of all, some inside others", shape=QUICK, play=mixed),
)
