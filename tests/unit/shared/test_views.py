"""The job object callers and receivers of webhooks read."""

from dataclasses import replace

from shared.links import Links
from shared.schemas import AudioResult, CaptionsResult, ErrorInfo, Job, JobRequest
from shared.settings import Settings
from shared.states import JobStatus
from shared.views import JobView, job_view, timestamp

LINKS = Links(Settings(public_url="https://farm.example"), b"s" * 32, now_s=lambda: 1_000.0)
QUEUED = Job(
    id="j1",
    tenant="default",
    status=JobStatus.QUEUED,
    request=JobRequest(voice="fake", metadata={"课": "一"}),
    n_chars=4,
    segments_total=None,
    segments_done=0,
    audio_ms=0,
    synthesis_ms=0,
    position=3,
    created_ms=1_000,
    started_ms=None,
    first_audio_ms=None,
    finished_ms=None,
    expires_ms=None,
    audio=None,
    error=None,
)
DONE = replace(
    QUEUED,
    status=JobStatus.SUCCEEDED,
    segments_total=2,
    segments_done=2,
    audio_ms=2_500,
    synthesis_ms=500,
    position=None,
    started_ms=1_010,
    first_audio_ms=1_400,
    finished_ms=2_000,
    expires_ms=90_000_000,
    audio=AudioResult(
        key="jobs/j1/audio.mp3",
        duration_ms=2_500,
        size_bytes=77,
        sha256="ab",
        format="mp3",
        sample_rate_hz=24_000,
    ),
)


def test_a_waiting_job_has_a_place_and_no_times_yet() -> None:
    view = job_view(QUEUED, LINKS)
    assert view["queue"] == {"position": 3, "eta_s": None}
    assert view["timing"] == {
        "queued_ms": None,
        "first_audio_ms": None,
        "synthesis_ms": 0,
        "cached_segments": 0,
        "total_ms": None,
        "real_time_factor": None,
    }
    assert (view["audio"], view["started_at"], view["expires_at"]) == (None, None, None)
    assert view["created_at"] == "1970-01-01T00:00:01.000Z"


def test_a_finished_job_has_its_audio_and_times() -> None:
    view = job_view(DONE, LINKS)
    url = view["audio"].pop("url")
    assert url.startswith("https://farm.example/v1/files/jobs/j1/audio.mp3?")
    assert view["audio"] == {
        "duration_s": 2.5,
        "size_bytes": 77,
        "sha256": "ab",
        "format": "mp3",
        "sample_rate": 24_000,
    }
    assert view["timing"] == {
        "queued_ms": 10,
        "first_audio_ms": 400,
        "synthesis_ms": 500,
        "cached_segments": 0,
        "total_ms": 1_000,
        "real_time_factor": 0.2,
    }
    assert (view["queue"], view["metadata"]) == (None, {"课": "一"})


def test_audio_of_an_earlier_round_is_not_shown_while_a_job_runs_again() -> None:
    assert job_view(replace(DONE, status=JobStatus.RUNNING), LINKS)["audio"] is None


def test_a_failed_job_says_why() -> None:
    error = ErrorInfo(code="bad_audio", message="It is silent.", retryable=True)
    view = job_view(replace(QUEUED, status=JobStatus.FAILED, error=error), LINKS)
    assert view["error"] == error.dump()


def test_links_lead_to_the_jobs_calls() -> None:
    links = job_view(QUEUED, LINKS)["links"]
    assert links["self"] == "https://farm.example/v1/jobs/j1"
    assert set(links) == {"self", "audio", "listen", "events", "cancel", "retry"}


def test_the_object_is_what_the_schema_says() -> None:
    assert set(job_view(QUEUED, LINKS)) == set(JobView.model_fields)


def test_a_clock_that_went_back_gives_no_negative_times() -> None:
    view = job_view(replace(DONE, started_ms=900), LINKS)
    assert view["timing"]["queued_ms"] == 0


def test_times_are_in_utc_with_milliseconds() -> None:
    assert timestamp(1_795_342_922_012) == "2026-11-22T10:22:02.012Z"
    assert timestamp(None) is None


def test_captions_have_an_address_for_each_format() -> None:
    assert job_view(DONE, LINKS)["captions"] is None
    made = CaptionsResult(key="jobs/j1/captions-ab.json", size_bytes=9, sha256="ab")
    found = job_view(replace(DONE, captions=made), LINKS)["captions"]
    base = "https://farm.example/v1/jobs/j1/captions"
    assert found == {name: f"{base}.{name}" for name in ("json", "srt", "vtt", "lrc")}
