"""Decides from the facts of a run whether the farm kept its promises; each breach is a line."""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.caller import TERMINAL
from tests.faults.facts import JobFacts, Leftovers, RunFacts


def breaches(facts: RunFacts, *, spoken_once: bool = False) -> list[str]:
    """Every promise that was broken, with the job it was made for; nothing when all were kept.

    `spoken_once`: nothing in this run may have been rendered twice.
    """
    found = [f"{job.id} {line}" for job in facts.jobs for rule in RULES for line in rule(job)]
    if spoken_once:
        found += [f"{job.id} {line}" for job in facts.jobs for line in _spoken_once(job)]
    return [*found, *_one_job_a_key(facts)]


def left_behind(left: Leftovers) -> list[str]:
    """What is there of jobs that are gone."""
    return [
        *(f"the record {key} was left behind" for key in left.keys),
        *(f"the object {key} is an orphan" for key in sorted(left.objects - left.cached)),
        *(f"the cached object {key} is gone" for key in sorted(left.cached - left.objects)),
    ]


def _ends_once(job: JobFacts) -> Iterator[str]:
    if job.view is None:
        yield "was accepted and is lost"
        return
    status = job.view["status"]
    if status not in TERMINAL:
        yield f"is {status} and never ended"
    elif status not in job.order.ends:
        yield f"is {status}, not {' or '.join(sorted(job.order.ends))}: {job.view['error']}"
    ends = list(dict.fromkeys([*(s for s in job.seen if s in TERMINAL), status]))
    if len(ends) > 1:
        yield f"ended more than once: {', '.join(ends)}"


def _says_why(job: JobFacts) -> Iterator[str]:
    if job.view is None or job.view["status"] != "failed":
        return
    code = (job.view["error"] or {}).get("code")
    if job.order.error and code != job.order.error:
        yield f"failed as {code}, not {job.order.error}"


def _is_whole(job: JobFacts) -> Iterator[str]:
    """The audio is what its record says and what a calm run gives."""
    if job.view is None or job.view["status"] != "succeeded" or job.calm is None:
        return
    audio, done = job.view["audio"], job.view["progress"]
    if job.audio_sha256 != audio["sha256"]:
        yield f"has audio {job.audio_sha256} where its record says {audio['sha256']}"
    if (audio["sha256"], audio["size_bytes"]) != (job.calm.sha256, job.calm.size_bytes):
        yield f"sounds unlike a calm run: {audio['sha256']}, not {job.calm.sha256}"
    if job.captions_sha256 != job.calm.captions_sha256:
        yield f"has captions unlike a calm run's: {job.captions_sha256}"
    if not done["segments_done"] == done["segments_total"] == job.calm.n_segments:
        yield f"counts {done} where a calm run has {job.calm.n_segments} segments"


def _nothing_is_open(job: JobFacts) -> Iterator[str]:
    """A job that succeeded has no unit that is not done."""
    if job.view is None or job.view["status"] != "succeeded":
        return
    for unit, row in job.units.items():
        if row.get("s") != "done":
            yield f"succeeded, but its {unit} is {row.get('s')}"


def _is_told_once(job: JobFacts) -> Iterator[str]:
    if not job.order.webhook or job.view is None:
        return
    ids = {message.id for message in job.told}
    if len(ids) != 1:
        yield f"was told under {len(ids)} webhook ids, not one"
    if len(job.deliveries) != 1:
        yield f"has {len(job.deliveries)} deliveries, not one"
    for delivery in job.deliveries:
        if delivery["status"] != "delivered":
            yield f"has a message that is {delivery['status']}"
        if delivery["id"] not in ids:
            yield "has a message that never came"
    for message in job.told:
        if not message.signed:
            yield "was told without a good signature"
        if (message.job, message.status) != (job.id, job.view["status"]):
            yield f"was told as {message.job} {message.status}"


def _spoken_once(job: JobFacts) -> Iterator[str]:
    for unit, row in job.units.items():
        if unit.isdigit() and row["a"] > 1:
            yield f"had its segment {unit} rendered {row['a']} times"


def _one_job_a_key(facts: RunFacts) -> Iterator[str]:
    """A key makes one job, however often it was sent; a job nobody was told of is no one's."""
    listed = set(facts.listed)
    for key, ids in facts.answers.items():
        if len(ids) > 1:
            yield f"{key} was answered with {len(ids)} jobs"
    for key, n in Counter(key for key, _ in listed).items():
        if n > 1:
            yield f"{key} became {n} jobs"
    known = {(key, job) for key, ids in facts.answers.items() for job in ids}
    for key, job in sorted(listed - known):
        yield f"{job} of {key} is there, but was never accepted"
    for key, job in sorted(known - listed):
        yield f"{job} of {key} was accepted and is not listed"


RULES: tuple[Callable[[JobFacts], Iterator[str]], ...] = (
    _ends_once,
    _says_why,
    _is_whole,
    _nothing_is_open,
    _is_told_once,
)
