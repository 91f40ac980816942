"""The webhook outbox on a real Redis: every transition, and what happens around them."""

import time
from collections.abc import Callable

import pytest
from redis import Redis

from shared.connection import Scripts
from shared.deliveries import JITTER, KEEP_S, Delivery, DeliveryStore, Schedule
from shared.errors import InvalidRequest, NotFound
from shared.states import DeliveryStatus, Finish
from tests.walk import Farm

pytestmark = pytest.mark.redis

Post = Callable[..., str]


@pytest.fixture
def post(scripts: Scripts) -> Post:
    """Writes a delivery as the script that ends a job does."""
    client = scripts.client

    def write(name: str, *, url: str = "http://a.example/hook", tenant: str = "t") -> str:
        delivery_id = f"msg_{name}_completed"
        created_ms = now_ms(client)
        client.hset(
            scripts.key("delivery", delivery_id),
            mapping={
                "id": delivery_id,
                "job": name,
                "tenant": tenant,
                "event": "completed",
                "url": url,
                "status": "due",
                "attempts": 0,
                "created_ms": created_ms,
                "job_status": "succeeded",
            },
        )
        client.zadd(scripts.key("deliveries", "due"), {delivery_id: created_ms})
        client.zadd(scripts.key("deliveries", "of", tenant), {delivery_id: created_ms})
        return delivery_id

    return write


def now_ms(client: Redis) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def store_with(scripts: Scripts, **schedule: object) -> DeliveryStore:
    return DeliveryStore(scripts, Schedule(**schedule), jitter=lambda: 0.5)


def claimed(store: DeliveryStore) -> Delivery:
    claim = store.claim()
    assert claim is not None
    return claim


def lose_courier(scripts: Scripts, claim: Delivery) -> None:
    """The lease of a claim ends, as if its time had passed."""
    past = now_ms(scripts.client) - 1
    host = claim.url.split("/")[2]
    scripts.client.zadd(scripts.key("deliveries", "sending"), {claim.id: past})
    scripts.client.zadd(scripts.key("deliveries", "busy", host), {claim.id: past})


def come_due(scripts: Scripts, delivery_id: str) -> None:
    """The delay before a delivery's next try passes."""
    scripts.client.zadd(scripts.key("deliveries", "due"), {delivery_id: now_ms(scripts.client)})


def test_nothing_is_claimed_from_an_empty_outbox(scripts: Scripts) -> None:
    assert DeliveryStore(scripts).claim() is None


def test_a_delivery_is_claimed_once_with_all_it_needs(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    start_ms = now_ms(scripts.client)
    claim = claimed(store)
    for place in (("sending",), ("busy", "a.example"), ("busy", "tenant t")):
        ends_ms = scripts.client.zscore(scripts.key("deliveries", *place), name)
        assert start_ms <= ends_ms - 30_000 <= now_ms(scripts.client), "its lease of 30 s"
    assert (claim.id, claim.job, claim.tenant, claim.event) == (name, "job1", "t", "completed")
    assert (claim.url, claim.job_status) == ("http://a.example/hook", "succeeded")
    assert (claim.status, claim.attempts) == (DeliveryStatus.SENDING, 1)
    assert store.claim() is None


def test_the_one_due_longest_goes_first(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    names = [post(f"job{n}", url=f"http://{n}.example/") for n in (3, 1, 2)]
    due = scripts.key("deliveries", "due")
    for place, name in enumerate(names):
        scripts.client.zadd(due, {name: 1000 + place})
    assert [claimed(store).id for _ in names] == names


def test_a_delivered_message_is_never_due_again(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    claim = claimed(store)
    assert store.delivered(claim, status_code=200, duration_ms=12) is Finish.ACCEPTED
    shown = store.show("t", name)
    assert shown.status is DeliveryStatus.DELIVERED
    assert shown.finished_ms is not None
    assert shown.next_ms is None
    assert [(t.attempt, t.status_code, t.error, t.duration_ms) for t in shown.tries] == [
        (1, 200, None, 12)
    ]
    assert store.claim() is None
    assert store.sweep() == 0


def test_a_report_that_is_repeated_changes_nothing(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    claim = claimed(store)
    store.failed(claim, error="timeout", duration_ms=1)
    before = store.show("t", name)
    assert store.failed(claim, error="timeout", duration_ms=1) is Finish.REPEATED
    assert store.delivered(claim, status_code=200, duration_ms=1) is Finish.REPEATED
    assert store.show("t", name) == before


def test_a_failed_try_is_due_after_each_delay_in_turn_then_dead(
    scripts: Scripts, post: Post
) -> None:
    delays_s = (0, 5, 300, 1800)
    store = store_with(scripts, delays_s=delays_s)
    name = post("job1")
    for n_tries, delay_s in enumerate(delays_s[1:], 1):
        claim = claimed(store)
        assert claim.attempts == n_tries
        store.failed(claim, status_code=500, duration_ms=1)
        shown = store.show("t", name)
        assert shown.status is DeliveryStatus.DUE
        assert shown.next_ms is not None
        assert shown.next_ms - shown.tries[-1].at_ms == pytest.approx(delay_s * 1000, abs=50)
        assert store.claim() is None
        come_due(scripts, name)
    store.failed(claimed(store), status_code=500, duration_ms=1)
    shown = store.show("t", name)
    assert shown.status is DeliveryStatus.DEAD
    assert [t.status_code for t in shown.tries] == [500] * 4
    assert store.claim() is None


@pytest.mark.parametrize(
    ("asked_s", "expected_s"),
    [(None, 5), (2, 5), (40, 40), (10**9, 86_400), (float("inf"), 86_400)],
)
def test_the_receiver_may_ask_for_more_time_not_for_less(
    scripts: Scripts, post: Post, asked_s: float | None, expected_s: float
) -> None:
    store = store_with(scripts)
    name = post("job1")
    store.failed(claimed(store), status_code=503, duration_ms=1, retry_after_s=asked_s)
    shown = store.show("t", name)
    assert shown.next_ms is not None
    assert shown.next_ms - shown.tries[-1].at_ms == pytest.approx(expected_s * 1000, abs=50)


def test_a_final_failure_is_dead_at_once(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    store.failed(claimed(store), status_code=410, duration_ms=1, final=True)
    assert store.show("t", name).status is DeliveryStatus.DEAD


def test_a_lost_courier_hands_back_by_the_sweep(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    lost = claimed(store)
    assert store.sweep() == 0
    lose_courier(scripts, lost)
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert store.delivered(lost, status_code=200, duration_ms=1) is Finish.REPEATED
    again = claimed(store)
    assert (again.id, again.attempts) == (name, 2)
    assert store.delivered(lost, status_code=200, duration_ms=1) is Finish.STALE
    assert store.delivered(again, status_code=200, duration_ms=1) is Finish.ACCEPTED
    assert [t.error for t in store.show("t", name).tries] == ["the courier was lost", None]


def test_a_claim_sent_twice_takes_one_delivery(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    post("job2")
    asked = ("delivery_claim", 60_000, 4, 64, 10)
    first = scripts(*asked, "nonce")
    assert scripts(*asked, "nonce") == first
    assert scripts(*asked, "other") != first
    assert store.counts().by_status["sending"] == 2
    store.delivered(store.show("t", name), status_code=200, duration_ms=1)
    assert scripts(*asked, "nonce") is None, "that attempt is over"


def test_a_message_that_loses_every_courier_is_given_up(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, delays_s=(0, 5))
    name = post("job1")
    for _ in range(2):
        lose_courier(scripts, claimed(store))
        store.sweep()
    assert store.show("t", name).status is DeliveryStatus.DEAD
    assert store.claim() is None


def test_a_slow_receiver_holds_up_nobody_else(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=2)
    slow = [post(f"slow{n}", url="http://slow.example:81/x") for n in range(5)]
    other = post("other", url="http://other.example/")
    first, second, third = claimed(store), claimed(store), claimed(store)
    assert [first.id, second.id, third.id] == [*slow[:2], other]
    assert store.claim() is None
    assert store.counts().by_status == {"due": 3, "sending": 3, "delivered": 0, "dead": 0}
    store.delivered(first, status_code=200, duration_ms=1)
    assert claimed(store).id == slow[2]
    assert store.claim() is None
    lose_courier(scripts, second)
    store.sweep()
    assert {claimed(store).id} <= {slow[1], slow[3]}
    assert store.claim() is None


def test_a_receiver_is_one_however_its_address_is_written(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=1, tenant_limit=20)
    for n, one in enumerate(("a.example", "A.example", "a.example:80", "a.example.", "a.example:")):
        post(f"plain{n}", url=f"http://{one}/hook")
    for n, one in enumerate(("b.example", "b.example:443", "b.example.:0443")):
        post(f"tls{n}", url=f"https://{one}?x")
    post("six0", url="http://[2606:4700::1111]/")
    post("six1", url="http://[2606:4700::1111]:80/")
    post("other", url="http://b.example:8443/")
    names = ("plain0", "tls0", "six0", "other")
    assert {claimed(store).id for _ in names} == {f"msg_{name}_completed" for name in names}
    assert store.claim() is None


def test_only_what_could_be_sent_waits_for_a_courier(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=1, delays_s=(0, 60))
    assert store.counts().waiting_s == 0
    began_s = time.monotonic()
    post("first")
    post("crowded")
    time.sleep(0.05)
    assert 0.05 <= store.counts().waiting_s < 5 + time.monotonic() - began_s
    first = claimed(store)
    assert store.claim() is None  # the other waits for its receiver's turn
    assert store.counts().waiting_s == 0
    store.failed(first, status_code=500, duration_ms=1)
    second = claimed(store)
    store.failed(second, status_code=500, duration_ms=1)
    assert store.counts().by_status["due"] == 2  # both for their next try, in a minute
    assert store.counts().waiting_s == 0


def test_a_tenant_with_many_slow_receivers_holds_up_no_other(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, tenant_limit=3)
    for n in range(40):
        post(f"slow{n}", url=f"http://h{n}.example/", tenant="many")
    other = post("other", url="http://other.example/")
    assert [claimed(store).tenant for _ in range(3)] == ["many"] * 3
    assert claimed(store).id == other
    assert store.claim() is None
    assert store.counts().by_status["due"] == 37


def test_a_place_left_free_goes_to_the_next_at_the_gate(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=1, tenant_limit=1)
    post("first", url="http://a.example/", tenant="one")
    first = claimed(store)
    post("second", url="http://a.example/", tenant="two")
    assert store.claim() is None  # it waits at the receiver
    post("third", url="http://b.example/", tenant="two")
    third = claimed(store)
    other = post("other", url="http://a.example/", tenant="three")
    assert store.claim() is None
    store.delivered(first, status_code=200, duration_ms=1)
    assert claimed(store).id == other  # the second's tenant has no room
    store.delivered(third, status_code=200, duration_ms=1)
    assert store.claim() is None  # but its receiver is busy again


def test_everything_to_one_receiver_gets_there_in_turn(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=2)
    names = {post(f"job{n}") for n in range(30)}
    done = set()
    under_way = [claimed(store), claimed(store)]
    while under_way:
        assert store.claim() is None
        claim = under_way.pop(0)
        store.delivered(claim, status_code=200, duration_ms=1)
        done.add(claim.id)
        following = store.claim()
        under_way += [following] if following else []
    assert done == names
    assert store.counts().by_status == {"due": 0, "sending": 0, "delivered": 30, "dead": 0}


def test_a_crowd_nobody_admits_is_let_in_by_the_sweep(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, host_limit=1)
    post("job1")
    waiting = post("job2")
    claim = claimed(store)
    assert store.claim() is None
    # The record of the one under way is lost, so its report can not admit the next.
    scripts.client.delete(scripts.key("delivery", claim.id))
    assert store.delivered(claim, status_code=200, duration_ms=1) is Finish.GONE
    lose_courier(scripts, claim)
    store.sweep()
    assert claimed(store).id == waiting


def test_a_due_name_without_a_record_is_passed_over(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    gone, there = post("gone"), post("there")
    scripts.client.delete(scripts.key("delivery", gone))
    assert claimed(store).id == there
    assert store.claim() is None


@pytest.mark.parametrize("ending", ["delivered", "dead"])
def test_a_replay_is_due_now_under_the_same_id_with_every_try(
    scripts: Scripts, post: Post, ending: str
) -> None:
    store = store_with(scripts, delays_s=(0, 5))
    name = post("job1")
    if ending == "delivered":
        store.delivered(claimed(store), status_code=200, duration_ms=1)
    else:
        store.failed(claimed(store), status_code=410, duration_ms=1, final=True)
    assert store.replay("t", name).status is DeliveryStatus.DUE
    assert store.replay("t", name).finished_ms is None
    assert scripts.client.ttl(scripts.key("delivery", name)) == -1
    assert store.counts().by_status[ending] == 0
    claim = claimed(store)
    assert (claim.id, claim.attempts, claim.round_attempts) == (name, 2, 1)
    store.failed(claim, status_code=500, duration_ms=1)
    assert store.show("t", name).status is DeliveryStatus.DUE
    assert len(store.show("t", name).tries) == 2


def test_a_replay_of_one_that_waits_makes_it_due_now(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    store.failed(claimed(store), status_code=500, duration_ms=1)
    assert store.claim() is None
    store.replay("t", name)
    assert claimed(store).id == name


def test_a_replay_of_one_under_way_leaves_it_alone(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    claim = claimed(store)
    assert store.replay("t", name).status is DeliveryStatus.SENDING
    assert store.claim() is None
    assert store.delivered(claim, status_code=200, duration_ms=1) is Finish.ACCEPTED


def test_an_ended_record_goes_by_itself(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts, keep_s=100)
    name = post("job1")
    assert scripts.client.ttl(scripts.key("delivery", name)) == -1
    store.delivered(claimed(store), status_code=200, duration_ms=1)
    assert 90 < scripts.client.ttl(scripts.key("delivery", name)) <= 100
    assert 90 < scripts.client.ttl(scripts.key("delivery", name, "tries")) <= 100
    scripts.client.delete(scripts.key("delivery", name))
    assert store.page("t").deliveries == ()
    post("job2")
    store.delivered(claimed(store), status_code=200, duration_ms=1)
    assert scripts.client.zscore(scripts.key("deliveries", "of", "t"), name) is None


def test_records_that_live_long_do_not_keep_the_names_of_others(
    scripts: Scripts, post: Post
) -> None:
    store, index = store_with(scripts), scripts.key("deliveries", "of", "t")
    for number in range(10):  # their receiver is away for days
        scripts.client.zrem(scripts.key("deliveries", "due"), post(f"waits{number}"))
    scripts.client.zadd(index, {f"msg_gone{number}_completed": 9e12 for number in range(100)})
    for number in range(100):
        name = post(f"job{number}")
        store.delivered(claimed(store), status_code=200, duration_ms=1)
        scripts.client.delete(scripts.key("delivery", name))
    assert scripts.client.zcard(index) < 10 + 50


def test_a_name_rests_for_longer_than_its_messages_are_remembered(farm: Farm) -> None:
    farm.submit("mine", id_chosen=True)
    farm.jobs.delete("default", "mine")
    longest_s = sum(Schedule().delays_s) * (1 + JITTER) + KEEP_S
    rests_ms = farm.scripts.client.pttl(farm.scripts.key("ended", "mine"))
    assert rests_ms / 1000 > longest_s, "a new job of the name would send no message"


def test_a_part_of_a_delivery_is_no_delivery(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    post("a")
    store.failed(claimed(store), status_code=500, duration_ms=1)
    for call in (store.show, store.replay):
        with pytest.raises(NotFound):
            call("t", "msg_a_completed:tries")


def test_another_tenants_delivery_is_not_found(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    name = post("job1")
    as_it_was = store.show("t", name)
    for tenant, delivery_id in (("u", name), ("t", "msg_nothing")):
        with pytest.raises(NotFound):
            store.show(tenant, delivery_id)
        with pytest.raises(NotFound):
            store.replay(tenant, delivery_id)
    assert store.show("t", name) == as_it_was
    assert store.page("u").deliveries == ()


def test_pages_hold_every_delivery_once_newest_first(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    names = [post(f"job{n:02}") for n in range(23)]
    # Several share a millisecond, and one record is gone.
    for place, name in enumerate(names):
        scripts.client.zadd(scripts.key("deliveries", "of", "t"), {name: 1000 + place // 7})
    scripts.client.delete(scripts.key("delivery", names[5]))
    seen, cursor = [], None
    while True:
        page = store.page("t", cursor=cursor, limit=4)
        seen += [delivery.id for delivery in page.deliveries]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.deliveries) == 4
    assert seen == sorted((n for n in names if n != names[5]), reverse=True)


def test_pages_of_one_status_leave_out_the_others(scripts: Scripts, post: Post) -> None:
    store = store_with(scripts)
    for n in range(4):
        post(f"job{n}")
    dead = claimed(store)
    store.failed(dead, duration_ms=1, status_code=410, final=True)
    for _ in range(2):
        store.delivered(claimed(store), status_code=200, duration_ms=1)

    def ids(status: DeliveryStatus) -> set[str]:
        return {one.id for one in store.page("t", status=status).deliveries}

    assert ids(DeliveryStatus.DEAD) == {dead.id}
    assert len(ids(DeliveryStatus.DELIVERED)) == 2
    assert len(ids(DeliveryStatus.DUE)) == 1
    assert store.page("t", status=DeliveryStatus.DELIVERED, limit=1).next_cursor is not None


@pytest.mark.parametrize("cursor", ["", "x", "12", ":a", "1e3:a", "-1:a", "(5:a", "\u0661:a"])
def test_a_foreign_cursor_is_refused(scripts: Scripts, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        DeliveryStore(scripts).page("t", cursor=cursor)
