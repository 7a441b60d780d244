"""Counting: how many messages each actor handles, while somebody wants to know.

The dispatcher adds the messages of each turn to a dict, if it is given one; that is all that counting costs a
sync actor. Once a second the dict is taken and an empty one put in its place, so that its keys are the
processes that were active, and rates are those of the last second. Calls that their callers run themselves go
through a function that stands in the place of `DispatchedBody.hand_off` while any node of the program counts.

Sync and async actors are counted, and the hostcalls of guests. Supervisors, function processes and guests
take their messages themselves, and are not. How long handlers run is not measured: to read the clock at each
turn would cost half a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer

__all__ = ["Counts"]

TICK: Final = 1.0
"""Seconds for which a rate is measured."""


class Counts(Listener):
    """The counts of one node.

    Attributes:
        ended: messages that processes handled which have ended since, by their class.
    """

    def __init__(self, node: Node, changed: Callable[[bool], None]) -> None:
        self._node = node
        self._changed = changed
        self._users = 0
        self._totals: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self.ended: Counter[str] = Counter()
        self._since = 0.0
        self._timer: Timer | None = None

    @property
    def is_on(self) -> bool:
        """True while messages are counted."""
        return self._users > 0

    @property
    def total(self) -> int:
        """Messages that all actors together have handled since counting began."""
        now = self._node.dispatcher.counted or {}
        return self.ended.total() + sum(self._totals.values()) + sum(now.values())

    def begin(self) -> None:
        """Count, for one user more. Not a checkpoint."""
        self._users += 1
        if self._users > 1:
            return
        self._totals, self._rates = {}, {}
        self.ended.clear()
        self._since = self._node.timers.now()
        self._node.dispatcher.counted = {}
        _HAND_OFF.begin()
        self._node.hooks.add(self)
        for process in self._node.processes.values():
            process.body.count_hostcalls(True)
        self._timer = self._node.timers.call_after(TICK, self._tick)
        self._changed(True)

    def end(self) -> None:
        """One user less; after the last one nothing is counted. Not a checkpoint."""
        if not self._users:  # the node has stopped before
            return
        self._users -= 1
        if self._users:
            return
        assert self._timer is not None
        self._timer.cancel()
        self._node.hooks.remove(self)
        _HAND_OFF.end()
        self._node.dispatcher.counted = None
        for process in self._node.processes.values():
            process.body.count_hostcalls(False)
        self._totals, self._rates = {}, {}
        self._changed(False)

    def close(self) -> None:
        """Count no more, whoever still does: the node has stopped. Not a checkpoint."""
        self._users = min(self._users, 1)
        self.end()

    def _tick(self) -> None:
        now = self._node.timers.now()
        taken, self._node.dispatcher.counted = self._node.dispatcher.counted or {}, {}
        seconds, self._since = now - self._since, now
        self._rates = {process.serial: count / seconds for process, count in taken.items()}
        for process, count in taken.items():
            self._totals[process.serial] = self._totals.get(process.serial, 0) + count
        self._timer = self._node.timers.call_after(TICK, self._tick)

    def process_ended(self, process: Process, reason: Reason) -> None:
        counted = self._node.dispatcher.counted
        handled = self._totals.pop(process.serial, 0)
        handled += 0 if counted is None else counted.pop(process, 0)
        if handled:
            self.ended[actor_name(process) or ""] += handled
        self._rates.pop(process.serial, None)

    def handled(self, ref: Ref[Any]) -> int | None:
        """Messages that an actor of this node has handled since counting began; None for what is not an actor
        of this node, or has ended. Not a checkpoint.
        """
        process = process_of(ref)
        if process is None or process.node is not self._node or process.ended is not None:
            return None
        handled: int | None = self.of(process)["handled"]
        return handled

    def of(self, process: Process) -> dict[str, Any]:
        """The columns of a process that are counted."""
        shown: dict[str, Any] = {"handled": None, "rate": None}
        if process.body.kind == "actor":
            now = self._node.dispatcher.counted or {}
            shown["handled"] = self._totals.get(process.serial, 0) + now.get(process, 0)
            shown["rate"] = round(self._rates.get(process.serial, 0.0), 3)
        return shown


class _HandOff:
    """The function that counts hand-offs, and stands in the class while any node of the program counts."""

    def __init__(self) -> None:
        self._users = 0
        self._plain: Any = None

    def begin(self) -> None:
        """Put it into the class, for the first user. Not a checkpoint."""
        self._users += 1
        if self._users == 1:
            self._plain = plain = DispatchedBody.__dict__["hand_off"]

            def hand_off(self: DispatchedBody, handler: Any, args: Any, kwargs: Any) -> Any:
                self.process.dispatcher.count(self.process, 1)
                return plain.__get__(self)(handler, args, kwargs)

            DispatchedBody.hand_off = hand_off  # type: ignore[method-assign]

    def end(self) -> None:
        """Take it out again, for the last user. Not a checkpoint."""
        self._users -= 1
        if not self._users:
            DispatchedBody.hand_off, self._plain = self._plain, None  # type: ignore[method-assign]


_HAND_OFF: Final = _HandOff()
