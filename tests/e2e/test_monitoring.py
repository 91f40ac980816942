"""What an operator sees: every query of the dashboard and every rule, on a real Prometheus that
scrapes a real farm."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.conftest import free_port, wait_until
from tests.e2e.conftest import Farm, farm_maker
from tests.e2e.receiver import Receiver

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))
RECORDS, ALERTS = (group["rules"] for group in RULES["groups"])
DASHBOARD = json.loads((DEPLOY / "grafana/ttsfarm.json").read_text("utf-8"))
QUERIES = [
    (panel["title"], target["expr"].replace("$voice", ".*"))
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"

pytestmark = [pytest.mark.e2e, pytest.mark.redis]


def tool(name: str) -> str:
    """The path of a program of Debian's package `prometheus`."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no {name} on this machine, and CI needs one")
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; raises when Prometheus refuses it."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}") as answer:
            return list(json.load(answer)["data"]["result"])

    def value(self, expression: str) -> float:
        found: list[dict[str, Any]] = []

        def one() -> bool:
            found[:] = self.query(expression)
            return len(found) == 1

        wait_until(one, 60)  # a scrape that comes late makes its series stale for a moment
        return float(found[0]["value"][1])


def settings_for(targets: dict[str, str], directory: Path) -> Path:
    """The shipped configuration, scraping `targets` every second instead of what DNS knows."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    shutil.copy(DEPLOY / "prometheus/rules.yml", directory)
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


@contextmanager
def prometheus(config: Path) -> Iterator[Prometheus]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (config.parent / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(f"http://{address}")

    def answers() -> bool:
        try:
            return bool(server.query("up"))
        except OSError:
            return False

    try:
        wait_until(answers, 60)
        yield server
    finally:
        process.kill()
        process.wait()


def work_of_every_kind(farm: Farm) -> None:
    """Jobs of both classes, one that fails, a webhook, and answers that are errors."""
    with closing(Receiver(refusals=0)) as receiver:
        farm.ended(farm.submit("你好，世界。", webhook_url=receiver.url, cache=False))
        farm.ended(farm.submit("今天天气很好。" * 20, priority="low", cache=False))
        farm.ended(farm.submit("[[silent]]好"))
        assert farm.call("GET", "/v1/jobs/none").status == 404
        wait_until(lambda: bool(receiver.received), 60)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Farm, Prometheus]]:
    """A farm that has worked, and a Prometheus that has seen it work."""
    metrics_port = free_port()
    directory = tmp_path_factory.mktemp("watched")
    with farm_maker(directory) as make:
        farm = make(TTSFARM_METRICS_PORT=str(metrics_port))
        farm.spawn("courier", "ttsfarm-worker", "run", "--courier")
        farm.start(workers=1)
        targets = {
            "ttsfarm-api": f"127.0.0.1:{farm.api_port}",
            "ttsfarm-worker": f"127.0.0.1:{metrics_port}",
        }
        work_of_every_kind(farm)  # so that every series exists, then moves
        with prometheus(settings_for(targets, directory)) as server:
            wait_until(lambda: len(server.query("up == 1")) == 2, 60)
            work_of_every_kind(farm)
            done = 'increase(ttsfarm_attempts_total{kind="assemble"}[5m]) > 1'
            wait_until(lambda: bool(server.query(done)), 60)
            wait_until(lambda: bool(server.query("ttsfarm:first_audio_seconds:p95_5m")), 60)
            yield farm, server


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_every_query_of_the_dashboard_has_data(
    watched: tuple[Farm, Prometheus], title: str, expression: str
) -> None:
    _, server = watched
    wait_until(lambda: bool(server.query(expression)), 30)
    assert all(sample["value"][1] not in ("+Inf", "-Inf") for sample in server.query(expression))


@pytest.mark.parametrize("rule", [*RECORDS, *ALERTS], ids=lambda r: r.get("record") or r["alert"])
def test_every_rule_reads_metrics_the_farm_has(
    watched: tuple[Farm, Prometheus], rule: dict[str, Any]
) -> None:
    _, server = watched
    server.query(rule["expr"])
    names = set(re.findall(r"\bttsfarm[a-z0-9_:]+", rule["expr"]))
    # Without one answer of 5xx there is no share of them to show.
    for name in names - {"ttsfarm:http_errors:ratio5m"}:
        wait_until(lambda name=name: bool(server.query(name)), 60)


def test_a_farm_that_works_sets_off_no_grave_alarm(watched: tuple[Farm, Prometheus]) -> None:
    _, server = watched
    assert server.query('ALERTS{severity="critical",alertstate="firing"}') == []


def test_what_prometheus_says_is_what_the_farm_did(watched: tuple[Farm, Prometheus]) -> None:
    _, server = watched
    assert server.value('sum(ttsfarm_jobs_submitted_total{outcome="created"})') == 6
    assert server.value('ttsfarm_failures_total{code="bad_audio"}') >= 2
    assert server.value('ttsfarm:deliveries{status="delivered"}') == 2
    assert server.value("ttsfarm:deliveries_waiting_seconds") == 0
    assert server.value('ttsfarm:workers{ready="true"}') == 1
    assert server.value("ttsfarm:lane_workers") == 1
    assert 0 < server.value("ttsfarm:state_store_memory:ratio") < 1


def test_every_alert_fires_when_it_should() -> None:
    command = [tool("promtool"), "test", "rules", str(DEPLOY / "prometheus/rules_test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"alertname: (\w+)", Path(command[-1]).read_text("utf-8")))
    assert tested == {rule["alert"] for rule in ALERTS}


def test_the_shipped_configuration_is_one_prometheus_takes() -> None:
    command = [tool("promtool"), "check", "config", str(DEPLOY / "prometheus/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_page_that_says_what_to_do() -> None:
    headings = {
        line.lstrip("# ").strip().lower()
        for line in OPERATIONS.read_text("utf-8").splitlines()
        if line.startswith("#")
    }
    for rule in ALERTS:
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in headings, rule["alert"]
