"""The processes that observers ask for watches, one for each right, under a supervisor of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.errors import NotConnected, Refused
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.protocol.views import LIMITS, PROTOCOL, RIGHTS, Hello, View, check_view
from enfilade.actors.observing.tables.listing import Listing
from enfilade.actors.observing.watches.control import Control
from enfilade.actors.observing.watches.own_texts import OwnTexts
from enfilade.actors.observing.watches.pictures import PICTURES
from enfilade.actors.observing.watches.shared import Watching
from enfilade.actors.observing.watches.shots import Pictures, Scene
from enfilade.actors.observing.watches.watch import Watch
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.policy import CONTROL, INSPECT, OBSERVE, TRACE

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["NAMES", "Desk", "open_desks"]

NAMES: Final = {"observe": OBSERVE, "inspect": INSPECT, "trace": TRACE, "control": CONTROL}
"""The name that each right opens."""


class Desk(Listing):
    """The process that peers ask for watches.

    Args:
        watching: what the watches of the node share.
        right: the right that the peers have that reach it; it includes that to observe.
        pictures: what makes the pictures of each view that can be shown.
    """

    def __init__(self, watching: Watching, right: str, pictures: Pictures = PICTURES) -> None:
        self._watching = watching
        self._pictures = pictures
        self._right = right
        self._rights = frozenset({"observe", right})

    def hello(self) -> Hello:
        """Introduce the node to an observer."""
        views = [view.__name__ for view in self._pictures if RIGHTS[view] in self._rights]
        node = self._watching.node
        return Hello(PROTOCOL, node.full_name, self._rights_of_caller(), views, dict(LIMITS))

    def _rights_of_caller(self) -> list[str]:
        """The rights of the peer that asks; of a process of this node, all."""
        node, asker = self.process.node, self.asker
        if asker == node.full_name:
            return list(NAMES)
        try:
            rights = node.distribution.rights_of(asker)
        except NotConnected:
            return []
        return [right for right in NAMES if getattr(rights, right)]

    def watch(
        self, observer: Ref[Any], view: Any, interval: float = 1.0, budget: float = 0.05
    ) -> Ref[Watch] | None:
        """Start a watch, which sends updates to `observer`, until that ends.

        Args:
            observer: a process of the caller's.
            view: what to show.
            interval: seconds between two updates.
            budget: the share of the time that the node may spend on it.

        Returns:
            Its process, for `ack`, `change` and `close`.

        Raises:
            Refused: something goes beyond the limits, or the view needs another right.
        """
        try:
            return self._watch(observer, view, interval, budget)
        except Refused as error:
            self.process.refuse(error)
            return None

    def _watch(self, observer: Ref[Any], view: Any, interval: float, budget: float) -> Ref[Watch]:
        if not isinstance(observer, Ref):
            raise Refused(f"observer must be a ref, got {safe_repr(observer, 100)}")
        if observer.node_name != self.asker:
            raise Refused(f"observer must be a process of {safe_str(self.asker)}, got {safe_str(observer)}")
        least, most = LIMITS["interval_min"], LIMITS["interval_max"]
        if type(interval) not in (int, float) or not least <= interval <= most:
            raise Refused(f"interval must be {least:g} to {most:g} s, got {safe_repr(interval, 100)}")
        if type(budget) not in (int, float) or not 0 < budget <= LIMITS["budget_max"]:
            raise Refused(
                f"budget must be above 0, at most {LIMITS['budget_max']:g}, got {safe_repr(budget, 100)}"
            )
        node = self.process.node
        rights = self._rights | set(NAMES) if self.asker == node.full_name else self._rights
        checked = check_view(view, rights, self._pictures)
        open_ = sum(1 for node_name in self._watching.watches.values() if node_name == observer.node_name)
        if open_ >= LIMITS["watches"]:
            raise Refused(f"a peer may have {LIMITS['watches']:g} watches, and has as many")
        self._note(checked)
        own_texts = OwnTexts(self._watching.walker)
        scene = Scene(self._watching, budget, "inspect" in rights, interval, own_texts, self._right)
        watch = self.process.spawn_soon(Watch, scene, observer, checked, rights, self._pictures)
        self._watching.opened(watch.serial, observer.node_name)
        return watch

    def _note(self, view: View) -> None:
        """Tell of an observer that is to see what holds data."""
        self._watching.looked(self.asker, self._right, view)


def open_desks(node: Node) -> None:
    """Start the processes that observers and operators on other nodes ask, under a supervisor. Not a
    checkpoint.
    """
    watching = node.observation.watching
    children = [
        Child(Desk, watching, right, id=name, name=name)
        for right, name in NAMES.items()
        if right != "control"
    ]
    children.append(Child(Control, id=CONTROL, name=CONTROL))
    node.spawn_soon(Supervisor, children, label="observation", arena="node")
