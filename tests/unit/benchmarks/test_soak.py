"""What a soak makes of its samples: names, bounds, the end of the run."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.slopes import Verdict
from benchmarks.soak import ForgetfulReceiver, parse, read_samples
from benchmarks.soak_load import MIX
from benchmarks.soak_report import Findings, judge, markdown, write_report
from benchmarks.soak_watch import family, process_figures


def samples(**per_hour: float) -> list[dict[str, float]]:
    return [
        {"s": float(at), **{name: 50 + slope * at / 3600 for name, slope in per_hour.items()}}
        for at in range(0, 1800, 10)
    ]


FLAT = samples(**{"api.0 / PSS MB": 0.5, "redis / keys": 0.0})
GROWING = samples(**{"api.0 / PSS MB": 0.5, "redis / keys": 900.0})


def findings(**changes: object) -> Findings:
    plain = Findings(
        minutes=30, warm_up=18, capacity=2.0, rate=1.6, done={"short": 9}, put_off={}, wrong=[],
        restarts=[], keys={"job": 4}, figures=judge(FLAT),
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_what_grows_is_named_and_ends_the_run_badly() -> None:
    assert findings().sound
    found = findings(figures=judge(GROWING))
    assert [one.name for one in found.growing] == ["redis / keys"]
    assert not found.sound


@pytest.mark.parametrize("changes", [{"wrong": ["short: 500"]}, {"restarts": ["api.1"]},
                                     {"figures": []}])  # fmt: skip
def test_a_wrong_answer_a_lost_process_and_no_samples_end_it_badly(
    changes: dict[str, object],
) -> None:
    assert not findings(**changes).sound


def test_what_lived_for_a_part_of_the_run_has_no_slope() -> None:
    some = [dict(one) for one in FLAT]
    some[7]["worker9.1 / threads"] = 3.0
    assert {one.name for one in judge(some)} == {"api.0 / PSS MB", "redis / keys"}


def test_the_report_holds_every_figure(tmp_path: Path) -> None:
    found = findings(figures=judge(GROWING))
    write_report(found, tmp_path)
    text = (tmp_path / "soak.md").read_text("utf-8")
    assert text == markdown(found)
    assert "| redis / keys |" in text
    assert f"| {Verdict.GROWS} |" in text
    kept = json.loads((tmp_path / "soak.json").read_text("utf-8"))
    assert [one["verdict"] for one in kept["figures"]] == ["flat", "grows"]


def test_samples_of_the_warm_up_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in FLAT))
    assert [one["s"] for one in read_samples(path, 1780)] == [1780.0, 1790.0]


def test_a_process_is_seen_with_all_it_started() -> None:
    assert os.getpid() in family(os.getppid())
    figures = process_figures(os.getpid())
    assert set(figures) == {"PSS MB", "RSS MB", "open files", "threads"}
    assert all(value >= 1 for value in figures.values())


def test_the_receiver_refuses_some_and_keeps_none() -> None:
    receiver = ForgetfulReceiver()
    try:
        lengths = []
        for _ in range(14):
            receiver.received.append(({}, b""))
            lengths.append(len(receiver.received))
        assert [n == 0 for n in lengths].count(True) == 2
        assert list(receiver.received) == []
    finally:
        receiver.close()


def test_the_default_is_half_an_hour_after_the_warm_up() -> None:
    options = parse([])
    assert (options.minutes, options.share) == (30, 0.8)
    assert options.warm_up > 15
    assert all(weight > 0 for weight in MIX.values())
