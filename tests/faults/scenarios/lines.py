"""Redis, the network, the queue, the object store and the receivers of webhooks go wrong."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from time import monotonic

from shared.bells import lane_queue
from tests.faults import harm
from tests.faults.field import HEARD_S, Field
from tests.faults.orders import Order, order, sentence
from tests.faults.receiver import MOODS
from tests.faults.scenarios.base import (
    PATIENT,
    QUICK,
    Scenario,
    long_job,
    measured,
    orders,
    restore,
    under_load,
)


def queue_deleted(field: Field) -> None:
    """Every Celery message is deleted, again and again, while jobs come and go."""
    over = Event()

    def delete() -> None:
        while not over.wait(field.rng.uniform(0.05, 0.4)):
            harm.drop_the_queue(field)

    deleting = Thread(target=delete, daemon=True)
    deleting.start()
    try:
        field.end(field.submit_all(orders(field, field.rng.randint(16, 24))))
    finally:
        over.set()
        deleting.join()
    deletions = field.history.events("delete the queue")
    assert any(event.more["gone"] for event in deletions), "there was never a bell to delete"


def spare_bells(field: Field) -> None:
    """A hundred bells nobody needs: the work is done once, and they are used up."""
    load = orders(field, 12)
    harm.ring(field, field.rng.randint(20, 80))
    jobs = field.submit_all(load)
    harm.ring(field, 100)
    field.end(jobs)
    field.until(lambda: field.ground.client.llen(lane_queue("fake")) == 0)


def redis_fails(field: Field) -> None:
    """Redis is killed under load, freezes, and has no room."""
    rng = field.rng
    pids = {name: child.pid for name, child in field.farm.children.items()}
    long_job(field, 10)
    with under_load(field, orders(field, 24)):
        n_before = rng.randint(4, 16)
        field.until(lambda: len(field.orders) > n_before)
        harm.kill_redis(field, rng.uniform(0.3, 2.0))
    with harm.redis_frozen(field), measured(field, "submit to frozen Redis, answered"):
        _is_refused(field, "frozen", "state_store_unavailable")
    with harm.redis_frozen(field):
        Event().wait(field.length(0.5, 10, 75))
    jobs = [long_job(field, 12, key="late"), *field.submit_all(orders(field, 3, "late"))]
    with harm.redis_full(field):
        _is_refused(field, "full", "state_store_full")
        Event().wait(field.length(1.0, 10, 75))
    with measured(field, "room in Redis to all jobs' end"):
        field.end(jobs)
    now = {name: child.pid for name, child in field.farm.children.items()}
    assert now == pids, "a process ended and was started again"


def _is_refused(field: Field, key: str, code: str) -> None:
    """A submit is told in seconds to come again, and the farm then knows nothing of it."""
    wish, asked_s = Order(key=key, text=sentence(field.rng, 300)), monotonic()
    answer = field.ask(wish)
    assert monotonic() - asked_s < HEARD_S, "it was kept waiting"
    assert answer is not None, "the connection broke"
    assert (answer.status, answer.json["code"]) == (503, code), answer.body
    assert int(answer.headers["Retry-After"]) > 0
    # It may have been taken all the same, so its caller asks again under its key.
    field.later.append(wish)


def half_open(field: Field) -> None:
    """The network between a worker and Redis, then between the API and Redis, swallows all."""
    job = long_job(field, field.rng.randint(10, 14))
    field.in_the_middle(job, field.rng.randint(1, 4))
    victim = field.rng.choice(harm.WORKERS)
    (other,) = set(harm.WORKERS) - {victim}
    said = field.hears(victim)
    with harm.cut(field, victim):
        # The bell it had is acknowledged into the void, which must not make it deaf.
        harm.kill_child(field, victim)
        with measured(field, "worker cut to the job's end"):
            field.end([job])
        field.until(lambda: said("Couldn't ack"))
    with harm.cut(field, "api"), measured(field, "submit to a cut API, answered"):
        _is_refused(field, "cut", "state_store_unavailable")
        assert field.farm.call("GET", "/livez").status == 200
    # The one that was cut off works again: it is now the only one.
    harm.kill(field, other)
    pid = field.farm.children[victim].pid
    with measured(field, "mended to working again"):
        field.end(field.submit_all(orders(field, 2)))
    assert field.farm.children[victim].pid == pid, "it was deaf until it was started again"
    restore(field)


def store_fails(field: Field) -> None:
    """The store is away, slow, loses its answers, and its server is stopped and started."""
    faults = [_away, _slow, _deaf] if field.farm.store_wire else [_away]
    field.rng.shuffle(faults)
    for fault in faults:
        _in_the_middle_of_a_job(field, fault)
    if field.farm.store_wire:
        job = long_job(field, 20, key="stopped")
        field.in_the_middle(job, 2)
        _server_restarts(field)
        field.end([job])


def _in_the_middle_of_a_job(
    field: Field, fault: Callable[[Field], AbstractContextManager[None]]
) -> None:
    """Nothing ends while its store is away or deaf; what ended before shows nothing."""
    name = fault.__name__.strip("_")
    for turn in range(5):
        job = long_job(field, 20, key=f"{name} {turn}")
        field.in_the_middle(job, 1)
        with fault(field):
            met = field.job(job)["status"] == "running"
            Event().wait(field.length(field.rng.uniform(0.5, 2.0), 10, 40))
            met = met if fault is _slow else field.job(job)["status"] == "running"
        with measured(field, f"store {name}, mended to the job's end"):
            field.end([job])
        if met:
            return
    raise AssertionError(f"{name}: every job had ended before it")


@contextmanager
def _away(field: Field) -> Iterator[None]:
    with harm.store_away(field):
        yield


@contextmanager
def _slow(field: Field) -> Iterator[None]:
    wire = field.farm.store_wire
    assert wire
    field.history.note("slow", "store")
    wire.delay_s = 0.5
    yield
    wire.mend()
    field.history.note("mend", "store")


@contextmanager
def _deaf(field: Field) -> Iterator[None]:
    """What is uploaded arrives, and nobody is told."""
    wire = field.farm.store_wire
    assert wire
    field.history.note("deafen", "store")
    wire.deafen()
    yield
    wire.mend()
    field.history.note("mend", "store")


def _server_restarts(field: Field) -> None:
    """The real server ends and starts again with its data."""
    stop = os.environ.get("TTSFARM_TEST_S3_STOP")  # shell commands that stop and start it
    start = os.environ.get("TTSFARM_TEST_S3_START")
    if not stop or not start:
        assert not os.environ.get("CI"), "CI must name an S3 server that may be stopped"
        return
    for what, command in (("stop", stop), ("start", start)):
        field.history.note(what, "store's server")
        subprocess.run(command, shell=True, check=True, capture_output=True)


def receivers_fail(field: Field) -> None:
    """The receiver answers 500, 302 and 429, hangs, answers too late or no HTTP, and is away."""
    moods = [*MOODS, *field.rng.choices(MOODS, k=4)]
    field.rng.shuffle(moods)
    field.receiver.moods.extend(moods)
    jobs = [field.submit(order(field.rng, f"{i:02d}", webhook=True)) for i in range(4)]
    field.receiver.go_away()
    field.history.note("take down", "receiver")
    jobs += field.submit_all(orders(field, 6, "away", most=1))
    field.end(jobs)

    def tried() -> bool:
        rows = field.farm.call("GET", "/v1/webhooks/deliveries").json["deliveries"]
        return any(row["job"] in jobs and row["attempts"] > 0 for row in rows)

    field.until(tried)
    field.receiver.come_back()
    field.history.note("mend", "receiver")


SCENARIOS = (
    Scenario(
        number="4",
        title="the queue deleted under load",
        shape=PATIENT,
        play=queue_deleted,
        spoken_once=True,
    ),
    Scenario(
        number="5", title="a hundred spare bells", shape=PATIENT, play=spare_bells, spoken_once=True
    ),
    Scenario(
        number="6",
        title="Redis killed, frozen and full",
        shape=PATIENT,
        play=redis_fails,
        spoken_once=True,
    ),
    Scenario(number="7", title="half-open lines to Redis", shape=QUICK, play=half_open),
    Scenario(
        number="8", title="the store away, slow, deaf, restarted", shape=QUICK, play=store_fails
    ),
    Scenario(
        number="9",
        title="receivers that fail",
        shape=PATIENT,
        play=receivers_fail,
        spoken_once=True,
    ),
)
