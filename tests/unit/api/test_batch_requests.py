"""What a batch may hold: defaults and overrides, names fit for files, every fault by number."""

from pathlib import PurePosixPath, PureWindowsPath
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.batch_bodies import Head, Piece, RawInput
from api.batch_requests import (
    MAX_FAULTS,
    MAX_NAME_BYTES,
    Judged,
    Received,
    check_name,
    judge,
    open_spool,
    parse_head,
    receive,
)
from shared.batches import BatchInput
from shared.errors import BodyTooLarge, ForbiddenAddress, InvalidRequest, UnknownVoice
from tests.unit.api.test_requests import rules

Spool = SpooledTemporaryFile[str]


def received(
    *values: Any, spool: Spool, head: dict[str, Any] | None = None, most: int = 9999
) -> Received:
    pieces: list[Piece] = [RawInput(number=n, line=n, value=v) for n, v in enumerate(values, 1)]
    return receive([Head(values=head or {}), *pieces], most, spool)


def judged(*values: Any, **head: Any) -> tuple[Judged, list[BatchInput]]:
    with open_spool() as spool, open_spool() as kept:
        given_ = received(*values, spool=spool, head=head)
        found = judge(given_, parse_head(head, rules()), rules(), kept)
        return found, list(found)


def fingerprint(value: Any, head: dict[str, Any]) -> str:
    with open_spool() as spool:
        return received(value, spool=spool, head=head).fingerprint


def test_defaults_hold_where_an_input_says_nothing() -> None:
    _, (first, second) = judged(
        "你好",
        {"text": "世界", "speed": 2, "name": "二", "priority": "high"},
        defaults={"emotion": "happy", "speed": 0.5},
        retention_s=600,
    )
    assert (first.name, first.request.speed, first.request.priority) == ("00001", 0.5, "low")
    assert (second.name, second.request.speed, second.request.priority) == ("二", 2, "high")
    assert {one.request.emotion for one in (first, second)} == {"happy"}
    assert {one.request.retention_s for one in (first, second)} == {600}


def test_every_fault_is_told_with_its_number() -> None:
    found, kept = judged("好", "", {"text": "x", "voice": "nobody", "spede": 1}, 7, {"id": "a"})
    assert [one.number for one in kept] == [1]
    told = [(fault["input"], fault["line"], fault["field"]) for fault in found.faults]
    assert told == [
        (2, 2, "text"), (3, 3, "spede"), (3, 3, "voice"), (4, 4, "input"), (5, 5, "id"),
        (5, 5, "text"),
    ]  # fmt: skip
    assert (found.n_valid, found.n_rejected, found.n_told_short) == (1, 4, 0)


def test_the_list_of_faults_is_bounded_and_the_count_is_not() -> None:
    found, _ = judged(*[""] * (MAX_FAULTS + 5))
    assert (len(found.faults), found.n_rejected) == (MAX_FAULTS, MAX_FAULTS + 5)
    assert found.n_told_short == 5


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ({"id": "a/b"}, "id"),
        ({"colour": 1}, "colour"),
        ({"accept": "some"}, "accept"),
        ({"retention_s": 10**9}, "retention_s"),
        ({"metadata": {"": "x"}}, "metadata."),
        ({"defaults": {"text": "x"}}, "defaults.text"),
        ({"defaults": {"speed": "fast"}}, "defaults.speed"),
        ({"defaults": []}, "defaults"),
    ],
)
def test_faults_of_the_head_are_told_once(head: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_head(head, rules())
    assert [fault["field"] for fault in caught.value.details["errors"]] == [field]


def test_a_default_voice_nobody_has_and_a_private_receiver_are_their_own_errors() -> None:
    with pytest.raises(UnknownVoice):
        parse_head({"defaults": {"voice": "nobody"}}, rules())
    with pytest.raises(ForbiddenAddress):
        parse_head({"webhook_url": "http://127.0.0.1/"}, rules())


def test_too_many_inputs_and_none_are_refused() -> None:
    with open_spool() as spool, pytest.raises(BodyTooLarge, match="more than 2"):
        received("a", "b", "c", spool=spool, most=2)
    with open_spool() as spool, pytest.raises(InvalidRequest, match="inputs"):
        received(spool=spool)


def test_the_fingerprint_is_the_contents_whatever_the_form() -> None:
    one = fingerprint({"text": "a", "speed": 1}, {"id": "x", "accept": "all"})
    assert fingerprint({"speed": 1, "text": "a"}, {"accept": "all"}) == one
    assert fingerprint({"speed": 2, "text": "a"}, {"accept": "all"}) != one
    assert fingerprint({"speed": 1, "text": "a"}, {"accept": "valid"}) != one


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "..", ".a", "a.", " a", "a ", "a\\b", "C:", "nul", "COM1.x", "a\nb", "\u202e", 7,
     "x" * 101, "字" * 70, "-rf", "a\ud800"],
)  # fmt: skip
def test_names_that_are_no_file_names_are_refused(name: object) -> None:
    assert check_name(name, set())


def test_names_differ_in_more_than_case() -> None:
    taken = set[str]()
    assert [len(check_name(name, taken)) for name in ("Eins", "eins", "zwei")] == [0, 1, 0]


@given(st.text(max_size=120))
def test_a_name_that_passes_stays_in_its_folder_on_every_system(name: str) -> None:
    if check_name(name, set()):
        return
    file = f"{name}.wav"
    for path in (PurePosixPath(file), PureWindowsPath(file)):
        assert path.name == file
        assert not path.is_absolute()
        assert path.parts == (file,)
    assert not PureWindowsPath(file).is_reserved()
    assert len(file.encode()) <= MAX_NAME_BYTES + 5
