"""The pages in docs/ say what the code does: every route, code, setting, metric and sample."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.routes.client import wheel_name
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


WHEEL = re.compile(r"ttsfarm_client-[\w.]+-py3-none-any\.whl")
SAMPLES = {
    language: text
    for language, text in re.findall(
        r"```(python|js|go)\n(.*?)```", (DOCS / "webhooks.md").read_text("utf-8"), re.DOTALL
    )
    if "is_ours" in text or language != "python"
}
# What stands around a sample to judge the messages on standard input; prints a verdict for each.
PYTHON_MAIN = """
import json, sys
for one in json.load(sys.stdin):
    print("true" if is_ours(one["secret"], one["headers"], one["body"].encode()) else "false")
"""
NODE_MAIN = """
import { readFileSync } from "node:fs";
for (const one of JSON.parse(readFileSync(0)))
  console.log(isOurs(one.secret, one.headers, Buffer.from(one.body)));
"""
GO_MAIN = """
func main() {
	var messages []struct {
		Secret  string
		Headers map[string]string
		Body    string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&messages); err != nil {
		panic(err)
	}
	for _, one := range messages {
		headers := http.Header{}
		for name, value := range one.Headers {
			headers.Set(name, value)
		}
		fmt.Println(IsOurs(one.Secret, headers, []byte(one.Body)))
	}
}
"""


@pytest.mark.parametrize(("language", "program"), [("python", ""), ("js", "node"), ("go", "go")])
def test_a_webhook_sample_takes_the_farms_messages_and_no_others(
    language: str, program: str, tmp_path: Path
) -> None:
    if program and not shutil.which(program):
        if os.environ.get("CI"):
            pytest.fail(f"no {program} on this machine, and CI needs one")
        pytest.skip(f"no {program} on this machine")
    secret, older, now_s = new_secret(), new_secret(), int(time.time())
    body = '{"text": "你好"}'
    headers = signed_headers([older, secret], "msg_1", now_s, body.encode())
    late = signed_headers([secret], "msg_1", now_s - 400, body.encode())
    foreign = {**headers, "webhook-signature": "v1,äöü v1, x"}
    messages = [
        {"secret": secret, "headers": headers, "body": body},
        {"secret": older, "headers": headers, "body": body},
        {"secret": secret, "headers": headers, "body": body + " "},
        {"secret": new_secret(), "headers": headers, "body": body},
        {"secret": secret, "headers": late, "body": body},
        {"secret": secret, "headers": foreign, "body": body},
    ]
    judged = subprocess.run(
        _judge(language, tmp_path),
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod"},
    )
    assert judged.returncode == 0, judged.stderr
    assert judged.stdout.split() == ["true", "true", "false", "false", "false", "false"]


def _judge(language: str, folder: Path) -> list[str]:
    """The command that runs the sample with a main of its own."""
    text = SAMPLES[language]
    if language == "python":
        return [sys.executable, "-W", "error", "-c", text + PYTHON_MAIN]
    if language == "js":
        return ["node", "--input-type=module", "-e", text + NODE_MAIN]
    more = 'import (\n\t"encoding/json"\n\t"fmt"\n\t"os"\n)\n'
    (folder / "main.go").write_text(text.replace("import (", more + "import (", 1) + GO_MAIN)
    return ["go", "run", str(folder / "main.go")]


def test_the_pages_name_the_wheel_this_farm_hands_out() -> None:
    named = [name for page in PAGES for name in WHEEL.findall(page.read_text("utf-8"))]
    assert named
    assert set(named) == {wheel_name()}


def test_every_directive_of_the_fake_engine_is_described() -> None:
    page = (DOCS / "engines.md").read_text("utf-8")
    described = set(re.findall(r"\[\[(\w+)", page))
    assert described == set(re.findall(r"\[\[(\w+)", fake.__doc__ or ""))
    assert all(name in page for name in fake.VOICES)


NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISES = DOCS / "security.md"


def missing_tests(text: str) -> list[str]:
    """The tests that a page names and that are not there."""
    root = DOCS.parent
    return [
        f"{file}::{name}"
        for file, name in NAMED.findall(text)
        if not (root / file).is_file() or f"def {name}(" not in (root / file).read_text("utf-8")
    ]


def test_every_test_that_holds_a_promise_is_there() -> None:
    text = PROMISES.read_text("utf-8")
    assert len(NAMED.findall(text)) == text.count("`tests/") > 50
    assert missing_tests(text) == []
    assert missing_tests("`tests/test_docs.py::test_of_nothing` `tests/no.py::test_a`") == [
        "tests/test_docs.py::test_of_nothing",
        "tests/no.py::test_a",
    ]


def test_every_promise_has_what_holds_it() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \|$", PROMISES.read_text("utf-8").split(
        "## What is promised")[1].split("## What is not promised")[0], re.MULTILINE)  # fmt: skip
    held = [(what, by) for what, by in rows if what not in ("promise", "---")]
    assert len(held) > 25
    assert [what for what, by in held if "tests/" not in by and "make soak" not in by] == []
