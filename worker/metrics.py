"""What a worker measures, in Prometheus's terms; served by the process that renders."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from shared.errors import Unavailable
from shared.schemas import Claim

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
RATIOS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2, 5)


def resident_bytes() -> int:
    """Memory this process holds now, from /proc where there is one, else its peak."""
    try:
        statm = Path("/proc/self/statm").read_text("ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass
class Spoken:
    """What the engine of this process has made since it started, and in what time."""

    audio_s: float = 0.0
    synthesis_s: float = 0.0


class WorkerMetrics:
    """One worker process's counters; a restarted process starts from nought."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.spoken = Spoken()
        self.attempts = Counter(
            "ttsfarm_attempts",
            "Attempts at units by kind and outcome",
            ["voice", "kind", "outcome"],
            registry=self.registry,
        )
        self.failures = Counter(
            "ttsfarm_failures",
            "Attempts at units that failed, by kind and the error's code",
            ["voice", "kind", "code"],
            registry=self.registry,
        )
        self.unit_seconds = Histogram(
            "ttsfarm_unit_seconds",
            "Time from claim to report of a unit",
            ["voice", "kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.synthesis_seconds = Counter(
            "ttsfarm_synthesis_seconds",
            "Time the engine has spent speaking",
            ["voice"],
            registry=self.registry,
        )
        self.audio_seconds = Counter(
            "ttsfarm_audio_seconds",
            "Audio the engine has made",
            ["voice"],
            registry=self.registry,
        )
        self.real_time_factor = Histogram(
            "ttsfarm_real_time_factor",
            "Synthesis time over audio time of each batch",
            ["voice"],
            buckets=RATIOS,
            registry=self.registry,
        )
        self.first_audio_seconds = Histogram(
            "ttsfarm_first_audio_seconds",
            "Time from submit to a job's first finished segment",
            ["voice"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.ready_voices = Gauge(
            "ttsfarm_ready_voices", "Voices this process has warm", registry=self.registry
        )
        self.memory_bytes = Gauge(
            "ttsfarm_worker_memory_bytes", "Memory this process holds", registry=self.registry
        )
        self.memory_bytes.set_function(resident_bytes)

    def rendered(self, voice: str, synthesis_s: float, audio_s: float) -> None:
        """An engine spoke `audio_s` of audio in `synthesis_s`."""
        self.spoken.audio_s += audio_s
        self.spoken.synthesis_s += synthesis_s
        self.synthesis_seconds.labels(voice).inc(synthesis_s)
        self.audio_seconds.labels(voice).inc(audio_s)
        if audio_s > 0:
            self.real_time_factor.labels(voice).observe(synthesis_s / audio_s)

    def failed(self, claim: Claim, code: str) -> None:
        """An attempt at a unit failed."""
        self.failures.labels(claim.request.voice, claim.kind, code).inc()

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Answer scrapes on `port` from a thread; raises `Unavailable` where it can not be had."""
        try:
            start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise Unavailable(
                f"TTSFARM_METRICS_PORT {port} on {host} can not be used ({error.strerror}): give "
                "each worker of a machine a port of its own"
            ) from error
