import re
from pathlib import Path

import pytest

from worker.text.clean import clean
from worker.text.markup import ATTRIBUTES
from worker.text.normalise import Normaliser

PAGE = (Path(__file__).parents[3] / "docs" / "text-frontend.md").read_text(encoding="utf-8")
READ = PAGE.partition("## What it reads")[2].partition("\n## ")[0]
SSML = PAGE.partition("## SSML")[2].partition("\n## ")[0]
ROWS = [row.strip("| ").split(" | ") for row in READ.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize(("written", "spoken"), ROWS)
def test_the_examples_are_read_as_the_page_says(written: str, spoken: str) -> None:
    normaliser = Normaliser()
    examples = re.findall("`([^`]+)`", written)
    assert examples
    assert " ".join(normaliser.spoken(clean(e).text) for e in examples) == spoken


def test_every_element_and_attribute_of_the_page_is_read_and_none_is_left_out() -> None:
    rows = [row.split("|") for row in SSML.splitlines() if row.startswith("| `")]
    described = {
        name: set(re.findall("`([a-zA-Z-]+)`", row[2]))
        for row in rows
        for name in re.findall("`([a-z-]+)`", row[1])
    }
    assert set(described) == set(ATTRIBUTES)
    for name, attributes in ATTRIBUTES.items():
        assert {a for a in attributes if a != "xml:lang"} <= described[name]
