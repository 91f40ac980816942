"""What the outside sees of a batch: the same object in HTTP answers, events and webhooks."""

from typing import Any

from pydantic import Field

from shared.batches import Batch
from shared.links import Links
from shared.states import BatchStatus, JobStatus
from shared.views import View, timestamp


class BatchCountsView(View):
    """Jobs by status; `deleted` ones were removed one by one."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    expired: int
    deleted: int


class RejectedView(View):
    count: int = Field(description="Inputs left out, with accept=valid")
    errors: list[dict[str, Any]] = Field(
        description="Their faults, the first thousand; only where one batch is shown"
    )


class BatchLinksView(View):
    self: str
    jobs: str
    events: str
    results: str
    cancel: str
    retry: str


class BatchView(View):
    """A batch."""

    id: str
    status: BatchStatus = Field(description="completed: every job has ended, see counts")
    counts: BatchCountsView
    audio_s: float = Field(description="Seconds of finished audio")
    characters: int
    rejected: RejectedView
    metadata: dict[str, str]
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None = Field(description="When the batch goes, its jobs and audio with it")
    links: BatchLinksView


def batch_view(
    batch: Batch, links: Links, errors: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The batch object as JSON-ready values."""
    here = links.batch(batch.id)
    view = BatchView(
        id=batch.id,
        status=batch.status,
        counts=BatchCountsView(
            total=batch.n_total,
            deleted=batch.n_deleted,
            **{status.value: batch.counts[status] for status in JobStatus},
        ),
        audio_s=batch.audio_ms / 1000,
        characters=batch.n_chars,
        rejected=RejectedView(count=batch.n_rejected, errors=errors or []),
        metadata=batch.metadata,
        created_at=timestamp(batch.created_ms) or "",
        started_at=timestamp(batch.started_ms),
        finished_at=timestamp(batch.finished_ms),
        expires_at=timestamp(batch.expires_ms),
        links=BatchLinksView(
            self=here,
            jobs=links.jobs_of(batch.id),
            events=f"{here}/events",
            results=f"{here}/results.zip",
            cancel=f"{here}/cancel",
            retry=f"{here}/retry",
        ),
    )
    return view.model_dump(mode="json")
