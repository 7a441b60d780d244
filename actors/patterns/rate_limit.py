"""Rate limits: how many jobs may begin in a second, as a leaky bucket tells it.

Each job that begins pours one unit into a bucket of `burst` units, which leaks `rate` units a second. A job
that would make it run over has to wait until enough has leaked. The bucket is not filled and emptied in
steps: one number, the time at which it will be empty, says it all.
"""

from __future__ import annotations

import math

import attrs

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.fields import is_int, is_number

__all__ = ["LeakyBucket", "RateLimit"]

TOLERANCE = 1e-9  # seconds: a timer may fire that much early, because the time is a float


def _check_rate(_instance: object, _attribute: object, rate: float) -> None:
    if not is_number(rate) or not 0 < rate < math.inf:
        raise ValueError(f"rate must be a finite number above 0, got {safe_repr(rate)}")


def _check_burst(_instance: object, _attribute: object, burst: int) -> None:
    if not is_int(burst) or burst < 1:
        raise ValueError(f"burst must be a positive int, got {safe_repr(burst)}")


@attrs.frozen
class RateLimit:
    """The limit of how often something may begin.

    Attributes:
        rate: how often a second in the long run, more than 0 and finite; below 1 for less than once a second.
        burst: how often at once after a quiet time, at least 1.

    Raises:
        ValueError: one of them is out of its range; it names which.
    """

    rate: float = attrs.field(validator=_check_rate)
    burst: int = attrs.field(default=1, validator=_check_burst)


class LeakyBucket:
    """A bucket that is empty at first.

    Args:
        limit: its size, and how fast it leaks.
    """

    __slots__ = ("_empty_at", "_slack", "_unit")

    def __init__(self, limit: RateLimit) -> None:
        self._unit = 1 / limit.rate
        self._slack = (limit.burst - 1) * self._unit
        self._empty_at = -math.inf

    def pour(self, now: float) -> float:
        """Pour one unit in, at `now`, if it has room: 0.0; else the seconds until it will have."""
        early = self._empty_at - self._slack - now
        if early > TOLERANCE:
            return early
        self._empty_at = max(self._empty_at, now) + self._unit
        return 0.0

    def take_back(self) -> None:
        """Take the last unit out again: what it was for has not begun."""
        self._empty_at -= self._unit
