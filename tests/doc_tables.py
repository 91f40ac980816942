"""The tables in docs/ that come from the code; `python -m tests.doc_tables` writes them anew."""

import re
from collections.abc import Callable, Iterable
from inspect import getdoc
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.app import create_app
from api.metrics import ApiMetrics, FarmCollector
from api.openapi import PLACEHOLDER, described_routes
from api.waiting import WaitSlots
from scripts.licences import read_table
from scripts.locks import everything
from shared.cache import CacheStore
from shared.connection import Scripts, connect
from shared.deliveries import DeliveryStore
from shared.errors import FarmError, RequestError, all_errors
from shared.presence import PresenceStore
from shared.settings import Settings
from worker.metrics import WorkerMetrics

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(<!-- (\w+): made from the code -->\n).*?(<!-- end -->)", re.DOTALL)
ABSTRACT = (FarmError, RequestError)  # never raised themselves
DETAIL = re.compile(r'`details\["(\w+)"\]`')


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def _default(field: FieldInfo) -> str:
    value = field.default
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return "" if shown in (None, "") else f"`{shown}`"


def _allowed(field: FieldInfo) -> str:
    choices = [str(one) for one in get_args(field.annotation) if isinstance(one, str)]
    names = {"ge": "from", "gt": "above", "le": "to"}
    limits = [
        f"{word} {getattr(rule, name)}"
        for rule in field.metadata
        for name, word in names.items()
        if hasattr(rule, name)
    ]
    return ", ".join(choices or limits)


def settings_table() -> str:
    rows = [
        (f"`TTSFARM_{name.upper()}`", _default(field), _allowed(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return table(("variable", "default", "allowed", "what it does"), rows)


def routes_table() -> str:
    rows = [
        (f"`{method.upper()} {PLACEHOLDER.sub('{' + chr(92) + '1}', rule.rule)}`", call.summary)
        for rule, method, call in described_routes(create_app(Settings()))
    ]
    return table(("call", "does"), sorted(rows, key=lambda row: row[0].split()[1].rstrip("`")))


def errors_table() -> str:
    rows = []
    for error in all_errors():
        if error in ABSTRACT:
            continue
        text = DETAIL.sub(r"`\1`", (getdoc(error) or "").split("\n")[0])
        rows.append(
            (f"`{error.code}`", str(error.status), "yes" if error.retryable else "no", text)
        )
    return table(("code", "status", "retry may help", "meaning"), sorted(rows))


def _metrics(families: Iterable[Metric]) -> str:
    rows = []
    for family in families:
        suffix = "_total" if family.type == "counter" else ""
        rows.append((f"`{family.name}{suffix}`", family.type, family.documentation))
    return table(("metric", "kind", "what it tells"), rows)


def api_metrics_table() -> str:
    scripts = Scripts(connect("redis://127.0.0.1:1"))
    cache = CacheStore(scripts, Settings())
    lanes = FarmCollector(PresenceStore(scripts), DeliveryStore(scripts), cache).describe()
    return _metrics([*_collected(ApiMetrics(WaitSlots(1), lambda: 0).registry), *lanes])


def worker_metrics_table() -> str:
    return _metrics(_collected(WorkerMetrics().registry))


def _collected(registry: CollectorRegistry) -> list[Metric]:
    return list(registry.collect())


def licences_table() -> str:
    known, rows = read_table(), []
    for package, versions in everything().items():
        locks = ", ".join(sorted(set().union(*versions.values())))
        rows.append((package, ", ".join(sorted(versions)), known[package].expression, locks))
    return table(("package", "version", "licence", "locks"), rows)


def conditions_table() -> str:
    rows = [(one.package, one.expression, one.why) for one in read_table().values() if one.why]
    return table(("package", "licence", "why it is all right"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "licences": licences_table,
    "conditions": conditions_table,
    "settings": settings_table,
    "routes": routes_table,
    "errors": errors_table,
    "api_metrics": api_metrics_table,
    "worker_metrics": worker_metrics_table,
}


def rewrite(text: str) -> str:
    """`text` with every table as the code has it now."""
    return BLOCK.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(rewrite(page.read_text("utf-8")), "utf-8")
