"""Calls by Azure's public contract, replayed against real processes.

`azure_requests.json` was written from the REST specification of api-version 2024-04-01 and its
examples: each call with the status, headers and shape of its answer. In a shape every property
must be there and no other; `<time>` and the like stand for values of a kind, `a|b` for one of
several, and `?` at the end for what may be absent.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.connection import Scripts, connect
from shared.limits import Limits
from shared.tenants import KeyStore, NewKey, Scope
from tests.conftest import wait_until
from tests.e2e.conftest import Farm, farm_maker

pytestmark = pytest.mark.e2e

HEADS = {"wav": (b"RIFF",), "mp3": (b"\xff", b"ID3")}
CALLS = json.loads((Path(__file__).parent / "azure_requests.json").read_text("utf-8"))


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, str) and re.fullmatch(pattern, given) is not None


KINDS: dict[str, Callable[[Any], bool]] = {
    "<any>": lambda given: given is not None,
    "<int>": lambda given: type(given) is int and given >= 0,
    "<text>": lambda given: isinstance(given, str) and given != "",
    "<digits>": _matches(r"[0-9]+"),
    "<time>": _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"),
    "<uuid>": _matches(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "<operation>": _matches(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]"),
    "<link>": _matches(r"http://127\.0\.0\.1:\d+/texttospeech/\S+"),
}


def optional(shape: Any) -> bool:
    return isinstance(shape, str) and shape.endswith("?")


def check(given: Any, shape: Any, place: str = "") -> None:
    """Fail where `given` has not this shape."""
    if isinstance(shape, dict):
        assert isinstance(given, dict), place
        needed = {key for key, one in shape.items() if not optional(one)}
        assert needed <= given.keys() <= shape.keys(), (place, given)
        for key in given:
            check(given[key], shape[key], f"{place}.{key}")
    elif isinstance(shape, list):
        assert isinstance(given, list), place
        assert len(given) == len(shape), (place, given)
        for n, (one, kind) in enumerate(zip(given, shape, strict=True)):
            check(one, kind, f"{place}[{n}]")
    elif isinstance(shape, str) and shape.removesuffix("?") in KINDS:
        assert KINDS[shape.removesuffix("?")](given), (place, given, shape)
    elif isinstance(shape, str) and re.fullmatch(r"\w+(\|\w+)+", shape):
        assert given in shape.split("|"), (place, given, shape)
    else:
        assert given == shape, place


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Farm, str]]:
    """A farm with keys, and one of them."""
    with farm_maker(tmp_path_factory.mktemp("azure")) as make:
        made = make(TTSFARM_AUTH="keys")
        asked = NewKey(tenant="a", scopes=frozenset(Scope), limits=Limits())
        with connect(made.redis.url) as client:
            _, key = KeyStore(Scripts(client)).create(asked)
        made.spawn("api", "ttsfarm", "serve")
        made.add_worker("worker")
        wait_until(lambda: ready(made), 180)
        yield made, key


def ready(farm: Farm) -> bool:
    try:
        return farm.call("GET", "/readyz").status == 200
    except OSError:
        return False


def test_a_shape_takes_what_it_says_and_nothing_else() -> None:
    shape = {"a": "<int>", "b": ["x|y"], "c": "<time>?"}
    check({"a": 1, "b": ["y"]}, shape)
    for wrong in ({"a": "1", "b": ["y"]}, {"a": 1, "b": []}, {"b": ["x"]},
                  {"a": 1, "b": ["z"]}, {"a": 1, "b": ["x"], "d": 1},
                  {"a": 1, "b": ["x"], "c": "now"}):  # fmt: skip
        with pytest.raises(AssertionError):
            check(wrong, shape)


def test_calls_by_the_public_contract_get_its_answers(farm: tuple[Farm, str]) -> None:
    made, key = farm
    for call in CALLS:
        headers = {"Ocp-Apim-Subscription-Key": key} if call.get("key", True) else {}

        def ask(call: dict[str, Any] = call, headers: dict[str, str] = headers) -> Any:
            return made.call(call["method"], call["path"], call.get("body"), headers)

        def there(ask: Callable[[], Any] = ask, until: str | None = call.get("until")) -> bool:
            return until is None or ask().json["status"] == until

        wait_until(there, 120)
        answer = ask()
        assert answer.status == call["status"], (call["name"], answer.body)
        if call["answer"] is None:
            assert answer.body == b"", call["name"]
            continue
        check(answer.json, call["answer"], call["name"])
        for name, shape in call.get("headers", {}).items():
            check(answer.headers[name], shape, call["name"])
        if "results" in call:
            check_results(made, answer.json["outputs"], call["results"])


def check_results(farm: Farm, outputs: dict[str, str], expected: dict[str, Any]) -> None:
    """The archive under the link, which needs no key."""
    with zipfile.ZipFile(io.BytesIO(farm.call("GET", outputs["result"]).body)) as found:
        assert sorted(found.namelist()) == expected["files"]
        summary = json.loads(found.read("summary.json"))
        check(summary, expected["summary"])
        for row in summary["results"]:
            heads = HEADS[row["audioFileName"].rpartition(".")[2]]
            assert found.read(row["audioFileName"]).startswith(heads)
            assert found.getinfo(row["audioFileName"]).file_size == int(
                row["properties"]["sizeInBytes"]
            )
            if "words" in expected:
                words = json.loads(found.read(row["wordBoundaryFileName"]))
                for word in words:
                    check(word, expected["words"])
                ends = [one["AudioOffset"] + one["Duration"] for one in words]
                assert ends == sorted(ends)
                assert 0 < ends[-1] <= int(row["properties"]["durationInMilliseconds"])
        if "summary" in outputs:
            assert farm.call("GET", outputs["summary"]).json == summary
