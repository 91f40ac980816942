"""Does the farm grow with what it has done? `make soak MINUTES=30`.

A farm of real processes (Redis with its file, API, two workers, courier, a receiver of webhooks)
whose jobs are kept for a minute. How many calls a second it can take is measured first; then it
gets a share of that, everything mixed, while memory, files, connections, keys and objects are
sampled. After a warm-up each gets a line with its slope; one that grows over its bound ends the run
with status 1, and so does a wrong answer.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path

from benchmarks.soak_load import MIX, Client, PutOff, Unexpected
from benchmarks.soak_report import Findings, judge, write_report
from benchmarks.soak_watch import Watch, kinds_of_keys
from shared.connection import PREFIX, Scripts, connect
from shared.tenants import KeyStore, NewKey, Scope
from tests.e2e.conftest import Farm, farm_maker
from tests.e2e.receiver import Receiver

WORKERS = 2
# So many calls are under way at most: where the machine slows down, so does the load.
CLIENTS = 10
TENANTS = ("one", "two")
REFUSED_HOOKS = 7  # one message in so many is refused at its first try
# Objects of a removed job are deleted once more so much later: until then more waits every minute.
SECOND_PASS_MINUTES = 15
ENV = {
    "TTSFARM_VOICES": "espeak,fake",
    "TTSFARM_DEFAULT_VOICE": "espeak-zh",
    "TTSFARM_RETENTION_S": "60",
    "TTSFARM_WEBHOOK_RETENTION_S": "60",
    "TTSFARM_WEBHOOK_DELAYS_S": "0,1,2",
    "TTSFARM_CACHE_LIMIT_BYTES": "20000000",
    "TTSFARM_AUTH": "keys",
    "TTSFARM_LIMIT_REQUESTS_PER_MINUTE": "1000000",
    "TTSFARM_LIMIT_JOBS": "10000",
    "TTSFARM_LIMIT_TENANT_DAILY_CHARS": "1000000000",
    "TTSFARM_LOG_LEVEL": "WARNING",
    "TTSFARM_LEASE_S": "10",
}


class ForgetfulReceiver(Receiver):
    """Takes messages, refuses some at first, keeps none: it must not grow either."""

    def __init__(self) -> None:
        super().__init__(refusals=0)
        self.received = _Counting()  # type: ignore[assignment]

    @property
    def n_received(self) -> int:
        return len(self.received)


class _Counting(list[tuple[dict[str, str], bytes]]):
    """A list that only knows how long it would be; every seventh message is one too early."""

    def __init__(self) -> None:
        super().__init__()
        self._n = 0

    def append(self, _item: tuple[dict[str, str], bytes]) -> None:
        self._n += 1

    def __len__(self) -> int:
        return 0 if self._n % REFUSED_HOOKS == 0 else self._n


@dataclass
class Load:
    """Clients that make the calls of the mix at a rate, each to its end before its next."""

    make_client: Callable[[int], Client]
    done: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_s: float = 0.0
    n_in_time: int = 0

    def run(self, duration_s: float, rate: float | None) -> float:
        """Load for so long, `rate` calls a second or as many as go. Answers how many ended."""
        until_s = time.monotonic() + duration_s
        self.n_in_time, self.next_s = 0, time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(self._client, i, until_s, rate) for i in range(CLIENTS)]
            for one in running:
                one.result()
        return self.n_in_time / duration_s

    def _client(self, number: int, until_s: float, rate: float | None) -> None:
        client = self.make_client(number)
        while self._turn(until_s, rate):
            (operation,) = client.random.choices(tuple(MIX), weights=tuple(MIX.values()))
            try:
                operation(client)
            except PutOff:
                self._count(self.put_off, operation.__name__)
            except (Unexpected, OSError, HTTPException, ValueError, KeyError) as error:
                with self.lock:
                    self.wrong.append(f"{operation.__name__}: {type(error).__name__} {error}")
            else:
                self._count(self.done, operation.__name__)
                self.n_in_time += time.monotonic() < until_s

    def _turn(self, until_s: float, rate: float | None) -> bool:
        """Wait for this client's next turn; False when there is none before the end."""
        with self.lock:
            at_s = max(self.next_s, time.monotonic()) if rate else time.monotonic()
            self.next_s = at_s + (1 / rate if rate else 0)
        if at_s >= until_s:
            return False
        time.sleep(max(0.0, at_s - time.monotonic()))
        return True

    def _count(self, counter: Counter[str], name: str) -> None:
        with self.lock:
            counter[name] += 1


def make_keys(farm: Farm) -> list[str]:
    """A key of every scope for each of the tenants."""
    client = connect(farm.redis.url)
    try:
        store = KeyStore(Scripts(client))
        return [store.create(NewKey(tenant=name, scopes=frozenset(Scope)))[1] for name in TENANTS]
    finally:
        client.close()


def wait_for_voices(farm: Farm, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    until_s = time.monotonic() + 180
    while time.monotonic() < until_s:
        try:
            voices = farm.call("GET", "/v1/voices", headers=headers).json["voices"]
            if sum(one["ready_workers"] for one in voices if one["name"] == "fake") >= WORKERS:
                return
        except (OSError, KeyError):
            pass
        time.sleep(0.5)
    raise SystemExit(f"no voice was ready within 180 s; the logs lie in {farm.directory}")


def start(farm: Farm) -> list[str]:
    """Everything runs, and every voice is ready; the keys of the tenants."""
    farm.spawn("api", "ttsfarm", "serve")
    for i in range(WORKERS):
        farm.add_worker(f"worker{i}")
    farm.spawn("courier", "ttsfarm-worker", "run", "--courier")
    keys = make_keys(farm)
    wait_for_voices(farm, keys[0])
    return keys


def sample(watch: Watch, every_s: float, stop: threading.Event, path: Path) -> None:
    """Write a line of figures every so often until told to stop."""
    started_s = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        while not stop.wait(every_s):
            figures = {"s": round(time.monotonic() - started_s, 1), **watch.sample()}
            lines.write(json.dumps(figures) + "\n")
            lines.flush()


def read_samples(path: Path, from_s: float) -> list[dict[str, float]]:
    samples = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [one for one in samples if one["s"] >= from_s]


def soak(farm: Farm, receiver: ForgetfulReceiver, options: argparse.Namespace) -> Findings:
    keys = start(farm)

    turn = count()  # no two clients of a run say the same

    def make_client(number: int) -> Client:
        return Client(port=farm.api_port, key=keys[number % len(keys)], hook=receiver.url,
                      random=random.Random(f"{options.seed} {next(turn)}"))  # fmt: skip

    load = Load(make_client)
    load.run(options.capacity_s / 4, None)  # what is loaded at its first use is loaded
    capacity = load.run(options.capacity_s, None)
    sys.stdout.write(f"{capacity:.2f} calls a second; the load is {options.share:.0%} of that\n")
    sys.stdout.flush()
    redis = connect(farm.redis.url)
    pids = {name: child.pid for name, child in farm.children.items()}
    pids["redis"] = farm.redis.process.pid  # type: ignore[union-attr]
    watch = Watch(pids, redis, farm.directory / "objects", PREFIX)
    stop = threading.Event()
    minutes = options.warm_up + options.minutes
    thread = threading.Thread(target=sample, args=(watch, options.every_s, stop, options.samples))
    thread.start()
    try:
        rate = load.run(minutes * 60, capacity * options.share)
    finally:
        stop.set()
        thread.join()
    return Findings(
        minutes=options.minutes, warm_up=options.warm_up, capacity=capacity, rate=rate,
        done=dict(load.done), put_off=dict(load.put_off), wrong=load.wrong,
        restarts=watch.restarts, keys=kinds_of_keys(redis, PREFIX),
        figures=judge(read_samples(options.samples, options.warm_up * 60)), note=options.note,
    )  # fmt: skip


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=SECOND_PASS_MINUTES + 3, help="minutes")
    parser.add_argument("--capacity-s", type=float, default=60, help="measure capacity so long")
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity")
    parser.add_argument("--every-s", type=float, default=10, help="between samples")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--note", default="", help="what a reader of the results should know")
    parser.add_argument("--samples", type=Path, default=Path("var/soak.jsonl"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no farm is left running
    with tempfile.TemporaryDirectory(prefix="ttsfarm-soak-") as directory:
        receiver = ForgetfulReceiver()
        try:
            with farm_maker(Path(directory)) as make:
                farm = make(**ENV)
                findings = soak(farm, receiver, options)
        finally:
            receiver.close()
    write_report(findings, options.results)
    sys.exit(0 if findings.sound else 1)


if __name__ == "__main__":
    main()
