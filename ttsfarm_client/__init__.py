"""A ttsfarm from Python: text in, audio out, waiting or with asyncio; signed webhooks checked.

    >>> from ttsfarm_client import Client
    >>> Client("http://127.0.0.1:8080").speak("你好，世界。").audio  # doctest: +SKIP

It needs Python's standard library alone, and imports nothing of the farm. Every call is safe to
repeat, submissions carry an idempotency key, and so each is repeated when a connection breaks or
the farm says that it can not serve it now.
"""

from ttsfarm_client.aio import AsyncClient
from ttsfarm_client.faults import (
    FarmFault,
    FarmProblem,
    FarmUnreachable,
    InvalidSignature,
    JobFailed,
)
from ttsfarm_client.views import Audio, Batch, Job, Options, Speech, Voice
from ttsfarm_client.waiting import Client
from ttsfarm_client.webhooks import verify_webhook

__all__ = [
    "AsyncClient",
    "Audio",
    "Batch",
    "Client",
    "FarmFault",
    "FarmProblem",
    "FarmUnreachable",
    "InvalidSignature",
    "Job",
    "JobFailed",
    "Options",
    "Speech",
    "Voice",
    "verify_webhook",
]
