"""Counts of messages, and of the time that handlers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Counts"]


class Counts(Protocol):
    """The counts of one node.

    Attributes:
        total: messages that all processes have handled.
        samples: whether handlers are sampled.
    """

    total: int
    samples: bool

    def of(self, process: Process) -> dict[str, Any]:
        """The columns of a process that are counted."""
