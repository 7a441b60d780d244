"""Time, as drivers see it; the embedder provides it, so that it can be virtual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> object:
        """Let it not happen; nothing happens if it already has."""
        ...


class Clock(Protocol):
    """Tells the time and calls back later.

    Attributes:
        real: whether this is the machine's own time, so that the engine may read it in this object's place.
    """

    real: bool

    def unix_time(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        ...

    def call_later(self, delay: float, function: Callable[[], None]) -> Timer:
        """Call `function` in `delay` seconds."""
        ...
