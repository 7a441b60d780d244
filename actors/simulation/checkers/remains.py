"""The remains of a world that has calmed down: nobody is linked to the dead, and every child is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.ref import Ref

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["check_children", "check_links", "check_quiet"]


def _living(nodes: Iterable[Node]) -> Iterator[Process]:
    for node in nodes:
        for process in node.processes.values():
            if process.ended is None:
                yield process


def _places(nodes: Iterable[Node]) -> set[tuple[str, int, int]]:
    return {(each.node.full_name, each.node.incarnation, each.ref.serial) for each in _living(nodes)}


def _place(ref: Ref[Any]) -> tuple[str, int, int]:
    return ref.node_name, ref.incarnation, ref.serial


def check_links(nodes: list[Node]) -> None:
    """Check that no process is linked to one that has ended, on any node.

    Raises:
        AssertionError: which two.
    """
    places = _places(nodes)
    for process in _living(nodes):
        for other in process.links or ():
            if other.serial and _place(other) not in places:
                raise AssertionError(f"links: {process.ref} is linked to {other}, which has ended")


def check_children(nodes: list[Node]) -> None:
    """Check that whoever was started for a supervisor of another node is among its children.

    Raises:
        AssertionError: which process is an orphan: it lives, and nobody knows it.
    """
    children: dict[tuple[str, int, int], set[tuple[str, int, int]]] = {}
    for process in _living(nodes):
        strategy = getattr(process.body, "strategy", None)
        if strategy is not None:
            refs = [info.ref for info in strategy.children.infos()]
            children[_place(process.ref)] = {_place(ref) for ref in refs if isinstance(ref, Ref)}
    for process in _living(nodes):
        parent = process.parent
        if parent is None or not parent.serial or parent.node_name == process.node.full_name:
            continue
        known = children.get(_place(parent))
        if known is None or _place(process.ref) not in known:
            raise AssertionError(
                f"children: {process.ref} lives, and its supervisor {parent} does not know it"
            )


def check_quiet(nodes: list[Node]) -> None:
    """Check that nothing is half done: no start, no handshake.

    Raises:
        AssertionError: which node, and what.
    """
    for node in nodes:
        starting = node.statistics().starting
        if starting:
            raise AssertionError(f"books: node {node.full_name} still waits for {starting} starts")
        if node.peers:
            handshakes = node.distribution.rendezvous.handshakes
            if handshakes:
                raise AssertionError(f"books: node {node.full_name} is still in {handshakes} handshakes")
