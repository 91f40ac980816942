"""The Kubernetes manifests: what kustomize makes of them is valid, hardened and fits the farm."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.server import GRACE_S
from shared.settings import Settings
from tests.conftest import part
from worker.hub import parse_ref

DEPLOY = Path(__file__).parents[1] / "deploy"
K8S = DEPLOY / "k8s"
PLACES = ("base", "overlays/small", "overlays/production")
# The oldest and the newest Kubernetes that get fixes.
VERSIONS = ("1.33", "1.37")
LANE_RECORDS = (
    "ttsfarm:lane_waiting_seconds",
    "ttsfarm:lane_depth",
    "ttsfarm:lane_claimed",
    "ttsfarm:lane_workers",
)
CHECK_SCALED_OBJECT = """
import { readFileSync } from "node:fs";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
new ScaledObject(JSON.parse(readFileSync(0, "utf8"))).validate();
"""

Manifest = dict[str, Any]


@cache
def build(place: str) -> list[Manifest]:
    command = [part("kubectl", shutil.which("kubectl")), "kustomize", str(K8S / place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(place: str, *kinds: str) -> list[Manifest]:
    return [one for one in build(place) if one["kind"] in kinds]


def pods(place: str) -> list[tuple[str, Manifest]]:
    """Every pod template, by the name of what makes it."""
    made = of_kind(place, "Deployment", "StatefulSet", "Job")
    return [(one["metadata"]["name"], one["spec"]["template"]) for one in made]


def farm_settings(place: str) -> dict[str, str]:
    (found,) = (one["data"] for one in of_kind(place, "ConfigMap") if "TTSFARM_AUTH" in one["data"])
    return dict(found)


def name_of(template: Manifest) -> str:
    return str(template["metadata"]["labels"]["app.kubernetes.io/name"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", PLACES)
def test_every_manifest_fits_the_official_schema(place: str, version: str) -> None:
    for manifest in build(place):
        if manifest["kind"] != "ScaledObject":  # KEDA's own, below
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    (service, *_) = of_kind("base", "Service")
    wrong = {**service, "spec": {**service["spec"], "selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_scaled_object_fits_kedas_schema() -> None:
    modules = part("npm package of KEDA's schema", os.environ.get("TTSFARM_TEST_KEDA"))
    script = Path(modules) / "check.mjs"
    script.write_text(CHECK_SCALED_OBJECT, "utf-8")
    (scaled,) = of_kind("overlays/production", "ScaledObject")
    broken = json.loads(json.dumps(scaled))
    broken["spec"]["triggers"][0]["metadata"]["threshold"] = 15  # must be text
    for given, fits in ((scaled, True), (broken, False)):
        command = [part("node", shutil.which("node")), str(script)]
        done = subprocess.run(
            command, input=json.dumps(given), capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is fits, done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_every_pod_is_hardened_and_bounded(place: str) -> None:
    for name, template in pods(place):
        spec = template["spec"]
        (container,) = spec["containers"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["limits"]["memory"], name
        assert ":" in container["image"], "an image without a tag is another one tomorrow"
        assert not container["image"].endswith(":latest"), name


@pytest.mark.parametrize("place", PLACES)
def test_what_takes_audio_and_bodies_lies_on_a_disk(place: str) -> None:
    made = dict(pods(place))
    for name, volume in (("api", "tmp"), ("worker", "scratch")):
        volumes = {one["name"]: one for one in made[name]["spec"]["volumes"]}
        assert volumes[volume]["emptyDir"] == {"sizeLimit": "8Gi"}


@pytest.mark.parametrize("place", PLACES)
def test_what_runs_for_long_is_probed_and_survives_a_drain(place: str) -> None:
    budgets = {
        one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for one in of_kind(place, "PodDisruptionBudget")
    }
    for name, template in pods(place):
        if name in (
            "prepare-store",
            "fetch-model",
            "prometheus",
            "grafana",
        ):  # ends by itself, or is no loss
            continue
        assert "readinessProbe" in template["spec"]["containers"][0], name
        assert name_of(template) in budgets, name
    one_at_a_time = {
        one["metadata"]["name"]
        for one in of_kind(place, "PodDisruptionBudget")
        if one["spec"].get("maxUnavailable") == 1
    }
    assert one_at_a_time == {"api", "worker", "courier"}


@pytest.mark.parametrize("place", PLACES)
def test_services_and_policies_point_at_pods_and_ports_that_exist(place: str) -> None:
    ports = {
        name_of(template): {p["name"] for p in template["spec"]["containers"][0].get("ports", ())}
        for _, template in pods(place)
    }
    for service in of_kind(place, "Service"):
        if "selector" not in service["spec"]:
            assert service["metadata"]["name"] == "nobody"
            continue
        names = ports[service["spec"]["selector"]["app.kubernetes.io/name"]]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    for policy in of_kind(place, "NetworkPolicy"):
        chosen = policy["spec"]["podSelector"].get("matchLabels", {})
        assert set(chosen.values()) <= set(ports), policy["metadata"]["name"]


@pytest.mark.parametrize("place", PLACES)
def test_every_setting_given_is_one_the_farm_has(place: str) -> None:
    known = {f"TTSFARM_{name.upper()}" for name in Settings.model_fields}
    given = {
        name
        for config in of_kind(place, "ConfigMap")
        for name in config["data"]
        if name.startswith("TTSFARM")
    }
    for _, template in pods(place):
        env = template["spec"]["containers"][0].get("env", ())
        given |= {one["name"] for one in env if one["name"].startswith("TTSFARM")}
    assert given
    assert given <= known


def test_workers_scale_by_rules_that_prometheus_has() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))
    records = {rule.get("record") for group in rules["groups"] for rule in group["rules"]}
    (scaled,) = of_kind("overlays/production", "ScaledObject")
    queries = " ".join(trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"])
    used = {word for word in queries.replace("(", " ").replace(")", " ").split() if ":" in word}
    assert used == set(LANE_RECORDS)
    assert used <= records
    (worker,) = (
        one
        for one in of_kind("overlays/production", "Deployment")
        if one["metadata"]["name"] == "worker"
    )
    assert "replicas" not in worker["spec"]


def test_workers_scale_by_lanes_that_workers_serve_and_only_by_figures(tmp_path: Path) -> None:
    (scaled,) = of_kind("overlays/production", "ScaledObject")
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {trigger["ignoreNullValues"] for trigger in triggers} == {"false"}  # KEDA's fallback
    lanes = {"served": (30, 5, 1, 2), "retired": (900, 80, 0, 0)}
    series = [
        {"series": f'{name}{{voice="{lane}"}}', "values": str(value)}
        for lane, values in lanes.items()
        for name, value in zip(LANE_RECORDS, values, strict=True)
    ]
    checks = [
        {"expr": trigger["query"], "exp_samples": [{"labels": "{}", "value": value}]}
        for trigger, value in zip(triggers, (30, 6), strict=True)
    ]
    nothing = [{"expr": trigger["query"]} for trigger in triggers]
    tests = [
        {"input_series": series, "promql_expr_test": checks},
        {"input_series": [], "promql_expr_test": nothing},
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"tests": tests}), "utf-8")
    command = [part("promtool", shutil.which("promtool")), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_the_api_has_time_to_end_and_knows_its_proxy(place: str) -> None:
    spec = dict(pods(place))["api"]["spec"]
    (before,) = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert spec["terminationGracePeriodSeconds"] > int(before) + GRACE_S
    assert farm_settings(place)["TTSFARM_TRUSTED_PROXIES"] == "1"


@pytest.mark.parametrize("place", PLACES)
def test_redis_is_set_as_in_compose(place: str) -> None:
    args = dict(pods(place))["redis"]["spec"]["containers"][0]["args"]
    given = dict(zip(args[2::2], args[3::2], strict=True))
    for line in (DEPLOY / "redis.conf").read_text("utf-8").splitlines():
        name, _, value = line.partition(" ")
        if name not in ("#", "include"):
            assert given[f"--{name}"] == value.strip('"'), name


def test_the_policy_for_an_issuer_is_one() -> None:
    text = (K8S / "base/network.yaml").read_text("utf-8")
    block = text.split("reads the issuer's keys.\n")[1].split("---")[0]
    policy = yaml.safe_load(re.sub("^# ", "", block, flags=re.MULTILINE))
    kubernetes_validate.validate(policy, VERSIONS[0], strict=True)
    assert policy["spec"]["egress"] == [{"ports": [{"port": 443}]}]


def led_to(path: str, rule: Manifest) -> str:
    """The service that an ingress's rule sends a path to."""
    paths = rule["http"]["paths"]
    exact = [one for one in paths if one["pathType"] == "Exact" and one["path"] == path]
    prefixes = [
        one for one in paths if one["pathType"] == "Prefix" and path.startswith(one["path"])
    ]
    chosen = exact[0] if exact else max(prefixes, key=lambda one: len(one["path"]))
    return str(chosen["backend"]["service"]["name"])


@pytest.mark.parametrize("place", PLACES)
def test_prometheus_alone_reads_the_metrics(place: str) -> None:
    settings = farm_settings(place)
    watched = "prometheus" in dict(pods(place))
    assert (settings.get("TTSFARM_METRICS_OPEN") == "true") is watched
    (ingress,) = of_kind(place, "Ingress")
    rules = ingress["spec"]["rules"]
    assert led_to("/v1/jobs", rules[0]) == "api"
    largest = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(largest.removesuffix("m")) * 2**20 > Settings.model_fields["max_batch_bytes"].default
    assert {led_to("/metrics", rule) for rule in rules} <= {"nobody", "minio"}


@pytest.mark.parametrize("place", PLACES)
def test_a_job_goes_so_that_a_later_apply_may_make_it_anew(place: str) -> None:
    assert all(one["spec"]["ttlSecondsAfterFinished"] == 600 for one in of_kind(place, "Job"))


def test_workers_alone_load_the_model_that_is_fetched() -> None:
    made = dict(pods("overlays/production"))
    worker, fetch = (made[name]["spec"]["containers"][0] for name in ("worker", "fetch-model"))
    env = {one["name"]: one["value"] for one in worker["env"]}
    folder = parse_ref(fetch["args"][1]).folder(Path(fetch["args"][3]))
    assert env["TTSFARM_MODELS"] == str(folder)
    assert worker["image"] == fetch["image"] == "ttsfarm-worker-sambert:0.1.0"
    assert made["courier"]["spec"]["containers"][0]["image"] == "ttsfarm-worker:0.1.0"
    (models,) = of_kind("overlays/production", "PersistentVolumeClaim")
    assert models["spec"]["accessModes"] == ["ReadWriteMany"]
    (policy,) = (
        one
        for one in of_kind("overlays/production", "NetworkPolicy")
        if one["metadata"]["name"] == "fetch-model"
    )
    assert policy["spec"]["egress"] == [{"ports": [{"port": 443}]}]


@pytest.mark.parametrize("place", ["base", "overlays/small"])
def test_the_cache_leaves_room_in_the_store(place: str) -> None:
    settings = farm_settings(place)
    limit = Settings.model_fields["cache_limit_bytes"].default
    limit = int(settings.get("TTSFARM_CACHE_LIMIT_BYTES", limit))
    (minio,) = (one for one in of_kind(place, "StatefulSet") if one["metadata"]["name"] == "minio")
    claim = minio["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    assert limit * 2 < int(claim.removesuffix("Gi")) * 2**30


def test_production_has_no_store_of_its_own_and_a_model() -> None:
    made = {one["metadata"]["name"] for one in build("overlays/production")}
    assert "minio" not in made
    assert "prepare-store" not in made
    assert {"prometheus", "grafana", "models"} <= made
    assert {"minio", "prepare-store"} <= {one["metadata"]["name"] for one in build("base")}
