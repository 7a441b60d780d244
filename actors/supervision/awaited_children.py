"""The children of one supervisor whose start waits for somebody else: for another node, or for the registry.

Whether a child is one of them stands in its specification (`Child.is_awaited`); only of those anything is
asked here. Most supervisors have none, and then neither of the two books is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.global_name import Global
from enfilade.actors.peers.events import NodeDown, NodeUp, SiteFound
from enfilade.actors.supervision.actions import Retry
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.held_children import HeldChildren, HeldStart
from enfilade.actors.supervision.remote_children import RemoteChildren, RemoteStart

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["AwaitedChildren"]


class AwaitedChildren:
    """The children on other nodes, and those with global names. All methods that take a child, or its
    specification, are for such children alone.

    Args:
        process: the supervisor.
    """

    __slots__ = ("_held", "_process", "_remote")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._remote: RemoteChildren | None = None
        self._held: HeldChildren | None = None

    @property
    def remote(self) -> RemoteChildren:
        """Those on other nodes. Raises as `RemoteChildren`."""
        if self._remote is None:
            self._remote = RemoteChildren(self._process)
        return self._remote

    @property
    def held(self) -> HeldChildren:
        """Those with global names. Raises as `HeldChildren`."""
        if self._held is None:
            self._held = HeldChildren(self._process)
        return self._held

    @property
    def are_elsewhere(self) -> bool:
        """True when there is, or was, a child on another node."""
        return self._remote is not None

    def start(self, child: ChildRecord[Any]) -> RemoteStart | None:
        """Begin what the start of a child waits for; None when its name is held, and it can be made now.

        Not a checkpoint. Raises: as `RemoteChildren` and `HeldChildren`, and their `start`.
        """
        name = child.spec.name
        if not isinstance(name, Global):
            return self.remote.start(child)
        return None if self.held.present(name) else self.held.start(child)

    def serial(self, spec: Child) -> int | None:
        """Return the number that the process of a child must have, because it holds the child's name."""
        return self.held.serial(spec.name) if isinstance(spec.name, Global) else None

    def made(self, spec: Child, process: Process) -> None:
        """Take note of the process that was made with that number."""
        if isinstance(spec.name, Global):
            self.held.bind(spec.name, process)

    def present(self, spec: Child) -> bool:
        """Tell whether there is a node to start a child on, or whether its name is held."""
        if isinstance(spec.name, Global):
            return self.held.present(spec.name)
        # On a node that has no peers at all the start fails, and says so.
        return self._process.node._distribution is None or self.remote.present(spec)

    def wait(self, retry: Retry[Any]) -> None:
        """Keep `retry` until its child can be started."""
        if isinstance(retry.child.spec.name, Global):
            self.held.wait(retry)
        else:
            self.remote.wait(retry)

    def node_up(self, event: NodeUp | SiteFound) -> list[Retry[Any]]:
        """A node is there: what waited for it."""
        return [] if self._remote is None else self._remote.node_up(event)

    def node_down(self, event: NodeDown) -> None:
        """A node is gone."""
        if self._remote is not None:
            self._remote.node_down(event)

    def name_held(self, start: HeldStart, *, is_wanted: bool) -> bool:
        """Take note of the registry's answer; return whether the name is held for the child."""
        return self.held.answered(start, is_wanted=is_wanted)

    def let_go(self) -> None:
        """Give back the names that are held for children which have not been made."""
        if self._held is not None:
            self._held.let_go()
