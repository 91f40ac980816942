"""Any order of posts, claims, reports, losses and replays keeps the outbox whole."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from shared.connection import Scripts
from shared.deliveries import Delivery, DeliveryStore, Schedule
from shared.states import Finish

pytestmark = pytest.mark.redis

HOSTS = ("a.example", "b.example")
HOST_LIMIT = 1
TENANT_LIMIT = 2
TENANTS = ("t", "u")
N_TRIES = 3
PICK = st.integers(0, 1000)


class Outbox(RuleBasedStateMachine):
    """The store on a real Redis beside what a caller may expect of it."""

    def __init__(self, client: Redis) -> None:
        super().__init__()
        client.flushall()
        self.scripts = Scripts(client)
        schedule = Schedule(
            delays_s=(0,) * N_TRIES, host_limit=HOST_LIMIT, tenant_limit=TENANT_LIMIT
        )
        self.store = DeliveryStore(self.scripts, schedule)
        self.numbers = count()
        self.ids: dict[str, str] = {}  # with the tenant of each
        self.held: dict[str, Delivery] = {}
        self.past: list[Delivery] = []

    @rule(
        host=st.sampled_from(HOSTS), tenant=st.sampled_from(TENANTS), n_messages=st.integers(1, 3)
    )
    def post(self, host: str, tenant: str, n_messages: int) -> None:
        for _ in range(n_messages):
            self.post_one(host, tenant)

    def post_one(self, host: str, tenant: str) -> None:
        name, now_ms = f"msg_{next(self.numbers):04}", self.now_ms()
        record = {"id": name, "job": "j", "tenant": tenant, "event": "completed", "status": "due"}
        record |= {"url": f"http://{host}/", "attempts": "0", "job_status": "failed"}
        record["created_ms"] = str(now_ms)
        self.scripts.client.hset(self.key("delivery", name), mapping=record)
        self.scripts.client.zadd(self.key("deliveries", "due"), {name: now_ms})
        self.scripts.client.zadd(self.key("deliveries", "of", tenant), {name: now_ms})
        self.ids[name] = tenant

    @rule()
    def claim(self) -> None:
        claim = self.store.claim()
        if claim is None:
            # Nothing may be left waiting whose receiver and tenant have room.
            for delivery in self.shown():
                if delivery.status == "due":
                    assert self.n_to(delivery.url) == HOST_LIMIT or (
                        self.n_of(delivery.tenant) == TENANT_LIMIT
                    )
            return
        assert claim.id not in self.held
        self.held[claim.id] = claim
        assert self.n_to(claim.url) <= HOST_LIMIT
        assert self.n_of(claim.tenant) <= TENANT_LIMIT

    @rule(pick=PICK, how=st.sampled_from(["delivered", "failed", "gone"]))
    def report(self, pick: int, how: str) -> None:
        if self.held:
            claim = self.held.pop(self.choose(sorted(self.held), pick))
            assert self.send_report(claim, how) is Finish.ACCEPTED
            assert self.send_report(claim, how) is Finish.REPEATED
            self.past.append(claim)

    @rule(pick=PICK, how=st.sampled_from(["delivered", "failed"]))
    def report_late(self, pick: int, how: str) -> None:
        if self.past:
            before = self.shown()
            answer = self.send_report(self.choose(self.past, pick), how)
            assert answer in (Finish.REPEATED, Finish.STALE)
            assert self.shown() == before

    @rule(pick=PICK)
    def lose_courier(self, pick: int) -> None:
        if self.held:
            claim = self.held.pop(self.choose(sorted(self.held), pick))
            past_ms = self.now_ms() - 1
            self.scripts.client.zadd(self.key("deliveries", "sending"), {claim.id: past_ms})
            assert self.store.sweep() == 1
            self.past.append(claim)

    @rule(pick=PICK)
    def replay(self, pick: int) -> None:
        if self.ids:
            name = self.choose(list(self.ids), pick)
            self.store.replay(self.ids[name], name)

    @invariant()
    def every_delivery_is_in_exactly_one_place(self) -> None:
        due, sending = self.members("due"), self.members("sending")
        gates = [*HOSTS, *(f"tenant {tenant}" for tenant in TENANTS)]
        crowds = [member for gate in gates for member in self.members("crowd", gate)]
        for delivery in self.shown():
            places = [delivery.id in due, delivery.id in sending, delivery.id in crowds]
            expected = {"due": 1, "sending": 1}.get(delivery.status, 0)
            assert sum(places) == expected, (delivery, places)
            assert (delivery.status == "sending") == (delivery.id in self.held)
            assert delivery.round_attempts <= N_TRIES
            reported = delivery.attempts - (delivery.status == "sending")
            assert len(delivery.tries) == reported
        assert sum(self.store.counts().by_status.values()) == len(self.ids)

    def teardown(self) -> None:
        """Whatever happened, couriers that go on bring every message to its end."""
        self.claim()
        while self.held:
            self.report(0, "delivered")
            self.claim()
            self.claim()
        assert {delivery.status.value for delivery in self.shown()} <= {"delivered", "dead"}

    def send_report(self, claim: Delivery, how: str) -> Finish:
        if how == "delivered":
            return self.store.delivered(claim, status_code=200, duration_ms=1)
        return self.store.failed(claim, status_code=500, duration_ms=1, final=how == "gone")

    def shown(self) -> list[Delivery]:
        return [self.store.show(tenant, name) for name, tenant in self.ids.items()]

    def members(self, *parts: str) -> list[str]:
        return self.scripts.client.zrange(self.key("deliveries", *parts), 0, -1)

    def n_to(self, url: str) -> int:
        return sum(claim.url == url for claim in self.held.values())

    def n_of(self, tenant: str) -> int:
        return sum(claim.tenant == tenant for claim in self.held.values())

    def now_ms(self) -> int:
        seconds, micros = self.scripts.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def key(self, *parts: str) -> str:
        return self.scripts.key(*parts)

    @staticmethod
    def choose(options: list[Any], pick: int) -> Any:
        return options[pick % len(options)]


def test_any_order_of_steps_keeps_the_outbox_whole(redis_client: Redis) -> None:
    machine: Callable[[], Outbox] = lambda: Outbox(redis_client)  # noqa: E731  # hypothesis wants no class
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
