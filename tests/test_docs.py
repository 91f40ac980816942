"""The pages in docs/ say what the code does: every route, code, setting and metric."""

from pathlib import Path

import pytest

from tests.doc_tables import BLOCK, DOCS, TABLES, rewrite

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
