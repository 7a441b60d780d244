"""Restart back-off: delays grow to the maximum, jitter only shortens, bad fields are named."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors.supervision.backoff import Backoff, InvalidBackoff


def test_delays_grow_to_the_maximum() -> None:
    backoff = Backoff(first=0.5, factor=2, maximum=3, jitter=0)
    assert [backoff.delay(failures) for failures in range(5)] == [0.5, 1, 2, 3, 3]
    assert backoff.delay(10_000) == 3


@given(failures=st.integers(0, 3000), draw=st.floats(0, 1), jitter=st.floats(0, 1))
def test_jitter_only_shortens(failures: int, draw: float, jitter: float) -> None:
    exact = Backoff(jitter=0).delay(failures)
    assert exact * (1 - jitter) <= Backoff(jitter=jitter).delay(failures, draw) <= exact


def test_jitter_spreads_the_delays() -> None:
    delays = {Backoff(jitter=0.5).delay(3) for _ in range(20)}
    assert len(delays) > 1
    assert all(0.4 <= delay <= 0.8 for delay in delays)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first", 0),
        ("first", math.inf),
        ("factor", 0.5),
        ("factor", math.inf),
        ("maximum", 0.01),
        ("jitter", 2),
        ("reset", -1),
    ],
)
def test_bad_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidBackoff) as caught:
        Backoff(**{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)


def test_fields_at_their_limits() -> None:
    """The same delay each time, forgotten at once."""
    constant = Backoff(first=5.0, factor=1, maximum=5.0, jitter=1, reset=0)
    assert [constant.delay(failures, draw=0.0) for failures in range(3)] == [5.0] * 3
