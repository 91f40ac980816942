"""Requests made from the farm's own OpenAPI document, by schemathesis, at a running farm.

Every answer must be one the document names, in the form it gives, and none a fault of ours.
"""

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Farm, MakeFarm

SETTINGS = {
    "TTSFARM_MAX_WAIT_S": "1",
    "TTSFARM_SYNTHESIZE_WAIT_S": "60",
    "TTSFARM_STREAM_IDLE_S": "30",
    "TTSFARM_MAX_TEXT_CHARS": "2000",  # whatever is made up is spoken within the time
    "TTSFARM_MAX_BATCH_INPUTS": "20",
}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
SHORT = (
    "--phases",
    "examples,fuzzing",
    "--max-examples",
    "8",
    "--generation-deterministic",
    "--seed",
    "1",
)


def start_farm(make_farm: MakeFarm) -> Farm:
    """A farm with a job and a batch under the names the document gives as examples."""
    farm = make_farm(**SETTINGS)
    farm.start(workers=1)
    farm.wait_for_voices("fake")
    answer = farm.call(
        "POST", "/v1/jobs", {"id": "spring", "text": "春眠不觉晓。"}, {"Prefer": "wait=30"}
    )
    assert answer.status in (200, 202), answer
    answer = farm.call("POST", "/v1/batches", {"id": "lesson", "inputs": [{"text": "一"}]})
    assert answer.status in (200, 202), answer
    return farm


def run_schemathesis(farm: Farm, *options: str) -> "subprocess.CompletedProcess[str]":
    """One run over every call of the document; exit status 0 when all answers conform."""
    command = [
        *(str(Path(sys.executable).parent / "st"), "run"),
        f"http://127.0.0.1:{farm.api_port}/openapi.json",
        *("--checks", CHECKS, "--request-timeout", "90", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--warnings", "off", *options),
    ]
    return subprocess.run(command, cwd=farm.directory, capture_output=True, text=True, check=False)
