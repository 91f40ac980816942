"""The pages in docs/ say what the code does: every route, code, setting, metric and sample."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.signing import new_secret, signed_headers
from tests.doc_tables import BLOCK, DOCS, TABLES, rewrite
from worker.engine import fake

PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_the_codes(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == rewrite(text), "run python -m tests.doc_tables"


def test_every_table_stands_on_one_page() -> None:
    found = [match[2] for page in PAGES for match in BLOCK.finditer(page.read_text("utf-8"))]
    assert sorted(found) == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_says_what_it_is(name: str) -> None:
    rows = TABLES[name]().splitlines()[2:]
    assert rows
    assert all(row.rsplit("|", 2)[1].strip() for row in rows)


@pytest.fixture
def is_ours() -> Callable[..., bool]:
    """The function of docs/webhooks.md that checks a message."""
    page = (DOCS / "webhooks.md").read_text("utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Callable[..., bool]] = {}
    exec(sample, names)  # what a reader copies
    return names["is_ours"]


def test_the_webhook_sample_takes_the_farms_messages_and_no_others(
    is_ours: Callable[..., bool],
) -> None:
    secret, older, now_s = new_secret(), new_secret(), int(time.time())
    headers = signed_headers([older, secret], "msg_1", now_s, b"body")
    assert is_ours(secret, headers, b"body")
    assert not is_ours(secret, headers, b"other body")
    assert not is_ours(new_secret(), headers, b"body")
    late = signed_headers([secret], "msg_1", now_s - 301, b"body")
    assert not is_ours(secret, late, b"body")


def test_every_directive_of_the_fake_engine_is_described() -> None:
    page = (DOCS / "engines.md").read_text("utf-8")
    described = set(re.findall(r"\[\[(\w+)", page))
    assert described == set(re.findall(r"\[\[(\w+)", fake.__doc__ or ""))
    assert all(name in page for name in fake.VOICES)
