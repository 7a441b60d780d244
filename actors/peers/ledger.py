"""The ledger of a node link: all that is open across it, and its end when the node link is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.reasons import KILLED, NO_CONNECTION, Crashed, Reason, asked_by
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.remote_call import RemoteCall

__all__ = ["CALLING", "Ledger", "Linked", "undeliverable", "unsendable"]

CALLING: Final = (signals.Send, signals.Cast, signals.Call, signals.Monitor, signals.Link)
"""Signals that make a node call the one that they are for, if that is not connected."""


@attrs.frozen
class Linked:
    """A link across the node link.

    Attributes:
        local: the process of this node.
        remote: the other's.
        is_mutual: whether the end of the remote one reaches the local one. A peer that may not end a process
            can link to it, and gets a link that works in one direction.
    """

    local: Ref[Any]
    remote: Ref[Any]
    is_mutual: bool = True

    def remote_ended(self, reason: Reason) -> None:
        """Tell the local process that the remote one has ended, or that the link is gone."""
        if self.is_mutual:
            self.local.deliver(signals.Exit(self.remote, reason, linked=True))
        else:
            self.local.deliver(signals.Unlink(self.remote, 0))


@attrs.define(eq=False)
class Ledger:
    """All that is open, each under the number that its owner gave it.

    Attributes:
        calls: this node's calls that the other has not answered.
        answering: the other's calls that this node has not answered.
        answering_bytes: of their arguments.
        monitors: this node's watchers of processes there.
        watched: processes of this node that the other watches.
        links: by the serial numbers of the local process, or its alias, and of the remote one.
        linked_as: the alias under which the other has linked to a process, by the serial numbers of both.
        asked: what is called with the answer to a question or a spawn.
        spawning: the scopes of processes that are being started here for the other.
    """

    calls: dict[int, signals.Call] = attrs.field(factory=dict)
    answering: dict[int, RemoteCall] = attrs.field(factory=dict)
    answering_bytes: int = 0
    monitors: dict[int, Ref[Any]] = attrs.field(factory=dict)
    watched: dict[int, Ref[Any]] = attrs.field(factory=dict)
    links: dict[tuple[int, int], Linked] = attrs.field(factory=dict)
    linked_as: dict[tuple[int, int], int] = attrs.field(factory=dict)
    asked: dict[int, Callable[[Any], None]] = attrs.field(factory=dict)
    spawning: dict[int, trio.CancelScope] = attrs.field(factory=dict)

    def begin_answer(self, call: RemoteCall) -> None:
        """Enter a call of the other."""
        self.answering[call.number] = call
        self.answering_bytes += call.size

    def end_answer(self, number: int) -> RemoteCall | None:
        """Remove a call of the other that is answered, or given up; None when it was before."""
        call = self.answering.pop(number, None)
        if call is not None:
            self.answering_bytes -= call.size
        return call

    def lose(self, watcher: Ref[Any]) -> None:
        """End everything that is open, because the node link is lost: monitors, then links, then callers.

        Args:
            watcher: the ref under which the other node watches processes of this one.
        """
        # Empty it first: those who are notified may open something new.
        lost = attrs.evolve(self)
        Ledger.__init__(self)
        for number, owner in lost.monitors.items():
            owner.deliver(signals.Down(number, NO_CONNECTION))
        for link in lost.links.values():
            link.remote_ended(NO_CONNECTION)
            _end_orphan(link.local, link.remote)
        for request in lost.calls.values():
            request.fail(NotConnected(watcher.node_name))
        for then in lost.asked.values():
            then(NO_CONNECTION)
        for number, ref in lost.watched.items():
            ref.deliver(signals.Demonitor(watcher, number))
        for scope in lost.spawning.values():
            scope.cancel()
        for call in lost.answering.values():
            call.give_up(call.caller or watcher)


def _end_orphan(local: Ref[Any], parent: Ref[Any]) -> None:
    """Kill the child of a lost node after its grace: nobody else is left to do that if it does not end."""
    process = process_of(local)
    if process is not None and process.ended is None and process.parent == parent:
        seconds = process.node.config.kill_grace
        process.node.timers.call_after(
            seconds, process.interrupt, asked_by(KILLED, process.node.ref), owner=process
        )


def undeliverable(node: Node, ref: Ref[Any], signal: signals.Signal, reason: Reason) -> None:
    """Answer a signal that cannot be carried, as the loss of its node would have done."""
    match signal:
        case signals.Send(message):
            node.dead_letters.publish(message, ref, reason)
        case signals.Cast():
            node.dead_letters.publish(signal, ref, reason)
        case signals.Call() if reason == NO_CONNECTION:
            signal.fail(NotConnected(ref.node_name, f"{ref} cannot be reached: its node is not connected"))
        case signals.Call():
            signal.abandon(reason)
        case signals.Monitor(watcher, tag):
            watcher.deliver(signals.Down(tag, reason))
        case signals.Link(sender):
            sender.deliver(signals.Exit(ref, reason, linked=True))
        case signals.Unlink(sender, number):
            sender.deliver(signals.UnlinkAck(ref, number))
        case _:
            pass


def unsendable(node: Node, ref: Ref[Any], signal: signals.Signal, error: BaseException) -> None:
    """Answer a signal that waited for the node to be connected, and that cannot travel there."""
    if isinstance(signal, signals.Call):
        signal.fail(error)
    else:
        undeliverable(node, ref, signal, Crashed(error))
