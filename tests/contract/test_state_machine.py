"""The state machine under random histories, crashes between any two steps included.

Workers here are only the claims they remember: a crash forgets them, a frozen worker keeps them
and reports late.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from redis.commands.core import Script

from shared.cache import CacheStore
from shared.connection import Scripts, connect, script_text
from shared.errors import EmptyAudio, SynthesisError, WrongState
from shared.schemas import Claim, SegmentResult, SegmentSpec
from shared.settings import Settings
from shared.states import JOB_ACTIVE, Finish, JobStatus, UnitKind
from shared.work import segment_unit
from tests.conftest import PATIENCE_S, RedisServer
from tests.walk import AUDIO, Farm, expire_leases, ready_retries, result, snapshot, spec

pytestmark = pytest.mark.redis

OTHER = {"w1": "w2", "w2": "w1"}
DIGESTS = ("", "aa", "ab", "ba")  # what a segment speaks; "" keeps away from the cache
NEWER = "ff"  # what a worker with another revision of the voice makes of any of them
CACHED_BYTES = 10  # of a segment
TENANTS = ("one", "two", "three")
QUANTUM = 400  # what a turn adds, in the claim's script


def planned(index: int, digest: str) -> SegmentSpec:
    """A segment that differs where its digest does."""
    return spec(index, 3 + DIGESTS.index(digest))


def holding() -> Callable[[Any], bool]:
    """Whether any worker holds claims."""
    return lambda machine: any(machine.held.values())


class SmallSteps(Scripts):
    """A retry looks at one segment a step, so that all else comes between."""

    def _script(self, name: str) -> Script:
        text, n_changed = re.subn(r"(REVIVED_AT_ONCE =) \d+", r"\1 1", script_text(name))
        assert n_changed == 1
        if name not in self._loaded:
            self._loaded[name] = self.client.register_script(text)
        return self._loaded[name]


class FarmMachine(RuleBasedStateMachine):
    """Callers, two workers and a keeper, in any order."""

    client: Redis
    url: str

    @initialize()
    def a_busy_farm(self) -> None:
        self.client.flushall()
        self.farm = Farm(SmallSteps(self.client), Settings(redis_url=self.url, max_attempts=3))
        self.held: dict[str, list[Claim]] = {"w1": [], "w2": []}
        self.plans: dict[str, tuple[str, ...]] = {}  # digests of each job's segments
        self.objects: set[str] = set()  # what the object store holds
        self.lost: set[str] = set()  # what it lost by itself
        self.n_named = self.n_made = 0
        self.tenants: dict[str, str] = {}
        self.ended: dict[str, JobStatus] = {}
        self.accepted: set[tuple[str, str]] = set()
        self.newest: dict[tuple[str, str], int] = {}
        for tenant in TENANTS[:2]:
            self.submit(tenant=tenant, digests=["aa", "aa", ""], bulk=False, again=False)
        self.claim(worker="w1", limit=1)

    # Callers

    @rule(tenant=st.sampled_from(TENANTS), bulk=st.booleans(), again=st.booleans(),
          digests=st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=4))  # fmt: skip
    def submit(self, tenant: str, digests: list[str], bulk: bool, again: bool) -> None:
        assume(len(self.plans) < 6)
        self.n_named += 1
        name = f"j{self.n_named:02d}"
        for _ in range(2 if again else 1):  # a caller that lost the answer asks again
            assert self.farm.submit(name, tenant=tenant, interactive=not bulk, key=name) == name
        self.plans[name], self.tenants[name] = tuple(digests), tenant

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
        self.farm.jobs.delete(self.tenants[name], name)
        self.forget(name)

    def forget(self, name: str) -> None:
        del self.plans[name], self.tenants[name]
        self.ended.pop(name, None)
        self.look()
        assert not [key for key in self.now if f"job:{name}" in key]

    def pick(self, data: st.DataObject) -> str:
        assume(bool(self.plans))
        return data.draw(st.sampled_from(sorted(self.plans)))

    # Workers

    @rule(worker=st.sampled_from(("w1", "w2")), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        claims = self.farm.work.claim(worker, "fake", limit)
        self.look()
        for claim in claims:
            assert claim.attempt > self.newest.get((claim.job, claim.unit), 0)
            self.newest[claim.job, claim.unit] = claim.attempt
            digest = self.units(claim.job)[claim.unit].get("k")
            assert digest not in self.entries(), "what the cache has is rendered again"
        self.held[worker] += claims

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")), last=st.booleans(), repeat=st.booleans(),
          newer=st.booleans())  # fmt: skip
    def report(self, worker: str, last: bool, repeat: bool, newer: bool) -> None:
        worker = worker if self.held[worker] else OTHER[worker]
        claim = self.held[worker][-1 if last else 0]
        outcomes = self.done(claim, newer=newer, repeat=repeat)
        if outcomes[0] is Finish.ACCEPTED:
            assert claim.attempt == self.newest[claim.job, claim.unit], "an old attempt counted"
            assert set(outcomes[1:]) <= {Finish.REPEATED, Finish.ENDED, Finish.GONE}
        self.held[worker].remove(claim)

    def done(self, claim: Claim, *, newer: bool = False, repeat: bool = False) -> list[Finish]:
        """What the farm answers to a worker that did its work, and perhaps reports it twice."""
        calls = range(2 if repeat else 1)
        if claim.kind is UnitKind.PLAN:
            digests = self.plans.get(claim.job, ("",))
            return [self.append(claim, digests, len(digests)) for _ in calls]
        if claim.kind is UnitKind.ASSEMBLE:
            return self.assembled(claim, calls)
        digest = self.planned_digest(claim)
        digest = NEWER if digest and newer else digest
        made = self.upload(claim, digest)
        outcomes = [self.farm.work.finish_segment(claim, made, digest) for _ in calls]
        if outcomes[0] is Finish.ACCEPTED:
            assert (claim.job, claim.unit) not in self.accepted, "a segment was finished twice"
            self.accepted.add((claim.job, claim.unit))
        return outcomes

    def append(self, claim: Claim, digests: Sequence[str], total: int | None) -> Finish:
        key = self.farm.scripts.key("job", claim.job, "specs")
        specs, before = [planned(i, d) for i, d in enumerate(digests)], self.client.hgetall(key)
        outcome = self.farm.work.append_plan(claim, specs, digests=digests, total=total)
        changed = before.items() - self.client.hgetall(key).items()
        self.accepted -= {(claim.job, unit) for unit, _ in changed}
        return outcome

    def planned_digest(self, claim: Claim) -> str:
        """What the worker computes from the spec it was given."""
        assert claim.spec is not None
        return DIGESTS[claim.spec.n_chars - 3]

    def upload(self, claim: Claim, digest: str) -> SegmentResult:
        self.n_made += 1
        key = f"segments/{digest}/{digest}-{self.n_made:x}.flac"
        key = key if digest else f"jobs/{claim.job}/segments/{claim.unit}"
        self.objects.add(key)
        self.lost.discard(key)
        return replace(result(claim), key=key, size_bytes=CACHED_BYTES)

    def assembled(self, claim: Claim, calls: range) -> list[Finish]:
        found = [*self.farm.work.results(claim.job, claim.segments_total)]
        missing = [(s.index, r.key) for s, r in found if r.key not in self.objects]
        if not missing:
            return [self.farm.work.finish_assembly(claim, AUDIO)[0] for _ in calls]
        outcome = self.farm.work.remake(claim, missing)
        if outcome is Finish.ACCEPTED:
            self.accepted -= {(claim.job, segment_unit(index)) for index, _ in missing}
            self.look()
            assert not set(self.entries().values()) & {key for _, key in missing}
        return [outcome]

    @rule(worker=st.sampled_from(("w1", "w2")))
    def go_on(self, worker: str) -> None:
        """A worker does what it holds, and what it claims then."""
        for _ in range(2):
            while self.held[worker]:
                self.report(worker, last=False, repeat=False, newer=False)
            self.claim(worker, 3)

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")), data=st.data())
    def plan_a_part(self, worker: str, data: st.DataObject) -> None:
        """A part of a plan; the planner that takes it up may read the text in another way."""
        plans = [c for c in self.held[worker] if c.kind is UnitKind.PLAN and c.job in self.plans]
        assume(bool(plans))
        (first, *others) = self.plans[plans[0].job]
        self.append(plans[0], [first], None)
        self.plans[plans[0].job] = (data.draw(st.sampled_from(DIGESTS)), *others)

    @precondition(holding())
    @rule(worker=st.sampled_from(("w1", "w2")))
    def crash_after_the_upload(self, worker: str) -> None:
        worker = worker if self.held[worker] else OTHER[worker]
        claim = self.held[worker].pop()
        if claim.kind is UnitKind.SEGMENT:
            self.upload(claim, self.planned_digest(claim))

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
        self.report(old, last=True, repeat=False, newer=False)

    # The keeper

    @precondition(holding())
    @rule()
    def leases_end(self) -> None:
        expire_leases(self.farm)

    @rule()
    def retries_ripen(self) -> None:
        ready_retries(self.farm)

    @rule()
    def what_waits_goes_on(self) -> None:
        self.farm.cache.unpark()
        self.farm.cache.release()
        self.farm.repair.revive()

    @rule(data=st.data())
    def retention_ends(self, data: st.DataObject) -> None:
        name = self.pick(data)
        assume(name in self.ended)
        self.client.zadd(self.farm.scripts.key("retention"), {name: 0})
        assert self.farm.repair.expire_jobs() == (0, 1)
        self.forget(name)

    @rule(n_kept=st.integers(0, 3))
    def room_is_made(self, n_kept: int) -> None:
        before = self.entries()
        settings = Settings(cache_limit_bytes=n_kept * CACHED_BYTES)
        CacheStore(self.farm.scripts, settings).evict()
        self.look()
        gone = {before[digest] for digest in before.keys() - self.entries().keys()}
        assert not gone & {key for _, key in self.needed()}, "evicted what a job needs"

    @rule()
    def the_janitor_comes(self) -> None:
        self.farm.cache.scrub(self.objects)
        for garbage in self.farm.repair.garbage():
            gone = {key for key in self.objects if key.startswith(garbage.prefix)}
            self.objects -= gone if garbage.is_folder else {garbage.prefix}
            self.farm.repair.discarded([garbage])

    @rule(data=st.data())
    def the_store_loses_an_object(self, data: st.DataObject) -> None:
        assume(bool(self.objects))
        key = data.draw(st.sampled_from(sorted(self.objects)))
        self.objects.remove(key)
        self.lost.add(key)

    # What the farm's Redis says

    def look(self) -> None:
        self.now = snapshot(self.farm.scripts)

    def units(self, name: str) -> dict[str, dict[str, Any]]:
        return {u: json.loads(text) for u, text in self.now.get(f"job:{name}:units", {}).items()}

    def entries(self) -> dict[str, str]:
        """Digest to object key."""
        rows = self.now.get("cache:entries", {})
        return {d: json.loads(text.partition("|")[2])["key"] for d, text in rows.items()}

    def needed(self) -> Iterator[tuple[str, str]]:
        """Job and object key of every result of a job that is not over or may be run again."""
        for name in self.plans:
            if self.ended.get(name) is not JobStatus.SUCCEEDED:
                for text in self.now.get(f"job:{name}:results", {}).values():
                    yield name, json.loads(text)["key"]

    def due(self) -> Iterator[str]:
        for kind in ("interactive", "bulk"):
            tenants = self.now.get(f"lane:fake:{kind}:ring", [])
            assert len(tenants) == len(set(tenants)), "a tenant has two turns"
            for tenant in tenants:
                yield from self.now.get(f"lane:fake:{kind}:due:{tenant}", [])

    # What must hold

    @invariant()
    def all_is_well(self) -> None:
        self.look()
        self.a_terminal_state_stays()
        self.every_unit_of_an_active_job_is_somewhere()
        self.one_renders_and_the_others_wait_for_it()
        self.every_needed_object_is_there()
        self.the_cache_counts_what_it_holds()
        self.a_tenant_has_the_jobs_that_have_not_ended()
        self.the_characters_left_in_a_lane_are_those_of_its_active_jobs()

    def a_terminal_state_stays(self) -> None:
        for name in self.plans:
            status = JobStatus(self.now[f"job:{name}"]["status"])
            if name in self.ended:
                assert status is self.ended[name]
            elif status not in JOB_ACTIVE:
                self.ended[name] = status

    def every_unit_of_an_active_job_is_somewhere(self) -> None:
        due = list(self.due())
        assert len(due) == sum(lane.depth for lane in self.farm.presence.lanes())
        places = {
            "claimed": set(self.now.get("lane:fake:leases", [])),
            "waiting": set(self.now.get("retries", [])),
            "due": set(due),
        }
        for name in self.plans:
            active = name not in self.ended
            reviving = self.client.zscore(self.farm.scripts.key("reviving"), name)
            not_looked_at = math.inf if reviving is None else reviving
            for unit, u in self.units(name).items():
                if active and unit.isdigit() and int(unit) >= not_looked_at:
                    continue
                assert u["l"] == len(u.get("x", ())), f"losses of {name}|{unit} without an attempt"
                status, member = u.get("s"), f"{name}|{unit}"
                if active and status == "parked":
                    assert member in self.now[f"parked:{u['k']}"], f"{member} is nowhere"
                elif active and status not in ("done", None):
                    assert member in places[status], f"{member} is {status} and nowhere"
                if not active:
                    assert member not in places["due"]
                    assert member not in places["claimed"]

    def one_renders_and_the_others_wait_for_it(self) -> None:
        claimed = [
            (u["k"], f"{name}|{unit}")
            for name in self.plans
            if name not in self.ended
            for unit, u in self.units(name).items()
            if u.get("s") == "claimed" and "k" in u
        ]
        assert len(claimed) == len(dict(claimed)), "identical segments are rendered twice"
        assert dict(claimed) == self.now.get("rendering", {})
        parked = {key.partition(":")[2] for key in self.now if key.startswith("parked:")}
        assert parked <= dict(claimed).keys() | self.now.get("unparking", {}).keys()

    def every_needed_object_is_there(self) -> None:
        keys = {key for _, key in self.needed()} | set(self.entries().values())
        assert keys <= self.objects | self.lost

    def the_cache_counts_what_it_holds(self) -> None:
        entries = self.entries()
        assert int(self.now.get("cache:bytes", 0)) == CACHED_BYTES * len(entries)
        assert set(self.now.get("cache:used", [])) == entries.keys()
        digests = {key: digest for digest, key in entries.items()}
        for name, key in self.needed():
            if key in digests:
                assert name in self.now[f"cache:users:{digests[key]}"], "it may be evicted"

    def a_tenant_has_the_jobs_that_have_not_ended(self) -> None:
        for tenant in TENANTS:
            active = {
                name
                for name, owner in self.tenants.items()
                if owner == tenant and name not in self.ended
            }
            assert set(self.now.get(f"active:tenant:{tenant}", ())) == active
            n_chars = sum(int(self.now[f"job:{name}"]["n_chars"]) for name in active)
            assert int(self.now.get(f"active:tenant:{tenant}:chars") or 0) == n_chars

    def the_characters_left_in_a_lane_are_those_of_its_active_jobs(self) -> None:
        left = dict[tuple[str, str], int]()
        for name, tenant in self.tenants.items():
            job, units = self.now[f"job:{name}"], self.units(name)
            segments = [segment for unit, segment in units.items() if unit.isdigit()]
            planned = sum(segment["c"] for segment in segments)
            spoken = sum(segment["c"] for segment in segments if segment["s"] == "done")
            assert int(job.get("planned_chars", 0)) == planned
            if name not in self.ended:
                whole = planned if "segments_total" in job else int(job["n_chars"])
                place = (job["class"], tenant)
                left[place] = left.get(place, 0) + max(0, whole - spoken)
        for kind in ("interactive", "bulk"):
            for tenant, n_chars in self.now.get(f"lane:fake:{kind}:left", {}).items():
                assert int(n_chars) == left.pop((kind, tenant))
        assert not any(left.values())

    def teardown(self) -> None:
        """A healthy worker brings every job to its end, whatever came before."""
        for _ in range(300):
            expire_leases(self.farm)
            ready_retries(self.farm)
            self.farm.cache.unpark()
            claims = self.farm.work.claim("last", "fake", 3)
            for claim in claims:
                self.done(claim)
            if not claims:
                break
        for name, tenant in self.tenants.items():
            assert self.farm.status(name, tenant) not in JOB_ACTIVE, f"{name} never ended"
        assert self.client.zcard(self.farm.scripts.key("lane", "fake", "leases")) == 0
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        """With every job deleted and room made, Redis and the store hold nothing of them."""
        key = self.farm.scripts.key
        for name, tenant in self.tenants.items():
            self.farm.jobs.delete(tenant, name)
        while self.farm.cache.release():
            pass
        self.look()
        while self.farm.repair.revive():
            pass
        self.look()
        left = ("cache:users", "released", "rendering", "parked", "unparking", "reviving")
        assert not [name for name in self.now if name.startswith(left)]
        CacheStore(self.farm.scripts, Settings(cache_limit_bytes=0)).evict()
        self.look()
        assert self.entries() == {}
        for _ in range(2):
            for member in self.client.zrange(key("garbage"), 0, -1):
                self.client.zadd(key("garbage"), {member: 0})
            self.the_janitor_comes()
        assert self.objects == set()


def test_no_history_loses_or_doubles_work(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, timeout_s=PATIENCE_S)
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
@given(
    costs=st.lists(st.integers(1, 300), min_size=2, max_size=5),
    n_claims=st.integers(20, 80),
    both=st.booleans(),
)
def test_backlogged_tenants_get_equal_shares(
    redis_server: RedisServer, costs: list[int], n_claims: int, both: bool
) -> None:
    """In each class by itself; where both wait, bulk work gets its fifth of the claims."""
    with connect(redis_server.url, timeout_s=PATIENCE_S) as client:
        client.flushall()
        farm = Farm(Scripts(client), Settings(redis_url=redis_server.url))
        kinds = ("interactive", "bulk") if both else ("bulk",)
        jobs = {f"{kind}-{i}": n for kind in kinds for i, n in enumerate(costs)}
        for name in jobs:
            kind, _, i = name.partition("-")
            farm.submit(name, tenant=f"t{i}", interactive=kind == "interactive")
        for plan in [farm.claim()[0] for _ in jobs]:
            specs = [spec(i, jobs[plan.job]) for i in range(100)]
            farm.work.append_plan(plan, specs, total=100)
        spoken, claimed = dict.fromkeys(jobs, 0), dict.fromkeys(kinds, 0)
        for _ in range(n_claims):
            (claim,) = farm.claim()
            assert claim.spec is not None
            spoken[claim.job] += claim.spec.n_chars
            claimed[claim.job.partition("-")[0]] += 1
        for kind in kinds:
            shares = [n for name, n in spoken.items() if name.startswith(kind)]
            assert max(shares) - min(shares) <= 2 * QUANTUM + max(costs)
        if both:
            assert abs(claimed["bulk"] - n_claims / 5) <= 1
