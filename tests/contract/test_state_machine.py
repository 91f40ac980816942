"""The state machine under random histories, crashes between any two steps included.

Workers here are only the claims they remember: a crash forgets them, a frozen worker keeps them
and reports late.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from shared.connection import Scripts, connect
from shared.errors import EmptyAudio, SynthesisError, WrongState
from shared.schemas import Claim
from shared.settings import Settings
from shared.states import JOB_ACTIVE, Finish, JobStatus, UnitKind
from tests.conftest import RedisServer
from tests.walk import AUDIO, Farm, expire_leases, ready_retries, result, spec

pytestmark = pytest.mark.redis

OTHER = {"w1": "w2", "w2": "w1"}
TENANTS = ("one", "two", "three")
QUANTUM = 400  # what a turn adds, in the claim's script


def holding() -> Callable[[Any], bool]:
    """Whether any worker holds claims."""
    return lambda machine: any(machine.held.values())


class FarmMachine(RuleBasedStateMachine):
    """Callers, two workers and a keeper, in any order."""

    client: Redis
    url: str

    @initialize()
    def a_busy_farm(self) -> None:
        self.client.flushall()
        self.farm = Farm(Scripts(self.client), Settings(redis_url=self.url, max_attempts=3))
        self.held: dict[str, list[Claim]] = {"w1": [], "w2": []}
        self.sizes: dict[str, int] = {}
        self.n_named = 0
        self.tenants: dict[str, str] = {}
        self.ended: dict[str, JobStatus] = {}
        self.accepted: set[tuple[str, str]] = set()
        self.newest: dict[tuple[str, str], int] = {}
        for tenant in TENANTS[:2]:
            self.submit(tenant=tenant, n_segments=3, bulk=False, again=False)
        self.claim(worker="w1", limit=1)

    # Callers

    @rule(tenant=st.sampled_from(TENANTS), n_segments=st.integers(1, 4), bulk=st.booleans(),
          again=st.booleans())  # fmt: skip
    def submit(self, tenant: str, n_segments: int, bulk: bool, again: bool) -> None:
        assume(len(self.sizes) < 6)
        self.n_named += 1
        name = f"j{self.n_named:02d}"
        for _ in range(2 if again else 1):  # a caller that lost the answer asks again
            assert self.farm.submit(name, tenant=tenant, interactive=not bulk, key=name) == name
        self.sizes[name], self.tenants[name] = n_segments, tenant

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = self.pick(data)
        try:
            self.farm.jobs.cancel(self.tenants[name], name)
        except WrongState:
            assert self.ended[name] is not JobStatus.CANCELED

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        name = self.pick(data)
        try:
            self.farm.jobs.retry(self.tenants[name], name)
        except WrongState:
            assert self.ended.get(name) in (None, JobStatus.SUCCEEDED)
        else:
            del self.ended[name]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self.pick(data)
        self.farm.jobs.delete(self.tenants.pop(name), name)
        del self.sizes[name]
        self.ended.pop(name, None)
        assert not list(self.client.scan_iter(f"*job:{name}*"))

    def pick(self, data: st.DataObject) -> str:
        assume(bool(self.sizes))
        return data.draw(st.sampled_from(sorted(self.sizes)))

    # Workers

    @rule(worker=st.sampled_from(("w1", "w2")), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        claims = self.farm.work.claim(worker, "fake", limit)
        for claim in claims:
            assert claim.attempt > self.newest.get((claim.job, claim.unit), 0)
            self.newest[claim.job, claim.unit] = claim.attempt
        self.held[worker] += claims

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")), last=st.booleans(), repeat=st.booleans())
    def report(self, worker: str, last: bool, repeat: bool) -> None:
        worker = worker if self.held[worker] else OTHER[worker]
        claim = self.held[worker][-1 if last else 0]
        outcome = self.done(claim)
        if outcome is Finish.ACCEPTED:
            assert claim.attempt == self.newest[claim.job, claim.unit], "an old attempt counted"
        if repeat and outcome is Finish.ACCEPTED:
            assert self.done(claim) in (Finish.REPEATED, Finish.ENDED, Finish.GONE)
        self.held[worker].remove(claim)

    def done(self, claim: Claim) -> Finish:
        if claim.kind is UnitKind.PLAN:
            total = self.sizes.get(claim.job, 1)
            return self.farm.work.append_plan(claim, [spec(i) for i in range(total)], total=total)
        if claim.kind is UnitKind.ASSEMBLE:
            return self.farm.work.finish_assembly(claim, AUDIO)[0]
        outcome = self.farm.work.finish_segment(claim, result(claim))
        if outcome is Finish.ACCEPTED:
            assert (claim.job, claim.unit) not in self.accepted, "a segment was finished twice"
            self.accepted.add((claim.job, claim.unit))
        return outcome

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")))
    def plan_a_part(self, worker: str) -> None:
        plans = [c for c in self.held[worker] if c.kind is UnitKind.PLAN]
        assume(bool(plans))
        self.farm.work.append_plan(plans[0], [spec(0)])

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")), retryable=st.booleans())
    def fail(self, worker: str, retryable: bool) -> None:
        worker = worker if self.held[worker] else OTHER[worker]
        claim = self.held[worker].pop()
        self.farm.work.fail(claim, SynthesisError("no") if retryable else EmptyAudio("no"))

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")), delay_s=st.sampled_from((0.0, 5.0)))
    def release(self, worker: str, delay_s: float) -> None:
        worker = worker if self.held[worker] else OTHER[worker]
        self.farm.work.release(self.held[worker].pop(), delay_s)

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")))
    def beat(self, worker: str) -> None:
        self.farm.work.beat(self.held[worker])

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")))
    def crash(self, worker: str) -> None:
        self.held[worker].clear()

    @precondition(holding())
    @rule(frozen=st.sampled_from((("w1", "w2"), ("w2", "w1"))))
    def thaw_after_a_takeover(self, frozen: tuple[str, str]) -> None:
        """A worker stops for longer than its lease, another takes over, the first goes on."""
        old, new = frozen if self.held[frozen[0]] else frozen[::-1]
        expire_leases(self.farm)
        self.claim(new, 3)
        self.report(old, last=True, repeat=False)

    # The keeper

    @precondition(holding())
    @rule()
    def leases_end(self) -> None:
        expire_leases(self.farm)

    @rule()
    def retries_ripen(self) -> None:
        ready_retries(self.farm)

    # What must hold

    @invariant()
    def a_terminal_state_stays(self) -> None:
        for name in self.sizes:
            status = self.farm.status(name, self.tenants[name])
            if name in self.ended:
                assert status is self.ended[name]
            elif status not in JOB_ACTIVE:
                self.ended[name] = status

    @invariant()
    def every_unit_of_an_active_job_is_somewhere(self) -> None:
        key, client = self.farm.scripts.key, self.client
        places = {"claimed": set(client.zrange(key("lane", "fake", "leases"), 0, -1))}
        places["waiting"] = set(client.zrange(key("retries"), 0, -1))
        places["due"] = set(self.due())
        for name in self.sizes:
            active = name not in self.ended
            for unit, text in client.hgetall(key("job", name, "units")).items():
                status, member = json.loads(text)["s"], f"{name}|{unit}"
                if active and status != "done":
                    assert member in places[status], f"{member} is {status} and nowhere"
                if not active:
                    assert member not in places["due"]
                    assert member not in places["claimed"]

    @invariant()
    def the_depth_of_a_lane_is_what_is_due(self) -> None:
        (depth,) = [lane.depth for lane in self.farm.presence.lanes()] or [0]
        assert depth == len(list(self.due()))

    @invariant()
    def a_tenant_has_the_jobs_that_have_not_ended(self) -> None:
        for tenant in TENANTS:
            counted = self.farm.scripts.key("active", f"tenant:{tenant}")
            mine = [name for name in self.sizes if self.tenants[name] == tenant]
            active = {name for name in mine if self.farm.status(name, tenant) in JOB_ACTIVE}
            assert self.client.smembers(counted) == active
            n_chars = sum(self.farm.jobs.job(tenant, name).n_chars for name in active)
            assert int(self.client.get(f"{counted}:chars") or 0) == n_chars

    def due(self) -> Iterator[str]:
        for kind in ("interactive", "bulk"):
            ring = self.farm.scripts.key("lane", "fake", kind, "ring")
            tenants = self.client.lrange(ring, 0, -1)
            assert len(tenants) == len(set(tenants)), "a tenant has two turns"
            for tenant in tenants:
                key = self.farm.scripts.key("lane", "fake", kind, "due", tenant)
                yield from self.client.zrange(key, 0, -1)

    def teardown(self) -> None:
        """A healthy worker brings every job to its end, whatever came before."""
        for _ in range(300):
            expire_leases(self.farm)
            ready_retries(self.farm)
            claims = self.farm.work.claim("last", "fake", 3)
            for claim in claims:
                self.done(claim)
            if not claims:
                break
        for name, tenant in self.tenants.items():
            assert self.farm.status(name, tenant) not in JOB_ACTIVE, f"{name} never ended"
        assert self.client.zcard(self.farm.scripts.key("lane", "fake", "leases")) == 0


def test_no_history_loses_or_doubles_work(redis_server: RedisServer) -> None:
    client = connect(redis_server.url)
    machine = type("Machine", (FarmMachine,), {"client": client, "url": redis_server.url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(costs=st.lists(st.integers(1, 300), min_size=2, max_size=5), n_claims=st.integers(20, 80))
def test_backlogged_tenants_get_equal_shares(
    redis_server: RedisServer, costs: list[int], n_claims: int
) -> None:
    with connect(redis_server.url) as client:
        client.flushall()
        farm = Farm(Scripts(client), Settings(redis_url=redis_server.url))
        for i in range(len(costs)):
            farm.submit(f"j{i}", tenant=f"t{i}")
        for plan in [farm.claim()[0] for _ in costs]:
            n_chars = costs[int(plan.job[1:])]
            farm.work.append_plan(plan, [spec(i, n_chars) for i in range(100)], total=100)
        spoken = dict.fromkeys(range(len(costs)), 0)
        for _ in range(n_claims):
            (claim,) = farm.claim()
            assert claim.spec is not None
            spoken[int(claim.job[1:])] += claim.spec.n_chars
        assert max(spoken.values()) - min(spoken.values()) <= 2 * QUANTUM + max(costs)
