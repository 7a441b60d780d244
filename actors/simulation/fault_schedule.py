"""Schedules: which faults strike, and when."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from enfilade.fields import is_nan, is_number

__all__ = ["Fault", "Release", "Schedule", "check_schedule"]


class Fault(Protocol):
    """Something that a world does to hosts or ways: see `faults`."""

    def strike(self, world: Any) -> None:
        """Strike `world` now, a `World`. Called between two steps, or within a hand-over."""
        ...


class Release(Protocol):
    """A source of faults that is drawn from as time passes: see `swarm`."""

    def release(self, world: Any) -> None:
        """Let faults strike `world`, a `World`, from now until it is calm."""
        ...


Schedule: TypeAlias = "list[tuple[float, Fault]]"
"""Faults, and the virtual time of each."""


def check_schedule(schedule: object) -> None:
    """Refuse what is no schedule.

    Raises:
        TypeError: it is no list, or an entry is no time with a fault.
        ValueError: a time is NaN.
    """
    if not isinstance(schedule, list):
        raise TypeError(f"expected a list of (seconds, fault), got {schedule!r}")
    for entry in schedule:
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise TypeError(f"expected entries such as (3.5, Crash('bank')), got {entry!r}")
        _check(*entry)


def _check(seconds: object, fault: object) -> None:
    if not hasattr(fault, "strike"):
        raise TypeError(f"expected a fault such as Crash('bank'), got {fault!r}")
    if not is_number(seconds):
        raise TypeError(f"expected the time of {fault} in seconds, got {seconds!r}")
    if is_nan(seconds):
        raise ValueError(f"expected the time of {fault}, got NaN")
