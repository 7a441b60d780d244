"""Schedules: which faults strike, and when."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

__all__ = ["Fault", "Release", "Schedule"]


class Fault(Protocol):
    """Something that a world does to hosts or ways: see `faults`."""

    def strike(self, world: Any) -> None:
        """Do it now, to a `World`. Called between two steps, or within a hand-over."""
        ...


class Release(Protocol):
    """A source of faults that is drawn from as time passes: see `swarm`."""

    def release(self, world: Any) -> None:
        """Let faults strike a `World`, from now until it is calm."""
        ...


Schedule: TypeAlias = "list[tuple[float, Fault]]"
"""Faults, and the virtual time of each."""
