"""Many callers at once: long work beside short, one key fifty times, cancel against finish."""

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

from tests.faults.field import Field, Shape
from tests.faults.orders import Order, book, order, sentence
from tests.faults.scenarios.base import PATIENT, Scenario, orders

N_SENTENCES = 100  # of a book in a short run
N_CALLERS = 50


def greetings_behind_books(field: Field) -> None:
    """Two tenants' books get equal shares, and a third one's greetings do not wait for them."""
    one, two, three = (field.ground.caller(name) for name in ("one", "two", "three"))
    field.callers = [one, two, three]
    books, n_sentences = [], int(field.length(N_SENTENCES, 5 * N_SENTENCES))
    for name, headers in (("甲", one), ("乙", two)):
        text = book(field.rng, name, n_sentences)
        books.append(field.submit(Order(key=name, text=text, headers=headers, cache=False)))
    field.in_the_middle(books[0], field.rng.randint(1, 3))
    short = [order(field.rng, f"hi{i}", most=1, headers=three, priority="normal") for i in range(6)]
    greetings = field.submit_all(short)
    field.until(lambda: max(map(field.n_done, books)) == n_sentences)
    # Turns are of 400 characters, a fifth of a book; one after the other it would be none.
    assert min(map(field.n_done, books)) >= n_sentences // 2
    field.end([*books, *greetings])
    books_ended = min(field.job(job)["finished_at"] for job in books)
    met = [view for view in map(field.job, greetings) if view["created_at"] < books_ended]
    assert not met or min(view["finished_at"] for view in met) < books_ended
    answer = field.call("GET", f"/v1/jobs/{books[0]}", two)
    assert answer.status == 404, "a tenant sees another's book"


def one_key(field: Field) -> None:
    """Fifty callers send one key at once; then somebody sends it with another body."""
    wish = order(field.rng, "same", webhook=True)
    jobs = field.submit_all([wish] * N_CALLERS, N_CALLERS)
    assert len(set(jobs)) == 1, "one key, several jobs"
    other = Order(key=wish.key, text=sentence(field.rng, 400))

    def is_refused() -> bool:
        answer = field.ask(other)
        if answer is None or answer.status == 503:
            return False
        assert (answer.status, answer.json["code"]) == (409, "idempotency_conflict"), answer.body
        return True

    field.until(is_refused)
    field.end(list(field.orders))


def cancels(field: Field) -> None:
    """Jobs are canceled in every state, at moments that race their ends."""
    ends = frozenset({"succeeded", "canceled"})
    load = orders(field, 24, ends=ends, cache=False)
    outcomes: dict[str, int] = {}

    def live(wish: Order) -> None:
        rng = Random(f"{field.history.seed} {wish.key}")
        job = field.submit(wish)
        Event().wait(rng.choice((0.0, rng.uniform(0, 0.5), rng.uniform(0.5, 2.5))))
        answer = field.call("POST", f"/v1/jobs/{job}/cancel")
        field.history.note("cancel", job, status=answer.status)
        outcomes[job] = answer.status

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(live, load))
    field.end(list(field.orders))
    for job, status in outcomes.items():
        ended = field.job(job)["status"]
        assert (status, ended) in ((200, "canceled"), (409, "succeeded")), (job, status, ended)


SCENARIOS = (
    Scenario(
        number="11",
        title="greetings and two tenants' books",
        shape=Shape(
            name="tenants",
            env={
                "TTSFARM_AUTH": "keys",
                "TTSFARM_LEASE_S": "60",
                "TTSFARM_FAKE_COST_S_PER_CHAR": "0.002",
            },
        ),
        play=greetings_behind_books,
        spoken_once=True,
    ),
    Scenario(
        number="12",
        title="one key from fifty callers",
        shape=PATIENT,
        play=one_key,
        spoken_once=True,
    ),
    Scenario(
        number="13", title="cancel against finish", shape=PATIENT, play=cancels, spoken_once=True
    ),
)
