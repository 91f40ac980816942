import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from worker.text.frontend import Frontend
from worker.text.parts import Part

settings.register_profile(
    "short", max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# For a long run: `TTSFARM_FUZZ=long pytest tests/unit/text -k any_text --timeout=0`.
settings.register_profile(
    "long", max_examples=200_000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("TTSFARM_FUZZ", "short"))


@pytest.fixture(scope="session")
def frontend() -> Frontend:
    return Frontend()


@pytest.fixture(scope="session")
def read(frontend: Frontend) -> Callable[[str], list[str | None]]:
    """The reading of each character of a text."""

    def readings(text: str) -> list[str | None]:
        parts: list[Part] = list(frontend.parts(text))
        return [reading for part in parts for reading in part.pinyin]

    return readings
