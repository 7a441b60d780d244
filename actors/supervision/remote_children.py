"""The children of one supervisor that live on other nodes: how they are started, and waited for.

Such a child is linked to its supervisor from its birth, and knows it for its parent, so that it ends with
it, or when the node link does. It is started by a request to its node: the answer comes as a message, and an
answer that nobody waits for any more ends the process that it speaks of. Everything else (exits, the way it
is stopped) is as for any child, because a ref is a ref.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NodeStopped, NotConnected
from enfilade.actors.messages.reasons import KILL, NO_CONNECTION
from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.events import NodeDown, NodeUp
from enfilade.actors.processes import links
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import Retry
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.remote_entry import RemoteEntry

if TYPE_CHECKING:
    from enfilade.actors.node.services import Peers
    from enfilade.actors.processes.process import Process

__all__ = ["RemoteChildren", "RemoteStart"]


AnyRef = Ref[Any]


@attrs.define(eq=False)
class RemoteStart:
    """The start of a child on another node. Sent to its supervisor when it has come to its end.

    Attributes:
        child: which child.
        left: the nodes that have not been tried yet, the best one first.
        ref: the process, once it has started.
        info: what its start had to tell, or None.
        error: an exception, or `NO_CONNECTION`: why it has not.
        abandon: ends the attempt in progress.
    """

    child: ChildRecord[AnyRef]
    left: list[str]
    ref: AnyRef | None = None
    info: Any = None
    error: Any = None
    abandon: Callable[[], None] | None = None


class RemoteChildren:
    """The children of a supervisor that live on other nodes, and the nodes that it can use.

    Args:
        process: the supervisor.

    Raises:
        NotConnected: its node was opened without peers.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._distribution: Peers = process.node.distribution
        self._distribution.monitor_nodes(process.ref)
        self._leaving: set[str] = set()
        self._waiting: list[Retry[AnyRef]] = []

    def present(self, spec: Child) -> bool:
        """Tell whether there is a node to start that child on."""
        return bool(self._present(spec.target))

    def _present(self, target: RemoteEntry) -> list[str]:
        peers = self._distribution.peers
        return [node for node in target.nodes if node in peers and node not in self._leaving]

    def start(self, child: ChildRecord[AnyRef]) -> RemoteStart:
        """Begin to start a child; the supervisor is sent what this returns. Not a checkpoint.

        Raises:
            NotConnected: none of its nodes is there.
            enfilade.transport.PayloadError: an argument cannot travel.
            Refused: the other node may hold no further ref of this one.
        """
        start = RemoteStart(child, self._present(child.spec.target))
        self._attempt(start)
        return start

    def _attempt(self, start: RemoteStart) -> None:
        """Ask the next node that is there."""
        process, child = self._process, start.child

        def answered(answer: Any) -> None:
            if isinstance(answer, Started):
                start.info, answer = answer.info, answer.ref
            start.error = answer
            if process.ended is not None:
                if isinstance(answer, Ref):
                    answer.deliver(signals.Exit(process.node.ref, KILL, linked=False))
                return
            if isinstance(answer, Ref):
                links.link(process, answer)
                start.ref = answer
            elif isinstance(answer, NodeStopped):
                self._leaving.add(node)
                start.error = NO_CONNECTION
            if start.error == NO_CONNECTION and start.left:
                try:
                    self._attempt(start)
                except Exception as error:
                    start.error = error
                else:
                    return
            process.put(start)

        while start.left:
            node = start.left.pop(0)
            start.abandon = None
            with suppress(NotConnected):
                abandon = self._distribution.start_on(
                    node, child.spec.target.entry, process.ref, child.args, child.kwargs, answered
                )
                # The request can end the node link before it has left, and the next attempt have begun.
                if start.abandon is None:
                    start.abandon = abandon
                return
        nodes = ", ".join(child.spec.target.nodes)
        raise NotConnected(nodes, f"none of the nodes {nodes} is connected")

    def wait(self, retry: Retry[AnyRef]) -> None:
        """Keep `retry` until one of its child's nodes is there."""
        self._waiting = [waiting for waiting in self._waiting if waiting.child.retry is waiting]
        self._waiting.append(retry)

    def node_up(self, event: NodeUp) -> list[Retry[AnyRef]]:
        """A node is there: what waited for it."""
        self._leaving.discard(event.name)
        due = [retry for retry in self._waiting if event.name in retry.child.spec.target.nodes]
        self._waiting = [retry for retry in self._waiting if retry not in due]
        return due

    def node_down(self, event: NodeDown) -> None:
        """A node is gone, and no longer on its way out."""
        self._leaving.discard(event.name)
