"""API and workers on hosts of their own, and a network that swallows packets without a word.

No reset, no refusal: each side must find out by its own timeouts.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import RedisServer, wait_until
from tests.e2e.conftest import Farm

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

HOSTS = ("redis", "api", "w0", "w1")
PATIENCE_S = 180.0
BOOK = "".join(f"这是第{i:02d}段，它有自己的内容，不和别的段落相同。" for i in range(40))


@dataclass
class Lab:
    """Network namespaces with a bridge between them, by the tool `TTSFARM_NET_LAB` names."""

    tool: str
    name: str
    addresses: dict[str, str] = field(default_factory=dict)

    def __call__(self, verb: str, *args: str) -> str:
        done = subprocess.run(
            [self.tool, verb, self.name, *args], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"net-lab {verb} {args}: {done.stderr}"
        return done.stdout

    def up(self) -> None:
        self.addresses = dict(line.split() for line in self("up", *HOSTS).splitlines())


class LabRedis(RedisServer):
    """A Redis that other hosts reach."""

    def __init__(self, directory: Path, lab: Lab) -> None:
        super().__init__(directory, append_only=True)
        self.lab = lab
        self.host = lab.addresses["redis"]
        self.before = (lab.tool, "exec", lab.name, "redis", "--")


class LabFarm(Farm):
    """A farm whose every process lives on the host named before its colon."""

    def spawn(self, name: str, *command: str) -> None:
        assert isinstance(self.redis, LabRedis)
        lab = self.redis.lab
        self.before = (lab.tool, "exec", lab.name, name, "--")
        super().spawn(name, *command)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    tool = os.environ.get("TTSFARM_NET_LAB")
    if not tool or os.geteuid() != 0:
        assert not os.environ.get("CI"), "CI must name a network lab, and be root"
        pytest.skip('no network lab; eval "$(.ci/containers start)" names one')
    lab = Lab(tool, f"t{os.getpid() % 1_000_000}")
    lab.up()
    yield lab
    lab("down")


@pytest.fixture(scope="module")
def farm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabFarm]:
    tmp_path = tmp_path_factory.mktemp("lab")
    redis = LabRedis(tmp_path / "redis", lab)
    redis.start()
    settings = {
        "TTSFARM_API_HOST": lab.addresses["api"],
        "TTSFARM_OPEN_TO_NETWORK": "true",
        "TTSFARM_FAKE_COST_S_PER_CHAR": "0.02",
    }
    farm = LabFarm(tmp_path, redis, env=settings)
    farm.api_host = lab.addresses["api"]
    farm.spawn("api", "ttsfarm", "serve")
    for worker in ("w0", "w1"):
        farm.add_worker(worker)
    try:
        wait_until(farm.ready(2), PATIENCE_S)
        yield farm
    finally:
        farm.stop()
        redis.kill()


def test_a_half_open_cut_of_the_api_is_a_503_and_ends_with_the_cut(farm: LabFarm, lab: Lab) -> None:
    lab("cut", "api", "redis")
    refused = farm.call("POST", "/v1/jobs", {"text": "断网。"})
    assert (refused.status, refused.json["code"]) == (503, "state_store_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert farm.call("GET", "/livez").status == 200
    lab("heal")
    wait_until(
        lambda: (
            farm.call("POST", "/v1/jobs", {"id": "healed", "text": "通了。"}).status in (200, 202)
        ),
        PATIENCE_S,
    )
    assert farm.ended("healed", PATIENCE_S)["status"] == "succeeded"


def here(farm: Farm) -> int:
    return len(farm.call("GET", "/v1/workers").json["workers"])


def test_a_half_open_cut_of_a_worker_delays_and_loses_nothing(farm: LabFarm, lab: Lab) -> None:
    job_id = farm.submit(BOOK)
    wait_until(lambda: farm.job(job_id)["progress"]["segments_done"] >= 4, PATIENCE_S)
    lab("cut", "w0", "redis")
    wait_until(lambda: here(farm) == 1, PATIENCE_S)
    job = farm.ended(job_id, PATIENCE_S)
    assert (job["status"], job["error"]) == ("succeeded", None)
    lab("heal")
    wait_until(lambda: here(farm) == 2, PATIENCE_S)
    # The one that was cut off works again: it is now the only one.
    farm.kill("w1")
    assert farm.ended(farm.submit("网络恢复以后。"), PATIENCE_S)["status"] == "succeeded"
