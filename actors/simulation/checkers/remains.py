"""The remains of a world that has calmed down: nobody is linked to the dead, every child lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.traced import bare
from enfilade.actors.simulation.checkers.history import numbered
from enfilade.actors.supervision.children import ChildInfo
from enfilade.actors.supervision.supervisor_body import SupervisorBody

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["check_children", "check_links", "check_quiet", "check_supervision", "waiting_messages"]


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
    children = {
        _place(supervisor.ref): {_place(info.ref) for info in infos if isinstance(info.ref, Ref)}
        for supervisor, infos in _supervisors(nodes)
    }
    for process in _living(nodes):
        parent = process.parent
        if parent is None or not parent.serial or parent.node_name == process.node.full_name:
            continue
        known = children.get(_place(parent))
        if known is None or _place(process.ref) not in known:
            raise AssertionError(
                f"children: {process.ref} lives, and its supervisor {parent} does not know it"
            )


def _supervisors(nodes: Iterable[Node]) -> Iterator[tuple[Process, tuple[ChildInfo[Any], ...]]]:
    """The living supervisors, and what each knows of its children."""
    for process in _living(nodes):
        body = process.body
        if isinstance(body, SupervisorBody) and body.supervises:
            yield process, body.strategy.children.infos()


def _waiting_for_names(supervisor: Process) -> set[object]:
    specs = [record.spec for record in supervisor.body.strategy.children]
    return {spec.id for spec in specs if isinstance(spec.name, Global) and spec.name.taken == "wait"}


def check_supervision(nodes: list[Node]) -> None:
    """Check that every child that a supervisor takes for running lives, and that every permanent one runs,
    unless it waits for a name that another process has.

    Raises:
        AssertionError: which child.
    """
    places = _places(nodes)
    names = {node.full_name for node in nodes}
    for supervisor, infos in _supervisors(nodes):
        waiting = _waiting_for_names(supervisor)
        for info in infos:
            shown = f"child {info.id!r} of {supervisor.ref}"
            if isinstance(info.ref, Ref):
                if info.ref.node_name in names and _place(info.ref) not in places:
                    raise AssertionError(f"supervision: {shown} has ended as {info.ref}, unnoticed")
            elif info.ref == "restarting" and info.restart == "permanent" and info.id not in waiting:
                raise AssertionError(f"supervision: {shown} is permanent, and still not started again")


def waiting_messages(nodes: Iterable[Node]) -> set[tuple[str, int]]:
    """The channels and numbers of the messages that wait to be taken, or have just been."""
    waiting: set[tuple[str, int]] = set()
    for process in _living(nodes):
        postponed = getattr(process.actor, "_machine_postponed", None) or ()
        held = (*process.queue, process.at_hand, *(event.message for event in postponed))
        waiting.update(filter(None, map(numbered, map(bare, held))))
    return waiting


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
