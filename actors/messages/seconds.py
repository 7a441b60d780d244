"""Numbers of seconds: the check of what users give as a delay or a time limit."""

from __future__ import annotations

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.fields import fits_float

__all__ = ["check_seconds"]


def check_seconds(seconds: float, what: str) -> None:
    """Check that `seconds` can be `what`, a delay or a time limit.

    Raises:
        TypeError: `seconds` is not a float or an int.
        ValueError: `seconds` is negative, NaN, or too large for a float.
    """
    if not isinstance(seconds, _NUMBERS):
        raise TypeError(
            f"{what} must be a number of seconds, got {safe_repr(seconds)}{_advice(seconds, what)}"
        )
    if not seconds >= 0:
        raise ValueError(f"{what} must be a number of seconds of at least 0, got {safe_repr(seconds)}")
    if not fits_float(seconds):
        raise ValueError(f"{what} must be a number that a float can hold, got {safe_repr(seconds)}")


def _advice(given: object, what: str) -> str:
    return "; `math.inf` is no limit" if given is None and what != "a delay" else ""


_NUMBERS = (float, int)
