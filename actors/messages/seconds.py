"""Numbers of seconds: the check of what users give as a delay or a time limit."""

from __future__ import annotations

__all__ = ["check_seconds"]


def check_seconds(seconds: float, what: str) -> None:
    """Raise unless `what` can be `seconds`.

    Raises:
        TypeError: they are no number.
        ValueError: they are less than 0, or not a number.
    """
    if not isinstance(seconds, _NUMBERS):
        raise TypeError(f"{what} is a number of seconds, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{what} is a number of seconds of at least 0, not {seconds!r}")


_NUMBERS = (float, int)
