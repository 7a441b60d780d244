"""What runs a process, and what may be put in its way: protocols between a process record and its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from enfilade.actors.messages.reasons import Reason

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Body", "Observer", "Spawnable"]

A_co = TypeVar("A_co", covariant=True)


class Body(Protocol):
    """What runs a process.

    A dispatched body, which has no task, also has `turn` and `stop`. It is on the run queue whenever
    `process.idle` is false; it sets `idle` when it has nothing left to do and returns false.
    """

    def turn(self, budget: int) -> bool:
        """Handle at most `budget` messages; true when more is waiting. Must not raise, must not block.

        Before each message: `if process.attention and not process.attend(): return False`.
        """

    def exit(self, reason: Reason) -> None:
        """An exit signal ends the process with `reason`: hasten it, if you can be interrupted. Must not
        raise.

        A dispatched body is given a turn next, where `attend` ends the process.
        """

    def stop(self, reason: Reason) -> None:
        """The process was asked to stop: say goodbye, then `process.node.finish(process, reason)`.

        Called by `attend`, between two messages.
        """


class Spawnable(Protocol[A_co]):
    """Anything that `spawn` can make a process of."""

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Body:
        """Make the body; runs inside the new process, and what it raises makes the start fail."""


class Observer(Protocol):
    """Sees every message of one process: tracing and statistics are built on it."""

    def received(self, process: Process, message: Any) -> None:
        """`message` was taken out of the mailbox and is about to be handled."""

    def handled(self, process: Process, message: Any) -> None:
        """The handler of `message` has returned."""
