"""One worker's parts on a real Redis and a real store, run by the test's own thread."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shared.bells import Bells, celery_app
from shared.connection import Scripts
from shared.settings import Settings
from shared.storage import ObjectStore, open_store
from tests.walk import Farm
from worker.heartbeat import Heartbeat
from worker.metrics import WorkerMetrics
from worker.pulse import Pulse
from worker.tasks import Bench, Tools
from worker.voices import Voices


def raises(error: type[Exception]) -> Callable[..., Any]:
    """A function that does nothing else."""

    def call(*_: object, **__: object) -> None:
        raise error

    return call


@dataclass
class Worker:
    """A worker's parts."""

    farm: Farm
    settings: Settings
    store: ObjectStore
    bench: Bench
    heartbeat: Heartbeat
    pulse: Pulse
    metrics: WorkerMetrics
    bells: Bells

    def drain(self) -> int:
        return self.bench.drain("fake")

    def drain_one(self) -> None:
        """Claim and do one batch, the store being met first."""
        assert self.bench._store_answers()
        self.bench._perform("fake", self.farm.work.claim("w1", "fake", 1))

    def units(self, job_id: str) -> list[dict[str, Any]]:
        """What Redis knows of every unit of a job, the plan first."""
        units = self.farm.scripts.client.hgetall(self.farm.scripts.key("job", job_id, "units"))
        return [json.loads(units[name]) for name in sorted(units, key=lambda n: (n != "plan", n))]

    def objects(self, prefix: str = "") -> list[str]:
        return list(self.store.list(prefix))

    def audio_of(self, job_id: str) -> bytes:
        job = self.farm.jobs.job("default", job_id)
        assert job.audio is not None
        data = b"".join(self.store.read(job.audio.key))
        assert hashlib.sha256(data).hexdigest() == job.audio.sha256
        return data


@contextmanager
def at_the_bench(scripts: Scripts, farm_settings: Settings) -> Iterator[Worker]:
    """A worker that is announced inside the block."""
    settings = farm_settings.model_copy(update={"voices": "fake", "drain_s": 120.0})
    farm, pulse, voices = Farm(scripts, settings), Pulse(), Voices(settings)
    store, bells = open_store(settings), Bells(celery_app(settings))
    store.ensure()
    metrics = WorkerMetrics()
    heartbeat = Heartbeat(
        "w1", voices.warm(), work=farm.work, presence=farm.presence, pulse=pulse, lease_s=1.0
    )
    tools = Tools(
        worker="w1", settings=settings, work=farm.work, presence=farm.presence, storage=store,
        bells=bells, voices=voices, heartbeat=heartbeat, metrics=metrics, pulse=pulse,
    )  # fmt: skip
    bench = Bench(tools, store_patience_s=0.5)
    heartbeat.start()
    yield Worker(farm, settings, store, bench, heartbeat, pulse, metrics, bells)
    heartbeat.close()
