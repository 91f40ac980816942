"""The limits a request has met, kept until its answer tells of them."""

from collections.abc import Iterable

from flask import g

from shared.limits import Quota


def note_quotas(quotas: Iterable[Quota]) -> None:
    """Tell the caller how far these limits are used, in the answer's `RateLimit` fields."""
    g.quotas = {**noted(), **{quota.policy: quota for quota in quotas}}


def noted() -> dict[str, Quota]:
    """The limits this request has met, by the names of their policies."""
    found: dict[str, Quota] = g.get("quotas", {})
    return found
