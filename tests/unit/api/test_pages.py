"""What the pages are made of: small, and nothing of it comes from elsewhere."""

import re
from pathlib import Path

API = Path(__file__).parents[3] / "api"
FILES = [*(API / "static").iterdir(), *(API / "templates").iterdir()]
MOST_BYTES = 150_000


def test_both_pages_with_all_they_load_stay_small() -> None:
    assert sum(file.stat().st_size for file in FILES) < MOST_BYTES


def test_nothing_is_inline_and_nothing_is_fetched_from_elsewhere() -> None:
    for file in FILES:
        text = file.read_text("utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file.name
        if file.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text), file.name


def test_every_word_a_page_names_is_there_in_both_languages() -> None:
    words = (API / "static/i18n.js").read_text("utf-8")
    table = dict(re.findall(r'^  (\w+): \["(.*?)", "(?:.*?)"\],$', words, re.MULTILINE))
    entries = re.findall(r"^  (\w+): \[", words, re.MULTILINE)
    assert len(entries) == len(set(entries)) == len(table)
    for file in FILES:
        text = file.read_text("utf-8")
        named = re.findall(r'data-t(?:-aria-label|-placeholder)?="(\w+)"', text)
        named += re.findall(r'\bt\("(\w+)"[,)]', text) if file.suffix == ".js" else []
        assert set(named) <= table.keys(), file.name
