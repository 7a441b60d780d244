"""Restart back-off: how long a supervisor waits before it starts a failed child again.

OTP retries at once and lets the restart intensity end a storm. That stays the default. A child whose start
depends on something slow to come back (a network service, a device) may carry a `Backoff` instead:
exponential delays with an upper bound, jitter so that siblings do not return in step, and a reset once the
child has stayed up long enough (Pekko's `restartWithBackoff`, with the reset counted from the child's start).
"""

from __future__ import annotations

import math

import attrs

from enfilade.actors.node.runtime import REAL
from enfilade.actors.supervision.bad_field import BadField
from enfilade.fields import is_number

__all__ = ["Backoff", "InvalidBackoff"]


class InvalidBackoff(BadField):
    """A field of a `Backoff` is out of its range; `field` and `value` say which and what."""

    what = "back-off field"


@attrs.frozen(kw_only=True)
class Backoff:
    """Delays between the restarts of one child.

    Attributes:
        first: delay before the first restart after a quiet time, in seconds, more than 0.
        factor: what each further failure multiplies the delay by, at least 1.
        maximum: upper bound of the delay before jitter, in seconds, at least `first`.
        jitter: the share of a delay that is random, from 0 (exact) to 1: a delay `d` becomes a uniform draw
            from `d * (1 - jitter)` to `d`, so that `maximum` stays an upper bound.
        reset: a child that has been up for this many seconds when it fails starts over with `first`; at least
            0.

    Raises:
        InvalidBackoff: a field is out of its range.
    """

    first: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.2
    reset: float = 60.0

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Backoff):
            self._check(field.name, is_number(getattr(self, field.name)), "a number")
        self._check(
            "first", self.first > 0 and math.isfinite(self.first), "a finite number of seconds above 0"
        )
        self._check("factor", self.factor >= 1 and math.isfinite(self.factor), "a finite number, at least 1")
        self._check("maximum", self.first <= self.maximum < math.inf, "finite and not less than `first`")
        self._check("jitter", 0 <= self.jitter <= 1, "a number from 0 to 1")
        self._check("reset", self.reset >= 0, "a number of seconds, at least 0")

    def _check(self, field: str, valid: bool, expected: str) -> None:
        if not valid:
            raise InvalidBackoff(field, getattr(self, field), expected)

    def delay(self, failures: int, draw: float | None = None) -> float:
        """The delay in seconds before the restart that follows `failures` earlier ones without a quiet time.

        Args:
            failures: how many restarts came before, 0 for the first.
            draw: a number from 0 to 1 that stands for chance; None draws one.

        Returns:
            Seconds, from `first * (1 - jitter)` to `maximum`.
        """
        try:
            exact = min(self.maximum, self.first * self.factor**failures)
        except OverflowError:
            exact = self.maximum
        share = REAL.random() if draw is None else draw
        return exact * (1 - self.jitter * share)
