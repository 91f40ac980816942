"""A batch as Azure's clients read it."""

from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import UUID, uuid5

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.batches import Batch
from shared.links import Links
from shared.states import BatchStatus, JobStatus
from shared.views import View, timestamp

API_VERSION = "2024-04-01"
PATH = "/texttospeech/batchsyntheses"
RESULT, SUMMARY = "results.zip", "summary.json"
OURS = UUID("6f2b1c52-8a53-5b0e-9f0e-4d2a6c1e7a90")  # names of ours as UUIDs begin here
Status = Literal["NotStarted", "Running", "Succeeded", "Failed"]
ErrorCode = Literal[
    "BadRequest", "Unauthorized", "Forbidden", "NotFound", "Conflict", "UnsupportedMediaType",
    "TooManyRequests", "InternalServerError", "ServiceUnavailable",
]  # fmt: skip


class AzureView(View):
    """An object of theirs: what has no value is left out."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class SynthesisErrorView(AzureView):
    code: str
    message: str


class BillingView(AzureView):
    neural_characters: int = Field(description="Characters of the inputs; nothing is billed")


class SynthesisPropertiesView(AzureView):
    """What was asked; what came of it once the synthesis has ended."""

    time_to_live_in_hours: int
    output_format: str
    concatenate_result: bool
    decompress_output_files: bool
    word_boundary_enabled: bool
    sentence_boundary_enabled: bool
    size_in_bytes: int | None = None
    succeeded_audio_count: int | None = None
    failed_audio_count: int | None = None
    duration_in_milliseconds: int | None = None
    billing_details: BillingView | None = None
    error: SynthesisErrorView | None = None


class SynthesisOutputsView(AzureView):
    result: str = Field(description="A signed link to results.zip; asked again: renewed")
    summary: str | None = Field(
        default=None, description="With decompressOutputFiles: summary.json"
    )


class SynthesisView(AzureView):
    """A batch synthesis."""

    id: str
    internal_id: str
    status: Status
    created_date_time: str
    last_action_date_time: str = Field(description="When it came into its status")
    input_kind: Literal["PlainText", "SSML"]
    description: str | None = None
    synthesis_config: dict[str, Any] | None = None
    custom_voices: dict[str, str] = Field(default_factory=dict)
    properties: SynthesisPropertiesView
    outputs: SynthesisOutputsView | None = None


class SynthesisList(AzureView):
    """A page of syntheses, newest first."""

    value: list[SynthesisView]
    next_link: str | None = Field(default=None, description="Left out on the last page")


class OperationView(AzureView):
    id: str
    status: Status


class InnerErrorView(AzureView):
    code: str = Field(description="The farm's own code")
    message: str


class AzureErrorView(AzureView):
    code: ErrorCode
    message: str
    target: str | None = Field(default=None, description="The property at fault")
    details: list[dict[str, str]] | None = Field(default=None, description="Every fault")
    innererror: InnerErrorView


class AzureFailure(AzureView):
    """Azure's form of an error."""

    error: AzureErrorView


def internal_id(batch: Batch) -> str:
    """What tells this synthesis from another that had its id before."""
    return str(uuid5(OURS, f"{batch.tenant}\0{batch.id}\0{batch.created_ms}"))


def operation_id(synthesis_id: str) -> str:
    """The operation of a synthesis whose caller named none: the same when it is sent again."""
    return str(uuid5(OURS, synthesis_id))


def status_of(batch: Batch) -> Status:
    """It has succeeded when it has any audio; `failedAudioCount` counts what has none."""
    if batch.finished:
        return "Succeeded" if batch.counts[JobStatus.SUCCEEDED] else "Failed"
    return "Running" if batch.status is BatchStatus.RUNNING else "NotStarted"


def operation_view(batch: Batch, operation: str) -> dict[str, Any]:
    """The operation that began the synthesis."""
    return _dump(OperationView(id=operation, status=status_of(batch)))


def synthesis_view(batch: Batch, links: Links) -> dict[str, Any]:
    """The synthesis as JSON-ready values."""
    kept = batch.definition
    last_ms = batch.finished_ms or batch.started_ms or batch.created_ms
    return _dump(
        SynthesisView(
            id=batch.id,
            internal_id=internal_id(batch),
            status=status_of(batch),
            created_date_time=timestamp(batch.created_ms) or "",
            last_action_date_time=timestamp(last_ms) or "",
            input_kind=kept["inputKind"],
            description=kept.get("description"),
            synthesis_config=kept.get("synthesisConfig"),
            properties=_properties(batch),
            outputs=_outputs(batch, links) if batch.finished else None,
        )
    )


def _properties(batch: Batch) -> SynthesisPropertiesView:
    asked = SynthesisPropertiesView.model_validate(batch.definition["properties"])
    if not batch.finished:
        return asked
    succeeded = batch.counts[JobStatus.SUCCEEDED]
    return asked.model_copy(
        update={
            "size_in_bytes": batch.audio_bytes,
            "succeeded_audio_count": succeeded,
            "failed_audio_count": batch.n_total - succeeded - batch.n_deleted,
            "duration_in_milliseconds": batch.audio_ms,
            "billing_details": BillingView(neural_characters=batch.n_chars),
            "error": None if succeeded else _error(batch),
        }
    )


def _error(batch: Batch) -> SynthesisErrorView:
    if batch.status is BatchStatus.CANCELED:
        return SynthesisErrorView(code="Canceled", message="The synthesis was canceled.")
    message = f"None of {batch.n_total} audios could be made; {SUMMARY} in the result says why."
    return SynthesisErrorView(code="SynthesisFailed", message=message)


def _outputs(batch: Batch, links: Links) -> SynthesisOutputsView:
    whole = batch.definition["properties"]["decompressOutputFiles"]
    summary = links.results(batch.tenant, batch.id, SUMMARY) if whole else None
    return SynthesisOutputsView(
        result=links.results(batch.tenant, batch.id, RESULT), summary=summary
    )


def list_view(
    batches: list[Batch], links: Links, following: tuple[int, int] | None
) -> dict[str, Any]:
    """A page; `following` is how many the next one skips and its size, None on the last."""
    views = [synthesis_view(batch, links) for batch in batches]
    made: dict[str, Any] = {"value": views}
    if following:
        skip, size = following
        query = urlencode({"api-version": API_VERSION, "skip": skip, "maxpagesize": size})
        made["nextLink"] = links.address(f"{PATH}?{query}")
    return made


def operation_address(operation: str, links: Links) -> str:
    """Where the operation can be followed."""
    path = f"/texttospeech/operations/{quote(operation, safe='')}?api-version={API_VERSION}"
    return links.address(path)


def _dump(view: AzureView) -> dict[str, Any]:
    return view.model_dump(mode="json", by_alias=True, exclude_none=True)
