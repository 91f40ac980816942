"""A worker's own numbers, and the port they are served on."""

import socket

import pytest

from shared.errors import Unavailable
from worker.metrics import WorkerMetrics


def test_a_port_that_another_worker_has_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"TTSFARM_METRICS_PORT {port}.*a port of its own"):
            WorkerMetrics().serve(port)
