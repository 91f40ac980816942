"""Query strings and Prefer."""

from urllib.parse import parse_qsl

import pytest
from werkzeug.datastructures import MultiDict

from api.queries import read_page, read_plain_page, read_prefer, read_wait
from shared.errors import InvalidRequest
from shared.states import JobStatus


def query(text: str) -> "MultiDict[str, str]":
    return MultiDict(parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=10", 10),
        ("respond-async, wait=5", 5),
        ("respond-async; wait=5", 5),
        ('wait="7"', 7),
        ("WAIT = 3", 3),
        ("wait=600", 60),
        ("wait=-1", None),
        ("wait=soon", None),
        ("await=5", None),
        ("wait=٣", None),
        (f"wait={'9' * 6000}", None),
        ("," * 8000 + "wait=5", 5),
        (", " * 4000 + "wait", None),
    ],
)
def test_a_preferred_wait_is_read_and_cut(header: str | None, seconds: int | None) -> None:
    assert read_prefer(header, 60) == seconds


def test_a_wait_is_a_number_of_seconds() -> None:
    assert [read_wait(query(text), 60) for text in ("", "wait=0", "wait=2.5", "wait=60")] == [
        0,
        0,
        2.5,
        60,
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("wait=", "wait=x", "wait=-1", "wait=61", "wait=nan", "wait=inf", "waitt=1"),
        *("wait=1_0", "wait=٣", f"wait={'9' * 6000}", "wait=1e999"),
    ],
)
def test_another_wait_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_wait(query(text), 60)


def test_a_page_takes_every_filter() -> None:
    page = read_page(
        query("status=queued,running&status=failed&voice=fake&metadata.课=一&limit=7&cursor=12.a-b")
    )
    assert (page.limit, page.cursor, page.only.voice) == (7, "12.a-b", "fake")
    assert page.only.statuses == {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED}
    assert page.only.metadata == {"课": "一"}


def test_a_page_without_parameters_holds_jobs_of_every_status() -> None:
    page = read_page(query(""))
    assert (page.limit, page.cursor, page.only.statuses) == (50, None, frozenset())


def test_every_wrong_parameter_of_a_page_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_page(query("limit=0&status=done&cursor=x&order=asc"))
    fields = {fault["field"] for fault in caught.value.details["errors"]}
    assert fields == {"limit", "status", "cursor", "order"}


@pytest.mark.parametrize(
    "text",
    [
        *("cursor=١.a", "cursor=１２.a", f"cursor={'9' * 6000}.a", "cursor=12.a%0a", "cursor=12.é"),
        *("limit=٣", "limit=0", "limit=201", "limit=1_0", f"limit=000000001{'9' * 6000}"),
    ],
)
def test_a_page_named_by_strange_numbers_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_page(query(text))
    with pytest.raises(InvalidRequest):
        read_plain_page(query(text))
