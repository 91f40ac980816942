"""A farm of containers as `docker compose` starts it: it speaks, it grows, and it loses nothing."""

import io
import time
import wave
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error
from minio.lifecycleconfig import LifecycleConfig
from standardwebhooks import Webhook

from shared.storage_access import policy
from tests.conftest import wait_until
from tests.containers.stack import HOOK, PATIENCE_S, Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

OURS = ("api", "worker", "courier", "nginx", "redis")


def test_a_job_comes_in_through_nginx_and_its_audio_out_of_the_store(stack: Stack) -> None:
    body = {"text": "春眠不觉晓，处处闻啼鸟。", "voice": "espeak-zh", "webhook_url": HOOK}
    job = stack.ended(stack.try_call("/v1/jobs", body).json["id"])
    assert job["status"] == "succeeded", job
    link = job["audio"]["url"]
    assert link.startswith(f"http://{stack.env['S3_PUBLIC_ENDPOINT']}/ttsfarm/jobs/")
    audio = stack.call("GET", link).body
    with wave.open(io.BytesIO(audio)) as played:
        assert played.getnframes() / played.getframerate() == pytest.approx(
            job["audio"]["duration_s"], abs=0.01
        )
    # The same bytes through nginx, and a range of them.
    whole = stack.call("GET", f"/v1/jobs/{job['id']}/audio")
    part = stack.call("GET", f"/v1/jobs/{job['id']}/audio", headers={"Range": "bytes=10-19"})
    assert (whole.body, part.status, part.body) == (audio, 206, audio[10:20])
    wait_until(lambda: _told(stack, job["id"]) != [], PATIENCE_S, every_s=0.5)
    secret = stack.try_call("/v1/webhooks/secret").json["secret"]
    for message in _told(stack, job["id"]):
        event = Webhook(secret).verify(message["body"], message["headers"])
        assert event["data"]["status"] == "succeeded"


def _told(stack: Stack, job_id: str) -> list[dict[str, dict[str, str]]]:
    return [one for one in stack.deliveries() if job_id in one["headers"]["webhook-id"]]


def test_events_pass_nginx_while_the_job_runs(stack: Stack) -> None:
    job_id = stack.try_call(
        "/v1/jobs", {"text": "第一句。[[sleep 10]]第二句。", "voice": "fake"}
    ).json["id"]
    events = stack.call("GET", f"/v1/jobs/{job_id}/events")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    states = [line for line in events.body.decode().splitlines() if line.startswith("event: ")]
    assert len(states) >= 2


def test_what_is_too_large_is_refused_in_the_farms_own_form(stack: Stack) -> None:
    answer = stack.call("POST", "/v1/jobs", b"[" + b" " * 6_000_000 + b"]")
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")


def test_nginx_answers_under_its_names_and_keeps_metrics_inside(stack: Stack) -> None:
    assert stack.call("GET", "/livez", headers={"Host": "rebound.example"}).status == 421
    assert stack.call("GET", "/livez", headers={"Host": "localhost"}).status == 200
    assert stack.call("GET", "/metrics").status == 404
    ask = "import urllib.request as u; print(u.urlopen('http://api:8080/metrics').status)"
    assert stack.compose("exec", "-T", "courier", "python3", "-c", ask) == "200"


def test_every_part_runs_without_rights_on_a_file_system_it_can_not_change(stack: Stack) -> None:
    for service in OURS:
        for container in stack.containers(service):
            seen = stack.inspect(container)
            host = seen["HostConfig"]
            assert seen["Config"]["User"] not in ("", "0", "root"), service
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert host["Memory"] > 0, service
            assert host["NanoCpus"] > 0, service
            environment = " ".join(seen["Config"]["Env"])
            assert "PASSWORD=" not in environment, service
            assert "redis://" not in environment, service
    for service in ("api", "worker"):
        tools = "command -v gcc cc g++ make || touch /opt/ttsfarm/x 2>/dev/null && echo changed"
        found = stack.compose("exec", "-T", service, "sh", "-c", f"{tools}; exit 0")
        assert found == "", service


def test_sigterm_to_the_first_process_ends_it_in_order(stack: Stack) -> None:
    for service in ("api", "worker", "courier"):
        container = stack.containers(service)[-1]
        stack.docker("stop", container)
        assert stack.inspect(container)["State"]["ExitCode"] == 0, service
        stack.docker("start", container)


def test_the_farms_user_can_use_its_bucket_and_nothing_else(stack: Stack) -> None:
    def keys(folder: str, service: str) -> Minio:
        read = ["exec", "-T", service, "cat"]
        access, secret = (
            stack.compose(*read, f"{folder}/ttsfarm_s3_{name}_key") for name in ("access", "secret")
        )
        return Minio(
            stack.env["S3_PUBLIC_ENDPOINT"], access_key=access, secret_key=secret, secure=False
        )

    owner, farm = keys("/run/secrets", "minio"), keys("/run/secrets", "api")
    job = stack.ended(
        stack.try_call("/v1/jobs", {"text": "会删除的。", "voice": "fake"}).json["id"]
    )
    prefix = f"jobs/{job['id']}/"
    assert list(farm.list_objects("ttsfarm", prefix, recursive=True)) != []
    assert stack.call("DELETE", f"/v1/jobs/{job['id']}").status == 204
    wait_until(lambda: not list(farm.list_objects("ttsfarm", prefix, recursive=True)), PATIENCE_S)
    (rule,) = farm.get_bucket_lifecycle("ttsfarm").rules
    assert rule.expiration.days == 30
    owner.make_bucket("others")
    owner.put_object("others", "a", io.BytesIO(b"x"), 1)
    for refused in (
        lambda: farm.get_object("others", "a"),
        lambda: farm.set_bucket_lifecycle("ttsfarm", LifecycleConfig([rule])),
        lambda: farm.set_bucket_policy("ttsfarm", "{}"),
        lambda: farm.remove_bucket("ttsfarm"),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            refused()
    statements = policy("ttsfarm")["Statement"]
    assert all("*" not in action for one in statements for action in one["Action"])
    assert farm.presigned_get_object("ttsfarm", "a", expires=timedelta(minutes=1))


def test_growing_to_five_and_shrinking_to_one_under_load_fails_no_job(stack: Stack) -> None:
    with stack.under_load("scale") as load:
        stack.scale(workers=5)
        load.goes_on()
        stack.scale(workers=1)
        load.goes_on()
    stack.scale(workers=3)


def test_every_kind_of_container_killed_under_load_loses_no_job(stack: Stack) -> None:
    with stack.under_load("kill") as load:
        stack.kill_9("worker", "api", "courier", "nginx")
        load.goes_on()
        stack.kill_9("redis")
        stack.kill_9("minio")
        load.goes_on()
    wait_until(lambda: _all_told(stack, load.accepted), PATIENCE_S, every_s=1)


def _all_told(stack: Stack, jobs: list[str]) -> bool:
    told = {one["headers"]["webhook-id"] for one in stack.deliveries()}
    return all(any(job in name for name in told) for job in jobs)


HOARD = "held = []\nwhile True: held.append(bytearray(16 << 20))"


def test_a_worker_that_runs_out_of_memory_is_started_again_and_loses_no_job(stack: Stack) -> None:
    worker = stack.containers("worker")[0]
    before = stack.inspect(worker)
    with stack.under_load("oom"):
        # The kernel shall choose the worker, not the hoarder that takes its memory.
        for pid in stack.docker("top", worker, "-o", "pid").split()[1:]:
            with suppress(FileNotFoundError, ProcessLookupError):  # a look at its health has ended
                Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        stack.docker("exec", "--detach", worker, "python3", "-c", HOARD)
        stack.comes_back(worker, before["RestartCount"])
    since = ["--since", before["State"]["StartedAt"], "--until", str(int(time.time()) + 1)]
    filters = ["--filter", f"container={worker}", "--filter", "event=die"]
    # The engine may miss the kernel's word of it; nobody else ends a process of the worker so.
    assert "exitCode=137" in stack.docker("events", *since, *filters)


def test_a_worker_cut_off_the_network_comes_back_and_loses_no_job(stack: Stack) -> None:
    worker = stack.containers("worker")[0]
    networks = list(stack.inspect(worker)["NetworkSettings"]["Networks"])
    assert len(networks) == 2
    name = stack.inspect(worker)["Config"]["Hostname"]

    def here() -> bool:
        workers = stack.try_call("/v1/workers").json["workers"]
        return name in {one["host"] for one in workers}

    wait_until(here, PATIENCE_S)
    with stack.under_load("cut"):
        for network in networks:
            stack.docker("network", "disconnect", network, worker)
        wait_until(lambda: not here(), PATIENCE_S, every_s=0.5)
        for network in networks:
            stack.docker("network", "connect", network, worker)
        wait_until(here, PATIENCE_S, every_s=0.5)


def test_restarting_redis_and_the_store_under_load_loses_no_job(stack: Stack) -> None:
    with stack.under_load("restart") as load:
        stack.compose("restart", "redis", "minio")
        load.goes_on()
