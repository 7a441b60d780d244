"""The end of a supervisor's children: the request, the time limit, the kill, and giving up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.reasons import KILL, SHUTDOWN, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.timers import Timer
from enfilade.actors.supervision.children import ChildRecord

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Stops", "TimeUp"]


AnyRef = Ref[Any]


@attrs.define(eq=False)
class Stopping:
    """Children that are being stopped together.

    Attributes:
        left: those whose end is awaited, by ref.
        timer: what limits the patience; None for ever.
        killed: whether the time for an orderly end is over.
    """

    left: dict[AnyRef, ChildRecord[AnyRef]] = attrs.Factory(dict)
    timer: Timer | None = None
    killed: bool = False


@undroppable
@attrs.frozen(eq=False)
class TimeUp:
    """The patience with `stopping` is over: sent to the supervisor."""

    stopping: Stopping


class Stops:
    """The stops that one supervisor has in progress.

    Attributes:
        by_ref: those that each child which is being stopped belongs to, by the child's ref.
    """

    __slots__ = ("_process", "by_ref")

    def __init__(self, process: Process) -> None:
        self._process = process
        self.by_ref: dict[AnyRef, Stopping] = {}

    def begin(self, children: Iterable[tuple[AnyRef, ChildRecord[AnyRef]]]) -> None:
        """Ask children to stop, or kill them, by their shutdown rules; all share the longest of their times.

        Their ends are awaited by monitors: a child that unlinked itself holds nobody up.
        """
        stopping = Stopping()
        patience: float | None = None
        for ref, child in children:
            stopping.left[ref] = child
            self.by_ref[ref] = stopping
            self._process.monitor(ref)
            limit = child.spec.shutdown
            if limit == "brutal_kill":
                self._send_exit(ref, KILL)
            else:
                patience = max(patience or 0.0, limit)
                self._send_exit(ref, SHUTDOWN)
        if patience is None:
            self._expect_the_killed(stopping)
        elif patience < math.inf:
            self._limit(stopping, patience)

    def ended(self, ref: AnyRef) -> None:
        """A child has ended: it is no longer waited for."""
        stopping = self.by_ref.pop(ref, None)
        if stopping is not None:
            del stopping.left[ref]
            if not stopping.left and stopping.timer is not None:
                stopping.timer.cancel()

    def time_up(self, event: TimeUp) -> list[ChildRecord[AnyRef]]:
        """Kill what is left; what a kill has not ended either is returned, and no longer waited for."""
        stopping = event.stopping
        if not stopping.killed:
            for ref in list(stopping.left):
                self._send_exit(ref, KILL)
            self._expect_the_killed(stopping)
            return []
        unkillable = list(stopping.left.values())
        for ref in list(stopping.left):
            self.ended(ref)
        return unkillable

    def _expect_the_killed(self, stopping: Stopping) -> None:
        """The runtime gives up a task that does not end within its grace; this bounds every other body."""
        stopping.killed = True
        self._limit(stopping, 2 * self._process.node.config.kill_grace)

    def _limit(self, stopping: Stopping, seconds: float) -> None:
        if stopping.left:
            stopping.timer = self._process.send_after(seconds, self._process.ref, TimeUp(stopping))

    def _send_exit(self, ref: AnyRef, reason: Reason) -> None:
        self._process.exit(ref, reason)
        ending = process_of(ref)
        if ending is not None:
            # Nothing of it is on the stack, so it need not wait for its turn to die.
            ending.body.end_at_once()
