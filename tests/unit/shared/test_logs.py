"""Log lines as a machine reads them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.logs import bound, configure_logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level = root.level
    stream = io.StringIO()
    handler = configure_logs("INFO", process="test", stream=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_what_is_bound(lines: io.StringIO) -> None:
    with bound(action="job.render", job="j1"), bound(unit="s3"):
        logging.getLogger("worker.tasks").info("rendered %d", 2, extra={"duration_ms": 5})
    (line,) = read(lines)
    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "worker.tasks",
        "message": "rendered 2",
        "process": "test",
        "action": "job.render",
        "job": "j1",
        "unit": "s3",
        "duration_ms": 5,
    }


def test_what_is_bound_ends_with_its_block(lines: io.StringIO) -> None:
    logger = logging.getLogger("x")
    with bound(job="j1"):
        pass
    logger.info("after", extra={"action": "own"})
    (line,) = read(lines)
    assert "job" not in line
    assert line["action"] == "own"


def test_configuring_again_replaces_the_handler(lines: io.StringIO) -> None:
    again = io.StringIO()
    handler = configure_logs("INFO", process="test", stream=again)
    logging.getLogger("x").info("once")
    logging.getLogger().removeHandler(handler)
    assert (lines.getvalue(), len(read(again))) == ("", 1)


@pytest.mark.parametrize(
    "given", ["a\nb", 'a\r\n{"level": "ERROR"}', "\x1b[2J", "\u2028x\u2029", '"', "\x00", "\udc80"]
)
def test_what_a_stranger_wrote_stays_in_its_line(lines: io.StringIO, given: str) -> None:
    logging.getLogger("x").info("said %s", given, extra={"action": "a", "route": given})
    written = lines.getvalue()
    assert written.count("\n") == 1
    assert "\x1b" not in written
    assert json.loads(written)["message"] == f"said {given}"
