"""Numbers as strangers write them, and that nothing at the farm's edge reads others."""

import importlib
import math
import pkgutil
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import api
import shared
from shared.numbers import LARGEST, read_count, read_decimal

HUGE = "9" * 10_000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("0" * 9000 + "7", 7),
        (str(LARGEST), LARGEST),
        (str(LARGEST + 1), LARGEST),
        (HUGE, LARGEST),
        *((text, None) for text in (None, "", " 1", "1\n", "-1", "+1", "1.0", "1_0", "0x1")),
        *((text, None) for text in ("٣", "３", "²", "①", "一", "1٣")),
    ],
)
def test_a_count_is_ascii_digits_of_any_length(text: str | None, number: int | None) -> None:
    assert read_count(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("2", 2.0), ("-2.5", -2.5), ("2.", 2.0), (".5", 0.5), ("1e1", 10.0), ("+1E-2", 0.01)),
        *((text, None) for text in ("", ".", "nan", "inf", "-inf", "1_0", "٣", " 1", "1\n", HUGE)),
        *((text, None) for text in ("1e999", "0x1", "1e", "e1")),
    ],
)
def test_a_decimal_is_finite_and_ascii(text: str, number: float | None) -> None:
    assert read_decimal(text) == number


@given(st.text())
def test_any_text_is_a_number_or_none(text: str) -> None:
    assert read_count(text) is None or 0 <= (read_count(text) or 0) <= LARGEST
    assert math.isfinite(read_decimal(text) or 0.0)


def patterns() -> Iterator[tuple[str, "re.Pattern[str]"]]:
    for package in (api, shared):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(importlib.import_module(module.name)).items()
            yield from (
                (f"{module.name}.{name}", value)
                for name, value in values
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str)
            )


def test_no_pattern_at_the_edge_takes_the_digits_of_other_scripts() -> None:
    numeric = {name: found for name, found in patterns() if r"\d" in found.pattern}
    assert "api.objects.ONE_RANGE" in numeric
    assert [name for name, found in numeric.items() if not found.flags & re.ASCII] == []
