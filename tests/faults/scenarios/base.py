"""What a scenario is, and the shapes of farm that several have in common."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from threading import Event
from time import monotonic

from tests.faults.field import Field, Shape
from tests.faults.orders import Order, book, order

# Silent workers lose their work soon: for faults that only a lease ends.
QUICK = Shape(name="quick")
# Leases that do not end: what is handed back in order is, and nothing else repeats anything.
PATIENT = Shape(name="patient", env={"TTSFARM_LEASE_S": "60"})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`number` is how it is named; `spoken_once` promises that nothing is rendered twice."""

    number: str
    title: str
    shape: Shape
    play: Callable[[Field], None]
    spoken_once: bool = False


def orders(field: Field, n: int, prefix: str = "", **fixed: object) -> list[Order]:
    """`n` short jobs, with and without a webhook."""
    return [order(field.rng, f"{prefix}{i:03d}", webhook=True, **fixed) for i in range(n)]


def long_job(field: Field, n_sentences: int, key: str = "book", **fixed: object) -> str:
    """A job of so many segments, away from the cache, accepted."""
    wish = {"captions": field.rng.random() < 0.5, "webhook": True, "cache": False, **fixed}
    return field.submit(Order(key=key, text=book(field.rng, key, n_sentences), **wish))  # type: ignore[arg-type]


def restore(field: Field) -> None:
    """Start again what was killed, and wait for it as a supervisor would."""
    workers = [f"worker{i}" for i in range(field.ground.shape.workers)]
    for name in ("api", "courier", *workers):
        child = field.farm.children.get(name)
        if child is None or child.poll() is not None:
            field.start(name)
    field.wait_for_workers(*workers)


@contextmanager
def under_load(
    field: Field,
    load: list[Order],
    n_callers: int = 4,
    *,
    pace_s: float = 0.0,
    then: Callable[[Field, str], None] = lambda _field, _job: None,
) -> Iterator[None]:
    """Callers submit in the background; the block ends when all are accepted and have ended.

    Each rests up to `pace_s` before an order, and does `then` with the job.
    """

    def live(wish: Order) -> None:
        Event().wait(Random(f"{field.history.seed} {wish.key}").uniform(0, pace_s))
        then(field, field.submit(wish))

    with ThreadPoolExecutor(n_callers) as callers:
        lives = [callers.submit(live, wish) for wish in load]
        yield
    for one in lives:
        one.result()
    field.end(list(field.orders))


@contextmanager
def measured(field: Field, what: str) -> Iterator[None]:
    """Note how long the block takes, for the table."""
    start_s = monotonic()
    yield
    field.figures[what] = monotonic() - start_s
