"""Workers that die, freeze, stop in order, are poisoned, load slowly, or have a wrong clock."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

from tests.faults import harm
from tests.faults.field import Field, Shape
from tests.faults.orders import Order, sentence
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

CLOCK = Path(__file__).parents[1] / "clock"
HOUR_S = 3600
# Wrong clocks need a store without signatures; poison needs few losses to be known.
SMALL = Shape(
    name="small", workers=1, local=True, env={"TTSFARM_LEASE_S": "1", "TTSFARM_MAX_LOSSES": "3"}
)
LOAD_S = 4.5  # longer than Celery gives a child it starts again, if nobody tells it otherwise


def seen_at_work(field: Field, name: str, jobs: Iterator[str]) -> Iterator[str]:
    """A job each time the worker holds segments of it; when it ends, it is the next one's turn."""
    for job in jobs:
        while not field.ended(job):
            if harm.held_by(field, name, job):
                yield job
            Event().wait(0.02)
    raise AssertionError(f"{name} was never seen at work")


@contextmanager
def caught_in_the_act(
    field: Field, name: str, jobs: Iterator[str]
) -> Iterator[tuple[str, list[str]]]:
    """The worker is frozen while it holds segments of a job; the block gets both."""
    for job in seen_at_work(field, name, jobs):
        with harm.frozen(field, name):
            if held := harm.held_by(field, name, job):
                yield job, held
                return


def _long_jobs(field: Field, what: str) -> Iterator[str]:
    """One in its middle, and more of them as long as they are asked for."""
    for i in range(5):
        n_segments = field.rng.randint(8, 12)
        job = long_job(field, n_segments, key=f"{what} {i}")
        field.in_the_middle(job, field.rng.randint(1, n_segments // 2))
        yield job


def killed(field: Field) -> None:
    """Only what was in hand is rendered again, and it is once the lease has ended.

    Once a whole worker is killed, once its child alone.
    """
    for whole in field.rng.sample((True, False), k=2):
        what = "a worker" if whole else "a child"
        victim = field.rng.choice(harm.WORKERS)
        with caught_in_the_act(field, victim, _long_jobs(field, what)) as (job, held):
            before = {unit: row["a"] for unit, row in harm.units(field, job).items()}
            (harm.kill if whole else harm.kill_child)(field, victim)
        with measured(field, f"kill -9 of {what} to its work claimed anew"):
            field.until(partial(_claimed_anew, field, job, before, held))
        restore(field)
        field.end([job])
        again = [u for u, row in harm.units(field, job).items() if u.isdigit() and row["a"] > 1]
        assert set(again) <= set(held), f"rendered again: {again}, in hand: {held}"


def _claimed_anew(field: Field, job: str, before: dict[str, int], held: list[str]) -> bool:
    now = harm.units(field, job)
    return all(now[unit]["a"] > before[unit] for unit in held)


def frozen(field: Field) -> None:
    """Others do what it held; what it reports when it wakes up changes nothing."""
    victim = field.rng.choice(harm.WORKERS)
    owner = f"worker-{field.farm.children[victim].pid}-"
    with caught_in_the_act(field, victim, _long_jobs(field, "book")) as (job, held):
        seen_at = field.workers()[victim]["seen_at"]
        with measured(field, "freeze to the job's end"):
            field.end([job])

    def awake() -> bool:
        row = field.workers()[victim]
        return row["seen_at"] != seen_at and not row["holding"]

    field.until(awake)
    rows = field.ground.client.hmget(f"ttsfarm:job:{job}:results", held)
    assert not [row for row in rows if owner in json.loads(row or "{}").get("worker", owner)]
    field.end([field.submit(Order(key="awake", text=sentence(field.rng, 99)))])


def popped(field: Field) -> None:
    """Frozen workers are handed bells, and die with them: the bells are lost, the jobs are not.

    A worker waits for bells for a second at a time; one that was frozen at its end gets none.
    """
    for turn in range(10):
        with ExitStack() as asleep, harm.bells_watched(field) as taken:
            for name in harm.WORKERS:
                asleep.enter_context(harm.frozen(field, name))
            text = sentence(field.rng, turn)
            field.submit_all(orders(field, field.rng.randint(2, 5), f"{turn} ", text=text))
            if caught := taken():
                for name in harm.WORKERS:
                    harm.kill(field, name)
                break
        field.end(list(field.orders))
    assert caught, "no frozen worker was handed a bell"
    with measured(field, "new workers to all jobs' end"):
        restore(field)
        field.end(list(field.orders))


def poisoned(field: Field) -> None:
    """A text that kills its worker each time fails with that reason, its neighbours go on."""
    poison = Order(
        key="poison",
        text=f"{sentence(field.rng, 0)}[[crash]]。",
        ends=frozenset({"failed"}),
        error="segment_lost",
        webhook=True,
    )
    load = orders(field, 5)
    load.insert(field.rng.randint(0, 3), poison)
    field.end(field.submit_all(load, n_callers=2))


def rolled(field: Field) -> None:
    """SIGTERM to one worker after the other: each ends in order, and no lease has to end."""
    with under_load(field, orders(field, 8)):
        whole = field.rng.random() < 0.5  # the first one's whole group, or the second one's
        for name in field.rng.sample(harm.WORKERS, k=2):
            next(seen_at_work(field, name, _long_jobs(field, f"behind {name}")))
            whole = not whole
            field.history.note("SIGTERM", name, whole_group=whole)
            if whole:
                field.farm.signal(name, signal.SIGTERM)
            else:
                field.farm.children[name].terminate()
            status = field.farm.children.pop(name).wait(timeout=120)
            assert status == 0, f"{name} ended with {status}"
            field.start(name)
            field.wait_for_workers(name)


def slow_to_load(field: Field) -> None:
    """A model loads slower than Celery expects; its child is killed, loads again and works on.

    Another is slower than the farm allows: it never offers a voice, and nobody waits for it.
    """
    farm = field.farm
    farm.own["slow"] = {"TTSFARM_FAKE_LOAD_S": str(LOAD_S)}
    farm.own["late"] = {"TTSFARM_FAKE_LOAD_S": "600", "TTSFARM_LOAD_TIMEOUT_S": "1"}
    said = field.hears("late")
    for name in ("slow", "late"):
        field.start(name)
    field.wait_for_workers("slow")
    old = field.workers()["slow"]["pid"]
    for name in harm.WORKERS:
        harm.kill(field, name)
    harm.kill_child(field, "slow")
    jobs = field.submit_all(orders(field, field.rng.randint(2, 4)))
    with measured(field, "child killed to all jobs' end"):
        field.end(jobs)
    assert field.workers()["slow"]["pid"] != old
    field.until(lambda: said("the child hangs"))
    assert "late" not in field.workers()
    restore(field)
    for name in ("slow", "late"):
        harm.kill(field, name)


def wrong_clocks(field: Field) -> None:
    """Workers an hour ahead and an hour behind do all the work; keepers change, and die."""
    for name, offset_s in (("ahead", HOUR_S), ("behind", -HOUR_S)):
        field.farm.own[name] = {"PYTHONPATH": str(CLOCK), "FAULTS_CLOCK_S": str(offset_s)}
        field.start(name)
    field.wait_for_workers("ahead", "behind")
    here = field.workers()
    started = [here[name]["started_at"] for name in ("behind", "worker0", "ahead")]
    assert started == sorted(started), "the clocks are not wrong"
    harm.kill(field, "worker0")
    with under_load(field, orders(field, 8)):
        _change_keepers(field)
    restore(field)
    for name in ("ahead", "behind"):
        if name in field.farm.children:  # the one that led when it was killed is not
            harm.kill(field, name)


def _keeper(field: Field) -> str:
    """The process that leads, once there is one."""
    names = {str(child.pid): name for name, child in field.farm.children.items()}
    found: list[str] = []

    def leads() -> bool:
        holder = str(field.ground.client.get("ttsfarm:keeper"))
        found[:] = [name for pid, name in names.items() if f"-{pid}-" in holder]
        return bool(found)

    field.until(leads)
    return found[0]


def _change_keepers(field: Field) -> None:
    """One keeper is frozen until another leads, and thaws believing that it still does; then the
    leader is killed wherever it is."""
    first = _keeper(field)
    with harm.frozen(field, first):
        field.until(lambda: _keeper(field) != first)
    second = _keeper(field)
    harm.kill(field, second)
    with measured(field, "keeper killed to another leads"):
        field.until(lambda: _keeper(field) != second)


SCENARIOS = (
    Scenario(number="1", title="kill -9 of a worker or its child", shape=QUICK, play=killed),
    Scenario(number="2", title="a worker frozen past its lease", shape=QUICK, play=frozen),
    Scenario(
        number="3", title="kill -9 of workers that were handed bells", shape=QUICK, play=popped
    ),
    Scenario(
        number="10",
        title="a text that kills its worker",
        shape=SMALL,
        play=poisoned,
    ),
    Scenario(
        number="14",
        title="clocks an hour wrong, keepers frozen and killed",
        shape=SMALL,
        play=wrong_clocks,
    ),
    Scenario(
        number="15",
        title="rolling SIGTERM under load",
        shape=PATIENT,
        play=rolled,
        spoken_once=True,
    ),
    Scenario(number="16", title="models that load slowly", shape=QUICK, play=slow_to_load),
)
