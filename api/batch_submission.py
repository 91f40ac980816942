"""A batch from its body into the farm."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile
from typing import Any

from flask import Request

from api.batch_bodies import Piece, read_pieces
from api.batch_requests import (
    Judged,
    Received,
    judge,
    open_spool,
    parse_head,
    receive,
)
from api.bodies import drain
from api.farm import Farm
from api.guards import current_caller, current_tenant
from api.submission import rules_of
from shared.batches import Batch, BatchHead, Rejected
from shared.errors import InvalidRequest, RequestError


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a dialect says of a batch that its pieces do not: see `BatchHead`."""

    id: str
    fingerprint: str
    definition: dict[str, Any]


def submit_batch(farm: Farm, request: Request, key: str | None) -> tuple[Batch, Judged | None]:
    """The batch, stored and accepted, with what was left out; None where it was there before.

    A call that breaks off leaves a batch that nobody sees and nothing is done for. The same body
    with the same key or id goes on with it; jobs stored before are not stored again.
    """
    with open_spool() as given:
        return _accept(farm, _receive(farm, request, given), key)


def submit_pieces(
    farm: Farm, pieces: Iterable[Piece], key: str, named: Named
) -> tuple[Batch, bool]:
    """The same for a batch that came in a dialect's own form, and whether it is new."""
    with open_spool() as given:
        received = receive(pieces, farm.settings.max_batch_inputs, given)
        batch, judged = _accept(farm, received, key, named)
        return batch, judged is not None


def _receive(farm: Farm, request: Request, into: SpooledTemporaryFile[str]) -> Received:
    chosen = farm.settings
    try:
        pieces = read_pieces(request, chosen.max_batch_bytes, chosen.max_body_bytes)
        return receive(pieces, chosen.max_batch_inputs, into)
    except RequestError:
        drain(request)
        raise


def _accept(
    farm: Farm, received: Received, key: str | None, named: Named | None = None
) -> tuple[Batch, Judged | None]:
    rules, stem = rules_of(farm), farm.new_id()
    asked = parse_head(received.head, rules)
    head = BatchHead(
        id=asked.id or stem,
        tenant=current_tenant(),
        fingerprint=received.fingerprint,
        idempotency_key=key,
        webhook_url=asked.webhook_url,
        retention_s=asked.retention_s or farm.settings.retention_s,
        metadata=asked.metadata,
    )
    if named:
        head = replace(head, **vars(named))
    with open_spool() as kept:
        judged = judge(received, asked, rules, kept)
        _refuse(judged, received.n_inputs, everything=asked.accept == "all")
        return _store(farm, head, stem, judged)


def _store(farm: Farm, head: BatchHead, stem: str, judged: Judged) -> tuple[Batch, Judged | None]:
    tenant = head.tenant
    subjects = current_caller().subjects
    opened = farm.batches.open(
        head,
        stem,
        subjects=subjects,
        n_jobs=judged.n_valid,
        n_chars=judged.n_chars,
        room=farm.room.free(),
    )
    if not opened.pending:
        farm.batches.settle(tenant, opened.id)
        return farm.batches.kept(tenant, opened.id), None
    farm.batches.add(tenant, opened.id, judged, opened.stem)
    batch = farm.batches.commit(
        tenant,
        opened.id,
        Rejected(n_inputs=judged.n_rejected, faults=judged.faults),
        subjects,
        farm.settings.queue_wait_limit_s or None,
        opened.stem,
    )
    for voice, n_jobs in judged.voices.items():
        farm.bells.ring(voice)
        farm.metrics.count_submit(voice, created=True, n_jobs=n_jobs)
    return batch, judged


def _refuse(judged: Judged, n_inputs: int, *, everything: bool) -> None:
    """Raise `InvalidRequest` when what is wrong keeps the batch from being accepted."""
    if not judged.n_rejected or (judged.n_valid and not everything):
        return
    told = f", the first {len(judged.faults)} faults are told" if judged.n_told_short else ""
    raise InvalidRequest(
        f"{judged.n_rejected} of {n_inputs} inputs are at fault{told}; nothing was accepted. "
        'Mend them, or leave them out with "accept": "valid".',
        errors=judged.faults,
        inputs_at_fault=judged.n_rejected,
    )
