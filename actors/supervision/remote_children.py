"""The children of one supervisor that live on other nodes: how they are started, and waited for.

Such a child is linked to its supervisor from its birth, and knows it for its parent, so that it ends with
it, or when the node link does. It is started by a request to its node: the answer comes as a message, and an
answer that nobody waits for any more ends the process that it speaks of. Everything else (exits, the way it
is stopped) is as for any child, because a ref is a ref.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NodeStopped, NotConnected
from enfilade.actors.messages.reasons import KILL, NO_CONNECTION
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.peers.events import NodeDown, NodeUp, SiteFound
from enfilade.actors.processes import links
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import Retry
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.placement import placed

if TYPE_CHECKING:
    from enfilade.actors.node.services import Peers
    from enfilade.actors.processes.process import Process

__all__ = ["RemoteChildren", "RemoteStart"]


AnyRef = Ref[Any]

AVOIDED_SECONDS: Final = 1.0
"""Time for which nothing is started on a node that could not be reached."""


@signals.undroppable
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
        self._distribution.monitor_sites(process.ref)
        self._avoided: set[str] = set()
        self._begun: dict[RemoteStart, str] = {}
        self._waiting: list[Retry[AnyRef]] = []

    def present(self, spec: Child) -> bool:
        """Tell whether there is a node to start that child on."""
        return bool(self._placed(spec))

    def _placed(self, spec: Child) -> list[str]:
        """Name the nodes that the child can be started on now, the best one first."""
        sites = [site for site in self._distribution.sites() if site.name not in self._avoided]
        draw = self._process.node.runtime.random
        return placed(spec.target, spec.id, sites, children=self._living, draw=draw)

    def _living(self) -> Counter[str]:
        """Count the children of the supervisor on each node, and those that are about to be there."""
        links = self._process.links or {}
        far = (ref.node_name for ref in links if isinstance(ref, RemoteRef))
        return Counter(far) + Counter(self._begun.values())

    def start(self, child: ChildRecord[AnyRef]) -> RemoteStart:
        """Begin to start a child; the supervisor is sent what this returns. Not a checkpoint.

        Raises:
            NotConnected: none of its nodes is there.
            enfilade.transport.PayloadError: an argument cannot travel.
            Refused: the other node may hold no further ref of this one.
        """
        start = RemoteStart(child, self._placed(child.spec))
        self._attempt(start)
        return start

    def _attempt(self, start: RemoteStart) -> None:
        """Ask the next node that is there."""
        process, child = self._process, start.child

        def answered(answer: Any) -> None:
            if isinstance(answer, Started):
                start.info, answer = answer.info, answer.ref
            start.error = answer
            self._begun.pop(start, None)
            if process.ended is not None:
                if isinstance(answer, Ref):
                    answer.deliver(signals.Exit(process.node.ref, KILL, linked=False))
                return
            if isinstance(answer, Ref):
                links.link(process, answer)
                start.ref = answer
            elif isinstance(answer, NodeStopped):
                self._avoided.add(node)
                start.error = NO_CONNECTION
            elif answer == NO_CONNECTION and any(site.name == node for site in self._distribution.sites()):
                self._avoid(node)
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
                self._begun[start] = node
                abandon = self._distribution.start_on(
                    node, child.spec.target.entry, process.ref, child.args, child.kwargs, answered
                )
                # The request can end the node link before it has left, and the next attempt have begun.
                if start.abandon is None:
                    start.abandon = partial(self._give_up, start, abandon)
                return
            del self._begun[start]
        nodes = ", ".join(child.spec.target.nodes)
        raise NotConnected(nodes, f"none of the nodes {nodes} is there")

    def _give_up(self, start: RemoteStart, abandon: Callable[[], None]) -> None:
        self._begun.pop(start, None)
        abandon()

    def _avoid(self, node: str) -> None:
        """Start nothing on a node that could not be reached, for a moment or until it is heard of."""
        self._avoided.add(node)
        self._process.send_after(AVOIDED_SECONDS, self._process.ref, SiteFound(node))

    def wait(self, retry: Retry[AnyRef]) -> None:
        """Keep `retry` until one of its child's nodes is there."""
        self._waiting = [waiting for waiting in self._waiting if waiting.child.retry is waiting]
        self._waiting.append(retry)

    def node_up(self, event: NodeUp | SiteFound) -> list[Retry[AnyRef]]:
        """A node is there: what waited for it."""
        self._avoided.discard(event.name)
        due = [retry for retry in self._waiting if self.present(retry.child.spec)]
        self._waiting = [retry for retry in self._waiting if retry not in due]
        return due

    def node_down(self, event: NodeDown) -> None:
        """A node is gone, and no longer on its way out."""
        self._avoided.discard(event.name)
