"""Schedules: which faults strike, and when."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

__all__ = ["Fault", "Release", "Schedule", "check_fault"]


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


def check_fault(fault: object, seconds: float) -> None:
    """Check what is to strike, and when.

    Raises:
        TypeError: `fault` is not a fault.
        ValueError: `seconds` is NaN.
    """
    if seconds != seconds:
        raise ValueError(f"expected the time of {fault}, got NaN")
    if not hasattr(fault, "strike"):
        raise TypeError(f"expected a fault such as Crash('bank'), got {fault!r}")


Schedule: TypeAlias = "list[tuple[float, Fault]]"
"""Faults, and the virtual time of each."""
