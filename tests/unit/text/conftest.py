from collections.abc import Callable

import pytest

from worker.text.frontend import Frontend
from worker.text.parts import Part


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
