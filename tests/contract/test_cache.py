"""The cache of rendered segments on a real Redis, one behaviour a test."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from shared.bells import Bells, celery_app
from shared.cache import CacheStore
from shared.deliveries import DeliveryStore
from shared.errors import EmptyAudio, SynthesisError
from shared.schemas import Claim
from shared.settings import Settings
from shared.states import Finish, JobStatus
from shared.storage import ObjectStore
from tests.walk import AUDIO, Farm, expire_leases, ready_retries, result, spec
from worker.keeper import Keeper, Stores

pytestmark = pytest.mark.redis

SIZE_BYTES = 100


def key_of(digest: str, n: int = 1) -> str:
    return f"segments/{digest[:2]}/{digest}-{n:x}.flac"


def submit(farm: Farm, job_id: str, digests: Sequence[str], tenant: str = "default") -> None:
    """A job whose plan is stored: segments that speak `digests`."""
    farm.submit(job_id, tenant=tenant)
    (plan,) = farm.claim()
    assert (plan.job, plan.unit) == (job_id, "plan")
    specs = [spec(i) for i in range(len(digests))]
    outcome = farm.work.append_plan(plan, specs, digests=digests, total=len(specs))
    assert outcome is Finish.ACCEPTED


def finish(farm: Farm, claim: Claim, digest: str, n: int = 1) -> Finish:
    made = replace(result(claim), key=key_of(digest, n), size_bytes=SIZE_BYTES)
    return farm.work.finish_segment(claim, made, digest)


def complete(farm: Farm, job_id: str, digests: Sequence[str]) -> int:
    """Walks a job to its end; answers how many of its segments were rendered."""
    submit(farm, job_id, digests)
    n_rendered = 0
    while claims := farm.claim():
        for claim in claims:
            if claim.unit == "assemble":
                farm.work.finish_assembly(claim, AUDIO)
            else:
                finish(farm, claim, digests[int(claim.unit)])
                n_rendered += 1
    assert farm.status(job_id) is JobStatus.SUCCEEDED
    return n_rendered


def room_for(farm: Farm, n_segments: int) -> CacheStore:
    return CacheStore(farm.scripts, Settings(cache_limit_bytes=n_segments * SIZE_BYTES))


def garbage(farm: Farm) -> set[str]:
    return {one.prefix for one in farm.repair.garbage() if not one.is_folder}


def test_a_text_that_comes_again_is_done_when_it_is_planned(farm: Farm) -> None:
    assert complete(farm, "a", ["aa", "bb"]) == 2
    submit(farm, "b", ["aa", "bb"])
    job = farm.jobs.job("default", "b")
    assert (job.segments_done, job.cached_segments, job.synthesis_ms) == (2, 2, 0)
    assert job.audio_ms == 600
    assert job.first_audio_ms is not None
    assert [claim.unit for claim in farm.claim()] == ["assemble"]
    counts = farm.cache.counts()
    assert (counts.hits, counts.misses) == (2, 2)
    assert (counts.segments, counts.bytes) == (2, 2 * SIZE_BYTES)


def test_editing_one_sentence_renders_one_segment(farm: Farm) -> None:
    digests = [f"{i:04x}" for i in range(1000)]
    assert complete(farm, "a", digests) == 1000
    assert complete(farm, "b", [*digests[:500], "ffff", *digests[501:]]) == 1
    assert farm.jobs.job("default", "b").cached_segments == 999


def test_the_same_sentence_all_over_is_rendered_once(farm: Farm) -> None:
    assert complete(farm, "a", ["aa"] * 450) == 1  # more than one step unparks or settles
    assert farm.jobs.job("default", "a").cached_segments == 449


def test_what_keeps_away_from_the_cache_neither_takes_nor_gives(farm: Farm) -> None:
    assert complete(farm, "a", ["aa"]) == 1
    assert complete(farm, "b", ["", ""]) == 2
    assert complete(farm, "c", ["", ""]) == 2
    assert farm.cache.counts().segments == 1


def hold(farm: Farm) -> Claim:
    """The claim of the one that renders, with another job's segment parked behind it."""
    submit(farm, "holder", ["aa"])
    (claim,) = farm.claim()
    submit(farm, "waiter", ["aa"])
    assert farm.claim() == []
    (lane,) = farm.presence.lanes()
    assert (lane.depth, lane.claimed) == (0, 1)
    return claim


@pytest.mark.parametrize(
    "let_go",
    [
        lambda farm, claim: farm.work.fail(claim, SynthesisError("no")),
        lambda farm, claim: farm.work.fail(claim, EmptyAudio("no")),
        lambda farm, claim: farm.work.release(claim, 30.0),
        lambda farm, _: expire_leases(farm),
        lambda farm, _: farm.jobs.cancel("default", "holder"),
        lambda farm, _: farm.jobs.delete("default", "holder"),
    ],
    ids=["fail", "fail for good", "release", "lease", "cancel", "delete"],
)
def test_what_is_parked_goes_on_when_its_holder_lets_go(
    farm: Farm, let_go: Callable[[Farm, Claim], object]
) -> None:
    let_go(farm, hold(farm))
    jobs: set[str] = set()
    while "waiter" not in jobs:
        claims = farm.claim()
        assert claims, "parked for ever"
        for claim in claims:
            jobs.add(claim.job)
            finish(farm, claim, "aa", claim.attempt + 10)


def test_what_is_parked_is_done_when_its_holder_finishes(farm: Farm) -> None:
    claim = hold(farm)
    finish(farm, claim, "aa")
    assert {c.job for _ in range(2) for c in farm.claim()} == {"holder", "waiter"}
    assert [r.key for _, r in farm.work.results("waiter", 1)] == [key_of("aa")]


def test_audio_of_another_revision_serves_all_that_waited(farm: Farm) -> None:
    submit(farm, "a", ["aa"] * 300)
    (claim,) = farm.claim()
    assert farm.claim() == []
    finish(farm, claim, "ff")  # the worker's voice is newer than the planner's
    assert [c.unit for c in farm.claim()] == ["assemble"]
    assert farm.jobs.job("default", "a").cached_segments == 299
    assert complete(farm, "b", ["aa"]) == 1  # the older one was never made
    assert complete(farm, "c", ["ff"]) == 0


def test_the_keeper_goes_on_with_what_no_claim_comes_for(farm: Farm) -> None:
    submit(farm, "a", ["aa"] * 250)
    (claim,) = farm.claim()
    assert farm.claim() == []
    finish(farm, claim, "aa")
    assert [lane.depth for lane in farm.presence.lanes()] == [100]
    assert farm.cache.unpark()
    assert not farm.cache.unpark()
    assert [lane.depth for lane in farm.presence.lanes()] == [249]


def test_a_canceled_job_that_runs_again_forgets_that_it_waited(farm: Farm) -> None:
    claim = hold(farm)
    farm.jobs.cancel("default", "waiter")
    farm.jobs.retry("default", "waiter")
    assert farm.claim() == []  # parked again
    finish(farm, claim, "aa")
    assert len([c for _ in range(3) for c in farm.claim()]) == 2  # two assemblies


def test_a_hit_costs_a_tenant_nothing(farm: Farm) -> None:
    submit(farm, "a", [*["aa"] * 20, "bb", "cc"])
    (first,) = farm.claim()
    assert [claim.unit for claim in farm.claim()] == ["000020"]  # nineteen are parked
    finish(farm, first, "aa")
    client, credit = farm.scripts.client, farm.scripts.key("lane", "fake", "interactive", "credit")
    before = int(client.hget(credit, "default"))
    assert [claim.unit for claim in farm.claim()] == ["000021"]
    assert farm.jobs.job("default", "a").cached_segments == 19
    assert before - int(client.hget(credit, "default")) == 3  # the characters of "cc" alone


def test_the_least_recently_used_goes_first(farm: Farm) -> None:
    for digest in ("aa", "bb", "cc"):
        complete(farm, digest, [digest])
    assert complete(farm, "again", ["aa"]) == 0
    assert room_for(farm, 2).evict() == 1
    assert garbage(farm) == {key_of("bb")}
    assert complete(farm, "d", ["aa", "cc"]) == 0
    counts = farm.cache.counts()
    assert (counts.segments, counts.bytes, counts.evictions) == (2, 2 * SIZE_BYTES, 1)


@pytest.mark.parametrize("end", ["running", "failed", "canceled", "succeeded", "deleted"])
def test_what_a_job_may_still_need_stays(farm: Farm, end: str) -> None:
    submit(farm, "a", ["aa", "bb"])
    (first,), (second,) = farm.claim(), farm.claim()
    finish(farm, first, "aa")
    if end == "failed":
        farm.work.fail(second, EmptyAudio("no"))
    elif end == "canceled":
        farm.jobs.cancel("default", "a")
    elif end == "deleted":
        farm.jobs.delete("default", "a")
    elif end == "succeeded":
        finish(farm, second, "bb")
        (assembly,) = farm.claim()
        farm.work.finish_assembly(assembly, AUDIO)
    n_gone = {"succeeded": 2, "deleted": 1}.get(end, 0)
    assert room_for(farm, 0).evict() == n_gone
    if end in ("failed", "canceled"):
        farm.jobs.retry("default", "a")
        assert [c.unit for c in farm.claim(limit=8)] == ["000001"]


def test_needed_segments_do_not_hide_the_others_from_the_sweep(farm: Farm) -> None:
    submit(farm, "book", [f"{i:04x}" for i in range(250)])
    for _ in range(250):
        (claim,) = farm.claim()
        finish(farm, claim, f"{int(claim.unit):04x}")
    (assembly,) = farm.claim()
    assert assembly.unit == "assemble"  # held, so the book is not over
    complete(farm, "later", ["ffff"])
    cache = room_for(farm, 250)
    assert sum(cache.evict() for _ in range(3)) == 1
    assert garbage(farm) == {key_of("ffff")}


def test_an_entry_the_store_may_have_let_go_is_none(farm: Farm) -> None:
    short = Farm(farm.scripts, Settings(object_lifetime_days=1))
    complete(short, "a", ["aa"])
    client, key = farm.scripts.client, farm.scripts.key("cache", "entries")
    _, _, made = client.hget(key, "aa").partition("|")
    client.hset(key, "aa", f"1|{made}")
    submit(farm, "b", ["aa"])
    (claim,) = farm.claim()
    finish(farm, claim, "aa", n=2)
    assert garbage(farm) == {key_of("aa")}
    assert farm.cache.counts().bytes == SIZE_BYTES
    assert [claim.unit for claim in farm.claim()] == ["assemble"]
    assert complete(farm, "c", ["aa"]) == 0
    assert [r.key for _, r in farm.work.results("c", 1)] == [key_of("aa", 2)]


def test_what_grew_old_unused_goes_although_there_is_room(farm: Farm) -> None:
    complete(farm, "a", ["aa"])
    client, key = farm.scripts.client, farm.scripts.key("cache", "entries")
    _, _, made = client.hget(key, "aa").partition("|")
    assert farm.cache.evict() == 0
    client.hset(key, "aa", f"1|{made}")
    assert farm.cache.evict() == 1


def test_a_deleted_job_takes_along_what_no_other_job_uses(farm: Farm) -> None:
    complete(farm, "a", ["aa", "bb"])
    complete(farm, "b", ["bb", "cc"])
    farm.jobs.delete("default", "a")
    assert farm.cache.release() == 2
    assert garbage(farm) == {key_of("aa")}
    assert complete(farm, "c", ["bb", "cc"]) == 0


def test_jobs_removed_in_numbers_give_back_together(farm: Farm) -> None:
    """A step serves as many jobs as it has room for: one job each would fall behind a busy farm."""
    for number in range(30):
        complete(farm, f"job{number}", [f"{number:02x}"])
        farm.jobs.delete("default", f"job{number}")
    assert farm.cache.release() == 30
    assert farm.cache.release() == 0
    assert not farm.scripts.client.keys(farm.scripts.key("released*"))


def test_a_step_gives_back_a_bounded_number(farm: Farm) -> None:
    digests = [f"{number:04x}" for number in range(300)]
    complete(farm, "book", digests)
    complete(farm, "short", ["ffff"])
    for job in ("book", "short"):
        farm.jobs.delete("default", job)
    steps = []
    while given := farm.cache.release():
        steps.append(given)
    assert sum(steps) == 301
    assert max(steps) <= 200


def test_a_job_past_its_retention_leaves_its_segments_to_others(farm: Farm) -> None:
    complete(farm, "a", ["aa"])
    farm.scripts.client.zadd(farm.scripts.key("retention"), {"a": 0})
    assert farm.repair.expire_jobs() == (0, 1)
    assert farm.cache.release() == 1
    assert complete(farm, "b", ["aa"]) == 0


def test_audio_that_comes_too_late_is_garbage(farm: Farm) -> None:
    submit(farm, "a", ["aa"])
    (claim,) = farm.claim()
    farm.jobs.cancel("default", "a")
    assert finish(farm, claim, "aa") is Finish.ENDED
    assert garbage(farm) == {key_of("aa")}


def test_a_report_sent_twice_keeps_its_object(farm: Farm) -> None:
    submit(farm, "a", ["aa"])
    (claim,) = farm.claim()
    assert [finish(farm, claim, "aa") for _ in range(2)] == [Finish.ACCEPTED, Finish.REPEATED]
    farm.jobs.delete("default", "a")
    assert finish(farm, claim, "aa") is Finish.GONE
    assert garbage(farm) == set()


def test_audio_made_twice_is_kept_once(farm: Farm) -> None:
    submit(farm, "a", ["aa"])
    (claim,) = farm.claim()
    submit(farm, "b", ["bb"])
    (other,) = farm.claim()
    finish(farm, claim, "aa")
    finish(farm, other, "aa", n=2)  # what it speaks is the same after all
    assert garbage(farm) == {key_of("aa", 2)}
    assert [r.key for _, r in farm.work.results("b", 1)] == [key_of("aa")]


def test_what_the_store_lost_is_dropped_before_it_is_made_again(farm: Farm) -> None:
    complete(farm, "a", ["aa", "bb"])
    submit(farm, "b", ["aa", "bb"])
    (assembly,) = farm.claim()
    lost = [(0, key_of("aa")), (1, key_of("bb"))]
    assert farm.work.remake(assembly, lost) is Finish.ACCEPTED
    assert farm.jobs.job("default", "b").cached_segments == 0
    first, second = farm.claim(limit=8)
    finish(farm, first, "aa", n=2)
    finish(farm, second, "bb", n=2)
    (again,) = farm.claim()
    assert farm.work.finish_assembly(again, AUDIO)[0] is Finish.ACCEPTED
    assert farm.jobs.job("default", "b").audio_ms == AUDIO.duration_ms


def keeper_of(farm: Farm, store: ObjectStore, settings: Settings) -> Keeper:
    stores = Stores(
        repair=farm.repair,
        cache=farm.cache,
        presence=farm.presence,
        deliveries=DeliveryStore(farm.scripts),
        batches=farm.batches,
        storage=store,
        bells=Bells(celery_app(settings)),
    )
    return Keeper("k", stores, lead_s=600.0, lease_s=1.0, interval_s=0.1)


def put_all(store: ObjectStore, *keys: str) -> None:
    for key in keys:
        store.put(key, b"x" * SIZE_BYTES, "audio/flac")


def test_the_janitor_deletes_evicted_objects(
    farm: Farm, store: ObjectStore, farm_settings: Settings
) -> None:
    complete(farm, "a", ["aa", "bb", "cc"])
    put_all(store, key_of("aa"), key_of("aa", 2), key_of("bb"), key_of("cc"))
    room_for(farm, 1).evict()
    keeper_of(farm, store, farm_settings).clear()
    kept = set(store.list("segments/"))
    assert key_of("aa", 2) in kept  # of the same digest, another object
    assert len(kept) == 2


def test_the_janitor_finds_objects_nobody_knows(
    farm: Farm, store: ObjectStore, farm_settings: Settings
) -> None:
    complete(farm, "a", ["aa"])
    others = ("segments/aa/readme.txt", "jobs/a/audio.wav")
    put_all(store, key_of("aa"), key_of("aa", 2), key_of("bb"), *others)
    keeper, client, key = (
        keeper_of(farm, store, farm_settings),
        farm.scripts.client,
        farm.scripts.key,
    )
    client.set(key("scrub", "turn"), 0xA9)
    keeper.clear()  # its turn looks through segments/aa/ alone
    assert client.zrange(key("garbage"), 0, -1) == [f"{key_of('aa', 2)}|stray"]
    assert key_of("aa", 2) in store.list("segments/")
    client.zadd(key("garbage"), {f"{key_of('aa', 2)}|stray": 0})
    keeper.clear()
    assert set(store.list("")) == {key_of("aa"), key_of("bb"), *others}


def test_a_stray_that_was_reported_in_time_stays(
    farm: Farm, store: ObjectStore, farm_settings: Settings
) -> None:
    submit(farm, "a", ["aa"])
    (claim,) = farm.claim()
    put_all(store, key_of("aa"))
    assert farm.cache.scrub([key_of("aa")]) == 1
    finish(farm, claim, "aa")
    farm.scripts.client.zadd(farm.scripts.key("garbage"), {f"{key_of('aa')}|stray": 0})
    keeper_of(farm, store, farm_settings).clear()
    assert list(store.list("segments/")) == [key_of("aa")]


def test_retries_of_a_parked_segment_come_back_to_the_cache(farm: Farm) -> None:
    claim = hold(farm)
    farm.work.fail(claim, SynthesisError("no"))
    (waiter,) = farm.claim()
    ready_retries(farm)
    assert farm.claim() == []  # now the first waits for the second
    finish(farm, waiter, "aa")
    assert {c.job for _ in range(2) for c in farm.claim()} == {"holder", "waiter"}
