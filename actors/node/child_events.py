"""Child events: what supervisors do with their children, for whoever wants to know.

A subclass of `Supervisor` hears of its own children by its hook `on_child_event`. Anybody else subscribes,
to one supervisor or to all of a node. An event is made only when somebody listens.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import attrs

from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import NameRef, Ref, checked_ref
from enfilade.actors.messages.safe_text import safe_record
from enfilade.actors.messages.signals import Notice, undroppable
from enfilade.actors.node.dead_letters import DeadLetters
from enfilade.actors.processes.links import stands_for
from enfilade.actors.processes.local_ref import process_of

__all__ = ["ChildEvent", "ChildEventKind", "ChildEvents"]

ChildEventKind = Literal["started", "ended", "restarting", "gave_up"]


@undroppable
@attrs.frozen
class ChildEvent:
    """Something that has happened to a child.

    Attributes:
        kind: "started": the child runs, as `ref`. "ended": `ref` has ended, by itself or because it was told
            to. "restarting": an attempt to start it again follows, in `delay` seconds. "gave_up": the
            supervisor has restarted too often because of this child, stops all, and ends.
        supervisor: whose child it is.
        child_id: its id; None under a dynamic supervisor.
        ref: its process; for "restarting" and "gave_up" the one that ended last; None if there was none.
        reason: what `ref` ended with, or why the last attempt to start it failed; None for "started".
        state: the state that it had at its end, as text of at most some 2,000 characters: what its
            `format_status` returns, or else its attributes. For "ended" of an actor on this node; else None.
        restarts: how often this supervisor has started it again so far.
        delay: for "restarting", seconds until the attempt; `math.inf` while it waits for a node. Else None.
    """

    kind: ChildEventKind
    supervisor: Ref[Any]
    child_id: Hashable
    ref: Ref[Any] | None
    reason: Reason | None = None
    state: str | None = None
    restarts: int = 0
    delay: float | None = None

    __repr__ = safe_record


class ChildEvents:
    """The subscriptions to the child events of one node. Made by `open_node`.

    Attributes:
        subscriptions: who has subscribed to the events of the children of which supervisor.
    """

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self.subscriptions: dict[tuple[Ref[Any], Ref[Any] | None], None] = {}

    def __len__(self) -> int:
        return len(self.subscriptions)

    def subscribe(self, ref: Ref[Any], supervisor: Ref[Any] | None = None) -> None:
        """Have each event from now on sent to `ref`, as a `ChildEvent`, until it ends. Not a checkpoint.

        With several subscriptions it is sent each event once.

        Args:
            ref: a process; no bound of its mailbox keeps the events out.
            supervisor: whose children it is about, also by a name, for whoever holds it then; None for those
                of every supervisor of this node.

        Raises:
            TypeError: `ref` or `supervisor` is not a ref.
        """
        if supervisor is not None:
            checked_ref(supervisor, "supervisor")
        self.subscriptions[checked_ref(ref, "subscriber"), supervisor] = None

    def unsubscribe(self, ref: Ref[Any], supervisor: Ref[Any] | None = None) -> None:
        """Cancel the subscription of `ref` to `supervisor`, if there is one. Not a checkpoint."""
        self.subscriptions.pop((ref, supervisor), None)

    def publish(self, event: ChildEvent) -> None:
        """Send `event` to those who have subscribed, once to each. Not a checkpoint, never raises."""
        told: set[Ref[Any]] = set()
        for subscription in list(self.subscriptions):
            subscriber, supervisor = subscription
            process = process_of(subscriber)
            if process is not None and process.ended is not None:
                del self.subscriptions[subscription]
            elif subscriber not in told and (supervisor is None or _is_about(supervisor, event)):
                told.add(subscriber)
                self._dead_letters.deliver(subscriber, Notice(event))

    def forget(self, supervisor: Ref[Any]) -> None:
        """Cancel the subscriptions to `supervisor` alone, which has ended."""
        for subscription in list(self.subscriptions):
            if subscription[1] is not None and stands_for(subscription[1], supervisor):
                del self.subscriptions[subscription]


def _is_about(supervisor: Ref[Any], event: ChildEvent) -> bool:
    """Tell whether `event` is of the supervisor that a subscription names."""
    if is_a(supervisor, NameRef):
        process = process_of(event.supervisor)
        return process is not None and process.name == supervisor.name
    return stands_for(supervisor, event.supervisor)
