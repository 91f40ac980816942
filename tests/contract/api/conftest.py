"""The whole API on a real Redis and a real directory, with a voice ready and a worker in hand."""

import hashlib
import io
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from shared.connection import Scripts
from shared.errors import FarmError
from shared.limits import Limits
from shared.presence import WorkerPresence
from shared.schemas import AudioResult, Voice
from shared.settings import Settings
from shared.storage import open_store
from shared.tenants import KeyStore, NewKey, Scope, known_scopes
from tests.conftest import PATIENCE_S, wait_until
from tests.walk import Farm, result

FAKE = Voice(
    name="fake",
    engine="fake",
    language="zh",
    emotions=("neutral", "happy"),
    sample_rate_hz=16000,
    revision="1",
)


def wav(n_samples: int = 1600) -> bytes:
    """A real WAV of `n_samples` at 16 kHz."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(i.to_bytes(2, "little") for i in range(n_samples)))
    return target.getvalue()


class Api:
    """A client, the settings behind it, and a worker that does what a test says."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.client: FlaskClient = self.app.test_client()
        self.farm = Farm(scripts, settings)
        self.store = open_store(settings)
        self.store.ensure()

    def offer(self, *, ready: bool = True, voice: Voice = FAKE) -> None:
        self.farm.presence.announce(
            WorkerPresence(
                id="w1", host="here", pid=1, voices=(voice,), ready=ready, started_ms=1000
            ),
            ttl_s=60,
        )

    def headers(self, tenant: str, *scopes: str, **limits: int) -> dict[str, str]:
        """What a caller sends who has a new key with these scopes, all of them for none."""
        asked = NewKey(
            tenant=tenant, scopes=known_scopes(scopes) or frozenset(Scope), limits=Limits(**limits)
        )
        _, key = KeyStore(self.farm.scripts).create(asked)
        return {"Authorization": f"Bearer {key}"}

    def submit(
        self, text: str = "你好。", headers: dict[str, str] | None = None, **body: object
    ) -> str:
        answer = self.client.post("/v1/jobs", json={"text": text, **body}, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json["id"])

    def finish(self, audio: bytes | None = None) -> AudioResult:
        """Does the next job's work: one segment, and `audio` in the store."""
        self.farm.plan(1)
        (claim,) = self.farm.claim()
        self.farm.work.finish_segment(claim, result(claim))
        (assembly,) = self.farm.claim()
        data = wav() if audio is None else audio
        made = AudioResult(
            key=f"jobs/{assembly.job}/audio.{assembly.request.format}",
            duration_ms=100,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            format=assembly.request.format,
            sample_rate_hz=16000,
        )
        self.store.put(made.key, data, "audio/wav")
        self.farm.work.finish_assembly(assembly, made)
        return made

    def fail(self, error: FarmError) -> None:
        """Takes the next piece of work and reports `error`."""
        (claim,) = self.farm.claim()
        self.farm.work.fail(claim, error)

    @contextmanager
    def working(self, work: Callable[[], object]) -> Iterator[None]:
        """Does `work` in another thread as soon as a job is due."""

        def run() -> None:
            wait_until(lambda: any(lane.depth for lane in self.farm.presence.lanes()), 60)
            work()

        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apps wait for a Redis that a busy machine holds up, and ask it once."""
    monkeypatch.setattr("api.app.REDIS_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def make_api(scripts: Scripts, farm_settings: Settings) -> Iterator[Callable[..., Api]]:
    """Makes the API with settings of a test's own, and a worker ready."""
    made: list[Api] = []

    def make(**changes: object) -> Api:
        changed = {**farm_settings.model_dump(), "default_voice": "fake", **changes}
        made.append(Api(scripts, Settings(**changed)))
        made[-1].offer()
        return made[-1]

    yield make
    for one in made:
        one.app.extensions["ttsfarm"].close()


@pytest.fixture
def guarded(make_api: Callable[..., Api]) -> Api:
    """The API where callers need keys."""
    return make_api(auth="keys")


@pytest.fixture
def api(scripts: Scripts, farm_settings: Settings) -> Iterator[Api]:
    made = Api(scripts, farm_settings.model_copy(update={"default_voice": "fake"}))
    made.offer()
    yield made
    made.app.extensions["ttsfarm"].close()
