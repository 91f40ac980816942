"""The files under deploy/ agree with one another and with what is said of them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
LOCKS = ("build", "api", "worker", "sambert", "torch-cpu", "torch-cuda")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?::-([^}]*))?\}")
PINNED = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]


def variables() -> dict[str, set[str]]:
    """Every variable of the compose file with the values it has when it is not set."""
    text = re.sub(r"(?<!\$)#.*", "", COMPOSE)
    text = text.replace("/models/${MODEL:-}", "")  # a default made of another variable
    found: dict[str, set[str]] = {"MODEL": {""}}
    for name, default in VARIABLE.findall(text):
        found.setdefault(name, set()).add(default)
    return found


def test_the_example_explains_every_variable_with_its_value() -> None:
    written = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    defaults = variables()
    assert written.keys() == defaults.keys()
    assert all(len(values) == 1 for values in defaults.values()), "one variable, two defaults"
    assert {name: {value} for name, value in written.items()} == defaults


def test_every_variable_of_the_example_has_a_word_before_it() -> None:
    before = ""
    for line in EXAMPLE.splitlines():
        if re.match(r"[A-Z0-9_]+=", line):
            assert before.strip("# -"), line
        before = line or ""


def test_what_takes_audio_and_bodies_lies_on_a_disk() -> None:
    assert SERVICES["api"]["environment"]["TMPDIR"] == "/scratch"
    for service in ("api", "worker", "worker-sambert", "worker-gpu"):
        assert "scratch:/scratch" in SERVICES[service]["volumes"], service
    for image in ("api", "worker"):
        text = (ROOT / f"deploy/{image}.Dockerfile").read_text("utf-8")
        assert re.search(r"install -d -o 10001 -g 10001 .*/scratch", text), image
    nginx = (ROOT / "deploy/nginx/farm.conf.template").read_text("utf-8")
    # By the server, so that it holds for every location: what nginx keeps is in memory.
    assert re.findall(r"^( *)proxy_request_buffering (.+);", nginx, re.MULTILINE) == [("  ", "off")]


def test_the_door_is_as_small_on_a_large_machine() -> None:
    nginx = (ROOT / "deploy/nginx/nginx.conf").read_text("utf-8")
    assert re.search(r"^worker_processes [12];", nginx, re.MULTILINE)


def test_prometheus_finds_every_kind_of_worker() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (names,) = (
        found["names"]
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
        if job["job_name"] == "ttsfarm-worker"
    )
    assert set(names) == {name for name in SERVICES if name.startswith("worker")}


def test_a_worker_that_is_given_a_gpu_computes_on_it() -> None:
    for name, service in SERVICES.items():
        devices = service.get("deploy", {}).get("resources", {}).get("reservations", {})
        device = service.get("environment", {}).get("TTSFARM_SAMBERT_DEVICE", "cpu")
        assert (device == "cuda") is ("devices" in devices), name
    assert SERVICES["worker-gpu"]["build"]["args"]["TORCH"] == "cuda"


def test_the_monitoring_is_for_this_machine_alone() -> None:
    watching = [one for one in SERVICES.values() if one.get("profiles") == ["monitoring"]]
    assert len(watching) == 2
    assert all(port.startswith("127.0.0.1:") for one in watching for port in one["ports"])


def test_the_secrets_for_a_cluster_are_made_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/kubernetes.md").read_text("utf-8")
    (folders,) = re.findall(r"mkdir -p (.+)", page)
    for folder in folders.split():
        (tmp_path / folder).mkdir(parents=True)
    command = ["sh", str(ROOT / "deploy/secrets.sh"), "secrets"]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    given = re.findall(r"create secret generic \S+ --from-file=(?:\w+=)?(\S+)", page)
    assert len(given) == 4
    assert all((tmp_path / one).exists() for one in given)


@pytest.mark.parametrize("page", ["deploy", "kubernetes"])
def test_the_secrets_of_a_page_are_closed_to_other_users(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text("utf-8")
    assert "chmod 700 secrets" in text.split("mkdir -p secrets/")[1]


def test_a_setting_that_farm_env_can_not_change_is_told() -> None:
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    for service in ("api", "worker"):
        assert SERVICES[service]["env_file"], "what stands in `environment` goes before it"
    assert SERVICES["api"]["environment"]["TTSFARM_AUTH"] == "${AUTH:-none}"
    assert "`TTSFARM_AUTH=keys` in `farm.env` leaves the farm\nopen" in page


def test_what_holds_secrets_is_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert {"/.env", "/farm.env", "/secrets/"} <= set(ignored)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_runs_as_nobody_special_and_says_what_it_is(file: Path) -> None:
    stages = re.split(r"^FROM ", file.read_text("utf-8"), flags=re.MULTILINE)
    last = stages[-1]
    inherited = "".join(one for one in stages if " AS base" in one.split("\n")[0])
    assert re.search(r"^USER \d+:\d+$", last + inherited, re.MULTILINE)
    assert "org.opencontainers.image.licenses" in last
    for line in re.findall(r"^(?:ENTRYPOINT|CMD) .*$", last + inherited, re.MULTILINE):
        assert line.split(" ", 1)[1].startswith("["), "the exec form: it must get SIGTERM"
    assert "amd64" not in re.sub(r"#.*", "", "".join(stages))


def test_an_image_installs_locked_wheels_alone() -> None:
    for file in DOCKERFILES:
        for install in re.findall(r"pip[^&|]*install[^&|]*", file.read_text("utf-8")):
            locked = "--require-hashes" in install and "--only-binary :all:" in install
            assert locked or "--no-index" in install, install


def test_the_images_locks_are_what_the_tests_run_on() -> None:
    tested = set(PINNED.findall((ROOT / "requirements" / "dev.txt").read_text("utf-8")))
    for name in ("build", "api", "worker", "sambert"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        assert text.count("--hash=") >= len(PINNED.findall(text))
        assert set(PINNED.findall(text)) <= tested, f"run make lock-images: {name}"


def test_the_context_of_the_images_holds_no_secret_and_no_history() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").split()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert not {".git", ".env", "farm.env", "tests", ".venv"} & kept
    copied = set(re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+)", _dockerfiles(), re.MULTILINE))
    assert {part.split("/")[0] for part in copied} <= {part.split("/")[0] for part in kept}


def _dockerfiles() -> str:
    ours = [file for file in DOCKERFILES if file.name != "minio.Dockerfile"]
    return "\n".join(file.read_text("utf-8") for file in ours)
