"""Audio while it is rendered: every listener gets the same bytes, and they are the file's."""

import re
import threading
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from api.listening import CutOff, FinishedStream
from shared.audio.encode import decode_segment, encode_segment, stream_header
from shared.connection import Scripts
from shared.errors import TextRefused
from shared.schemas import AudioFormat, AudioResult
from shared.settings import Settings
from tests.conftest import wait_until
from tests.contract.api.conftest import Api
from tests.walk import result
from worker import pipeline
from worker.types import Wave

pytestmark = pytest.mark.redis

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
RATE_HZ = 16_000


def wave_of(index: int) -> Wave:
    """Two seconds of noise as they come back from the store."""
    noise = np.random.default_rng(index).normal(0, 0.1, RATE_HZ * 2).astype(np.float32)
    return decode_segment(encode_segment(Wave(samples=noise, rate_hz=RATE_HZ)))[0]


class Studio:
    """A job of several segments, rendered one by one as a test says."""

    def __init__(self, api: Api, directory: Path, n_segments: int = 3, **body: object) -> None:
        self.api, self.directory, self.n_segments = api, directory, n_segments
        self.job = api.submit(**body)
        api.farm.plan(n_segments)
        self.claims = sorted(api.farm.claim(n_segments), key=attrgetter("unit"))
        assert len(self.claims) == n_segments

    @property
    def url(self) -> str:
        return f"/v1/jobs/{self.job}/audio?stream=1"

    def render(self, *indices: int, lost: bool = False) -> None:
        for index in indices:
            claim = self.claims[index]
            if not lost:
                self.api.store.put(result(claim).key, encode_segment(wave_of(index)), "audio/flac")
            self.api.farm.work.finish_segment(claim, result(claim))

    def assemble(self, *, spoilt: bool = False) -> bytes:
        """Finishes the job; what the file holds."""
        (claim,) = self.api.farm.claim()
        specs = [one.spec for one in self.claims if one.spec]
        path = self.directory / "audio"
        made = pipeline.assemble(
            ((spec, wave_of(spec.index)) for spec in specs), claim.request, claim.job, path
        )
        if spoilt:
            path.write_bytes(bytes(made.size_bytes))
        self.api.store.put_file(made.key, path, "audio/x")
        self.api.farm.work.finish_assembly(claim, made)
        return path.read_bytes()

    def streamed(self, file: bytes) -> bytes:
        """The stream of a job whose file this is."""
        header = stream_header(RATE_HZ, self.claims[0].request.format)
        return header + file[len(header) :]


@pytest.fixture
def api(scripts: Scripts, farm_settings: Settings) -> Iterator[Api]:
    changes = {"default_voice": "fake", "stream_idle_s": 30.0, "max_streams": 2}
    yield from opened(scripts, farm_settings.model_copy(update=changes))


@pytest.fixture
def api_on_each_store(
    scripts: Scripts, farm_settings: Settings, store_settings: Settings
) -> Iterator[Api]:
    store = {name: getattr(store_settings, name) for name in store_settings.model_fields_set}
    changes = {"default_voice": "fake", **store}
    yield from opened(scripts, farm_settings.model_copy(update=changes))


def opened(scripts: Scripts, settings: Settings) -> Iterator[Api]:
    made = Api(scripts, settings)
    made.offer()
    made.app.extensions["ttsfarm"].watcher.start()
    yield made
    made.app.extensions["ttsfarm"].close()


@pytest.fixture
def studio(api: Api, tmp_path: Path) -> Callable[..., Studio]:
    return lambda **body: Studio(api, tmp_path, **body)


def read(chunks: Iterator[bytes], n_bytes: int) -> bytes:
    """At least so many bytes of an answer."""
    data = b""
    while len(data) < n_bytes:
        data += next(chunks)
    return data


def whole(api: Api, url: str, **headers: str) -> bytes:
    """All of a stream, which then is closed as a server does."""
    answer = listen(api, url, **headers)
    try:
        return b"".join(answer.iter_encoded())
    finally:
        answer.close()


def until_cut_off(chunks: Iterator[bytes]) -> bytes:
    """What comes before the connection breaks."""
    data = b""
    try:
        for chunk in chunks:
            data += chunk
    except CutOff:
        return data
    raise AssertionError("the stream ended as if it were whole")


def listen(api: Api, url: str, **headers: str) -> Any:
    answer = api.client.get(url, headers=headers)
    assert answer.status_code in (200, 206), answer.text
    return answer


@pytest.mark.parametrize("audio_format", FORMATS)
def test_sound_comes_while_the_rest_is_not_rendered_and_adds_up_to_the_file(
    api_on_each_store: Api, tmp_path: Path, audio_format: AudioFormat
) -> None:
    studio = Studio(api_on_each_store, tmp_path, format=audio_format)
    studio.render(0)
    answer = listen(studio.api, studio.url)
    chunks = answer.iter_encoded()
    heard = read(chunks, 2_000)  # sound, not just a header
    studio.render(2, 1)
    heard += b"".join(chunks)
    file = studio.assemble()
    assert heard == studio.streamed(file)
    again = listen(studio.api, studio.url)  # now from the finished audio
    assert again.data == heard
    assert again.headers["Content-Length"] == str(len(heard))
    assert again.content_type == answer.content_type
    for headers in (answer.headers, again.headers):
        assert (headers["Accept-Ranges"], headers["X-Accel-Buffering"]) == ("bytes", "no")


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "ogg"])
def test_who_comes_back_to_another_process_gets_exactly_the_rest(
    api: Api, studio: Callable[..., Studio], audio_format: AudioFormat
) -> None:
    made = studio(format=audio_format, sample_rate=24_000)
    made.render(0)
    first = listen(api, made.url)
    heard = read(first.iter_encoded(), 2_000)[:2_000]
    first.close()
    for other in opened(api.farm.scripts, api.settings):
        rest = listen(other, made.url, Range="bytes=2000-")
        assert rest.status_code == 206
        assert rest.headers["Content-Range"] == f"bytes 2000-{2**53 - 1}/*"
        made.render(1, 2)
        heard += rest.data
        rest.close()
    file = made.assemble()
    header = stream_header(24_000, audio_format)
    assert heard == header + file[len(header) :]


def test_ranges_of_a_running_stream(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio(format="pcm")
    made.render(0, 1, 2)
    sound = whole(api, made.url)
    part = listen(api, made.url, Range="bytes=100-299")
    assert (part.status_code, part.data) == (206, sound[100:300])
    assert part.headers["Content-Range"] == "bytes 100-299/*"
    part.close()
    for ignored in ("bytes=-100", "bytes=5-4", "bytes=0-", "items=1-2"):
        assert whole(api, made.url, Range=ignored) == sound
    assert whole(api, made.url, **{"Range": "bytes=100-", "If-Range": '"tag"'}) == sound
    assert whole(api, made.url, Range=f"bytes={len(sound)}-") == b""
    with pytest.raises(CutOff, match="past the end"):
        whole(api, made.url, Range=f"bytes={len(sound) + 1}-")
    made.assemble()
    answer = api.client.get(made.url, headers={"Range": f"bytes={len(sound)}-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(sound)}")
    assert whole(api, made.url, Range="bytes=100-299") == sound[100:300]


@pytest.mark.parametrize("audio_format", ["wav", "flac", "ogg"])
def test_the_finished_audio_takes_over_without_a_seam(
    api: Api, studio: Callable[..., Studio], audio_format: AudioFormat
) -> None:
    made = studio(format=audio_format)
    made.render(0)
    chunks = listen(api, made.url).iter_encoded()
    heard = read(chunks, 10)
    made.render(1, 2, lost=True)  # the recording can not go on, as when the segments are discarded
    file = made.assemble()
    assert heard + b"".join(chunks) == made.streamed(file)


def test_audio_that_is_not_what_was_heard_is_not_put_behind_it(
    api: Api, studio: Callable[..., Studio]
) -> None:
    made = studio()
    made.render(0)
    chunks = listen(api, made.url).iter_encoded()
    read(chunks, 10)
    made.render(1, 2, lost=True)
    made.assemble(spoilt=True)
    with pytest.raises(CutOff, match="not what was heard"):
        b"".join(chunks)


def test_a_segment_the_store_lost_is_waited_for(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio()
    made.render(0)
    chunks = listen(api, made.url).iter_encoded()
    heard = read(chunks, 10)
    made.render(1, 2, lost=True)
    (assembly,) = api.farm.claim()
    for index in (1, 2):
        api.store.put(result(made.claims[index]).key, encode_segment(wave_of(index)), "audio/flac")
    api.farm.work.release(assembly)
    heard += b"".join(chunks)
    assert heard == made.streamed(made.assemble())


def test_a_stream_begins_with_the_segment_asked_for(
    api: Api, studio: Callable[..., Studio]
) -> None:
    made = studio(format="pcm")
    made.render(2, 1)
    answer = listen(api, made.url + "&from_segment=1")
    made.render(0)
    tail = answer.data
    answer.close()
    sound = whole(api, made.url)
    assert len(tail) == 2 * len(sound) // 3
    assert sound.endswith(tail)
    last = whole(api, made.url + "&from_segment=2", Range="bytes=1000-")
    assert sound.endswith(last)
    assert len(last) == len(sound) // 3 - 1000


@pytest.mark.parametrize("ending", ["fail", "cancel", "delete"])
def test_a_job_that_ends_badly_breaks_the_stream_off(
    api: Api, studio: Callable[..., Studio], ending: str
) -> None:
    made = studio()
    made.render(0)
    chunks = listen(api, made.url).iter_encoded()
    read(chunks, 10)
    if ending == "fail":
        api.farm.work.fail(made.claims[1], TextRefused("no"))
    else:
        getattr(api.farm.jobs, ending)("default", made.job)
    with pytest.raises(CutOff, match="not_found" if ending == "delete" else "wrong_state"):
        b"".join(chunks)
    answer = api.client.get(made.url)
    assert answer.status_code == (404 if ending == "delete" else 409)


def test_a_job_that_fails_before_any_sound_says_why(
    api: Api, studio: Callable[..., Studio]
) -> None:
    made = studio()
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(api.client.get(made.url)))
    asking.start()
    farm = api.app.extensions["ttsfarm"]
    wait_until(lambda: farm.recordings.listeners == 1, 30)
    api.farm.work.fail(made.claims[1], TextRefused("no such sign"))
    asking.join(30)
    assert answers[0].status_code == 409
    assert "no such sign" in answers[0].json["detail"]
    assert farm.recordings.listeners == farm.slots.taken == 0


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "flac", "ogg"])
def test_a_failed_job_that_is_retried_streams_on(
    api: Api, studio: Callable[..., Studio], audio_format: AudioFormat
) -> None:
    made = studio(format=audio_format)
    made.render(0)
    answer = listen(api, made.url)
    chunks = answer.iter_encoded()
    heard = read(chunks, 10)
    api.farm.work.fail(made.claims[1], TextRefused("no"))
    heard += until_cut_off(chunks)
    answer.close()
    api.farm.jobs.retry("default", made.job)
    made.claims[1:] = sorted(api.farm.claim() + api.farm.claim(), key=attrgetter("unit"))
    made.render(1, 2)
    rest = whole(api, made.url, Range=f"bytes={len(heard)}-")
    assert heard + rest == made.streamed(made.assemble())


def test_one_listener_too_many_is_sent_away(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio()
    made.render(0)
    open_answers = [listen(api, made.url) for _ in range(2)]
    refused = api.client.get(made.url)
    assert (refused.status_code, refused.json["code"]) == (503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    assert b"ttsfarm_http_listening 2.0" in api.client.get("/metrics").data
    open_answers[0].close()
    assert listen(api, made.url).status_code == 200
    assert api.client.head(made.url).status_code == 200


def test_a_tenant_that_listens_much_leaves_places_for_others(
    scripts: Scripts, farm_settings: Settings, tmp_path: Path
) -> None:
    changes = {"default_voice": "fake", "max_streams": 4, "auth": "keys"}
    for api in opened(scripts, farm_settings.model_copy(update=changes)):
        greedy, modest = api.headers("greedy"), api.headers("modest")
        theirs, ours = (Studio(api, tmp_path, headers=one) for one in (greedy, modest))
        theirs.render(0)
        ours.render(0)
        answers = [listen(api, theirs.url, **greedy) for _ in range(2)]
        refused = api.client.get(theirs.url, headers=greedy)
        assert (refused.status_code, refused.json["code"]) == (503, "too_many_streams")
        answers.append(listen(api, ours.url, **modest))
        answers.pop(0).close()
        answers.append(listen(api, theirs.url, **greedy))
        for one in answers:
            one.close()
        farm = api.app.extensions["ttsfarm"]
        assert farm.recordings.listeners == farm.slots.taken == 0


def test_listeners_of_one_job_share_its_recording(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio()
    made.render(0)
    answers = [listen(api, made.url) for _ in range(2)]
    farm = api.app.extensions["ttsfarm"]
    made.render(1, 2)
    first, second = (answer.data for answer in answers)
    assert first == second
    answers[0].close()
    shared = farm.recordings.join(farm.jobs.job("default", made.job), 0)
    answers[1].close()
    assert shared is farm.recordings.join(farm.jobs.job("default", made.job), 0)
    assert (shared.listeners, farm.recordings.listeners) == (2, 2)
    farm.recordings.leave(shared)
    farm.recordings.leave(shared)
    assert first == made.streamed(made.assemble())


def test_silence_for_too_long_ends_the_wait(
    scripts: Scripts, farm_settings: Settings, tmp_path: Path
) -> None:
    changes = {"default_voice": "fake", "stream_idle_s": 0.2}
    for api in opened(scripts, farm_settings.model_copy(update=changes)):
        made = Studio(api, tmp_path)
        answer = api.client.get(made.url)
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        made.render(0)
        with pytest.raises(CutOff, match="no sound came in time"):
            b"".join(until_heard(api, made.url).iter_encoded())


def until_heard(api: Api, url: str) -> Any:
    """The answer as soon as it is a stream."""
    found: list[Any] = []

    def try_it() -> bool:
        found.append(api.client.get(url))
        return found[-1].status_code == 200

    wait_until(try_it, 30)
    return found[-1]


def test_head_describes_the_stream(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio(format="mp3")
    answer = api.client.head(made.url)
    assert (answer.status_code, answer.content_type) == (200, "audio/mpeg")
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Length" not in answer.headers
    made.render(0, 1, 2)
    file = made.assemble()
    answer = api.client.head(made.url)
    assert answer.headers["Content-Length"] == str(len(file))


@pytest.mark.parametrize(
    "query",
    ["stream=2", "stream=1&from_segment=-1", "stream=1&from_segment=x", "from_segment=1", "to=1"],
)
def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    job = api.submit()
    answer = api.client.get(f"/v1/jobs/{job}/audio?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")


def test_a_segment_past_the_last_is_refused(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio()
    made.render(0, 1, 2)
    answer = api.client.get(made.url + "&from_segment=3")
    assert (answer.status_code, answer.json["code"]) == (422, "empty_audio")


def test_without_stream_a_running_job_has_no_audio(api: Api, studio: Callable[..., Studio]) -> None:
    made = studio()
    made.render(0)
    answer = api.client.get(made.url.replace("stream=1", "stream=0"))
    assert (answer.status_code, answer.json["code"]) == (409, "wrong_state")


def test_a_wav_past_four_gibibytes_streams_past_its_longer_header() -> None:
    """The stored file has 80 bytes of RF64 before its sound, the stream 44."""
    size = 5_000_000_080

    class Sparse:
        def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
            assert length is not None
            asked.append((start, length))
            yield b"x" * min(length, 10)

    asked: list[tuple[int, int]] = []
    audio = AudioResult(
        key="k", duration_ms=1, size_bytes=size, sha256="0", format="wav", sample_rate_hz=16_000
    )
    stream: Any = FinishedStream(store=Sparse(), audio=audio)  # type: ignore[arg-type]
    assert stream.size_bytes == size - 36
    assert b"".join(stream.read("k", 0, 54)) == stream_header(16_000, "wav") + b"x" * 10
    assert next(stream.read("k", 4_999_999_044)) == b"x" * 10
    assert asked == [(80, 10), (4_999_999_080, 1_000)]
    assert re.match(rb"RIFF\xff\xff\xff\xffWAVE", stream.header)
