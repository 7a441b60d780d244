"""Limits as texts, as commands and zone files write them."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from enfilade.hostcalls.contracts.limits import Limits, limits_of

MEBIBYTE = 1 << 20


def test_every_limit_can_be_set() -> None:
    """Each field of `Limits` has a text, and the others keep their defaults."""
    for field in attrs.fields(Limits):
        assert limits_of([f"{field.name}=7"]) == attrs.evolve(Limits(), **{field.name: 7})


def test_units_fractions_and_none() -> None:
    """Bytes have binary units; times and rates may be fractions, or without a bound."""
    texts = ["memory=64MiB", "tree_memory=1.5 GiB", "message_bytes=3KiB", "cpu_time=2.5", "hostcalls=none"]
    wanted = Limits(
        memory=64 * MEBIBYTE,
        tree_memory=1536 * MEBIBYTE,
        message_bytes=3072,
        cpu_time=2.5,
        hostcalls=math.inf,
    )
    assert limits_of(texts) == wanted
    values: dict[str, Any] = dict(text.split("=") for text in texts)
    assert limits_of({**values, "cpu_time": 2.5}) == wanted
    assert limits_of(["cpu_renewal=0"]) == Limits(cpu_renewal=0.0)
    assert limits_of(["resources=5"], Limits(children=2)) == Limits(children=2, resources=5)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("memory", "expected NAME=VALUE, got 'memory'"),
        ("memory=", "expected NAME=VALUE, got 'memory='"),
        ("memoy=5", "got 'memoy'; did you mean 'memory'?"),
        ("memory=many", "an integer, also with KiB, MiB or GiB, for the limit memory, got 'many'"),
        ("resources=1.5", "expected an integer"),
        ("resources=none", "expected an integer"),
        ("cpu_time=soon", "expected a number, or none, for the limit cpu_time, got 'soon'"),
        ("children=-3", "expected an integer"),
        ("resources=0", "the limit resources must be positive, got 0"),
    ],
)
def test_refusals(setting: str, told: str) -> None:
    """What is no limit, or no value of it, is an error that shows it and says what was expected."""
    with pytest.raises(ValueError, match=r"limit|expected") as caught:
        limits_of([setting])
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [True, -1, 0, math.nan, None, [5]])
def test_values_of_a_file(value: Any) -> None:
    """A file may hold values of any type."""
    with pytest.raises((ValueError, TypeError), match="limit"):
        limits_of({"resources": value})


@pytest.mark.parametrize("value", [True, 1.5, math.inf, 1 << 63, "64MiB"])
def test_whole_numbers_are_whole(value: Any) -> None:
    """A limit that counts is an int, and one that the engine can hold."""
    for name, default in attrs.asdict(Limits()).items():
        if isinstance(default, int):
            with pytest.raises(ValueError, match=f"the limit {name} must be an int below"):
                Limits(**{name: value})
