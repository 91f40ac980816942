"""`python -m tests.faults`: scenarios by seed on farms that outlive them, then a table."""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.calm import CalmRun
from tests.faults.history import History
from tests.faults.runs import SCENARIOS, Grounds, Result, run

HEAD = ("scenario", "runs", "failures", "seconds")


def main() -> int:
    """The number of runs that failed, 1 at most."""
    asked = _asked()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no farm is left running
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    grounds, calm = Grounds(folder), CalmRun()
    results: list[Result] = []
    try:
        for number, seed in _wanted(asked):
            if asked.fresh:
                grounds.close()
            results.append(_run(number, seed, grounds, calm, asked.short))
            _tell(results[-1], asked.verbose)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        grounds.close()
    failed = [result for result in results if result.breaches]
    _keep(folder, failed)
    print("\n".join(_table(results)))
    for result in failed:
        print(f"failed: {result.history.command}")
    return min(1, len(failed))


def _wanted(asked: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Scenarios and seeds; a farm's all one after the other, so that it is started once."""
    shard, shards = asked.shard
    seeds = [asked.seed] if asked.seed is not None else asked.seeds[shard - 1 :: shards]
    left_out = set(asked.without.split(","))
    wanted = asked.scenario.split(",") if asked.scenario else list(SCENARIOS)
    numbers = [number for number in wanted if number not in left_out]
    shapes = dict.fromkeys(SCENARIOS[number].shape.name for number in numbers)
    for shape in shapes:
        for seed in seeds:
            for number in numbers:
                if SCENARIOS[number].shape.name == shape:
                    yield number, seed


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--seeds", type=_seeds, default=range(1, 2), help="100: seeds 1 to 100; or 21-40"
    )
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument(
        "--shard", type=_shard, default=(1, 1), help="2/3: the second of three equal shares of them"
    )
    parser.add_argument("--scenario", help=f"of {', '.join(SCENARIOS)}, by comma; all of them")
    parser.add_argument("--without", default="", help="scenarios to leave out, by comma")
    parser.add_argument("--fresh", action="store_true", help="a farm of its own for every run")
    parser.add_argument(
        "--short", action="store_true", help="as every change of the code is tested"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print every history")
    asked = parser.parse_args()
    named = f"{asked.scenario or ''},{asked.without}".split(",")
    if unknown := set(filter(None, named)) - SCENARIOS.keys():
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    return asked


def _seeds(given: str) -> range:
    first, dash, last = given.partition("-")
    if not dash:
        first, last = "1", first
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{given!r} is neither a number of seeds nor 21-40")
    return range(int(first), int(last) + 1)


def _shard(given: str) -> tuple[int, int]:
    shard, _, shards = given.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{given!r} is no share such as 2/3")
    return int(shard), int(shards)


def _run(number: str, seed: int, grounds: Grounds, calm: CalmRun, short: bool) -> Result:
    """A farm that failed is not used again."""
    scenario = SCENARIOS[number]
    try:
        result = run(scenario, seed, grounds.of(scenario.shape), calm, short=short)
    except AssertionError as error:
        breach = f"the farm did not start: {error}"
        history = History(number, seed, short=short)
        result = Result(history=history, breaches=(breach,), figures={}, took_s=0.0)
    if result.breaches:
        grounds.close()
    return result


def _tell(result: Result, verbose: bool) -> None:
    verdict = "FAILED" if result.breaches else "kept"
    figures = ", ".join(f"{what} {s:.1f} s" for what, s in result.figures.items())
    print(f"scenario {result.history.scenario} seed {result.history.seed}: {verdict}, "
          f"{result.took_s:.1f} s{f' ({figures})' if figures else ''}", flush=True)  # fmt: skip
    if result.breaches:
        print(result.report(), flush=True)
    elif verbose:
        print(result.history, flush=True)


def _keep(folder: Path, failed: list[Result]) -> None:
    if failed:
        print(f"logs and histories of what failed are in {folder}")
    else:
        shutil.rmtree(folder)


def _table(results: list[Result]) -> Iterator[str]:
    """A row for each scenario, then what was measured: median and longest."""
    rows = [HEAD]
    figures: dict[str, list[float]] = {}
    for number, scenario in SCENARIOS.items():
        mine = [result for result in results if result.history.scenario == number]
        if mine:
            n_failed = sum(bool(result.breaches) for result in mine)
            took_s = sum(result.took_s for result in mine)
            rows.append(
                (f"{number} {scenario.title}", str(len(mine)), str(n_failed), f"{took_s:.0f}")
            )
        for result in mine:
            for what, seconds in result.figures.items():
                figures.setdefault(what, []).append(seconds)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for what, values in figures.items():
        middle = sorted(values)[len(values) // 2]
        yield f"{what}: {middle:.1f} s in the middle, {max(values):.1f} s at most"


if __name__ == "__main__":
    sys.exit(main())
