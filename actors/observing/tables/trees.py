"""The supervision tree, as it is looked at: branches in order, closed ones with the sums of what is below."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import told
from enfilade.actors.observing.tables.rows import shown_ref, state_of, supervision_of
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.supervision.supervisor_body import SupervisorBody

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.protocol.views import TreeView
    from enfilade.actors.observing.tables.walker import Walker
    from enfilade.actors.processes.process import Process

__all__ = ["Forest", "LivingForest", "Place", "branches_of", "children_of"]

T = TypeVar("T")

Place = dict[str, Any]
"""The place of a child under its supervisor: id, place, restart, shutdown, type, restarts, state.

Of `shutdown`, None stands for no limit of time.
"""


class Forest(Protocol[T]):
    """The processes of a supervision tree, wherever they are known from."""

    def top(self, serial: int | None) -> T | None:
        """The process of that serial, or the root of the node; None if there is none."""

    def branch(self, process: T) -> dict[str, Any]:
        """The fields of a process in its branch."""

    def below(self, process: T) -> Iterator[tuple[T | None, int, int]]:
        """The children of a supervisor, none of another process: for each its process, unless it has none or
        has ended, its restarts, and the messages that wait in its mailbox.
        """

    def children(self, process: T) -> list[tuple[T | None, Place]] | None:
        """The children of a supervisor: the process of each, if it is known, and its place; None for another
        kind of process.
        """


@attrs.frozen
class LivingForest:
    """The processes of a node that runs."""

    node: Node

    def top(self, serial: int | None) -> Process | None:
        if serial is None and self.node.root is not None:
            serial = self.node.root.serial
        return None if serial is None else self.node.processes.get(serial)

    def branch(self, process: Process) -> dict[str, Any]:
        return {
            "process": process.serial,
            "actor": actor_name(process),
            "name": told(process.name),
            "queued": len(process.queue),
            "process_state": state_of(process),
            **(supervision_of(process) or {}),
        }

    def below(self, process: Process) -> Iterator[tuple[Process | None, int, int]]:
        body = process.body
        if not isinstance(body, SupervisorBody) or not body.supervises:
            return
        for record in list(body.strategy.children):  # some of which may leave between two steps
            child = process_of(record.ref)
            if child is None or child.ended is not None:
                yield None, record.restarts, 0
            else:
                yield child, record.restarts, len(child.queue)

    def children(self, process: Process) -> list[tuple[Process | None, Place]] | None:
        return children_of(process)


async def branches_of(forest: Forest[T], view: TreeView, walker: Walker, budget: float) -> dict[str, Any]:
    """The branches that `view` asks for, from the top down, and whether there are more.

    The key of a branch tells it apart: the serial of its process, or its place under its supervisor.
    """
    top = forest.top(view.root)
    branches: list[dict[str, Any]] = []
    if top is None:
        return {"branches": branches, "is_cut": False}
    opened = set(view.open)
    named = forest.branch(top)["name"]
    pending: list[tuple[T | None, Place, int, int]] = [(top, {"id": named or "root"}, 0, 0)]
    while pending and len(branches) < view.count:
        process, place, depth, supervisor = pending.pop()
        branch = {**place, "depth": depth, "process": None}
        branches.append(branch)
        if process is None:
            branch["key"] = f"{supervisor}/{place['place']}"
            continue
        branch.update(forest.branch(process))
        branch["key"] = serial = branch["process"]
        children = forest.children(process)
        if children is None:
            continue
        branch["children"] = len(children)
        branch["open"] = branch["process"] in opened and depth < view.depth
        if branch["open"]:
            pending += reversed([(child, shown, depth + 1, serial) for child, shown in children])
        else:
            branch["below"] = await _sums(forest, process, walker, budget)
    return {"branches": branches, "is_cut": bool(pending)}


def children_of(process: Process) -> list[tuple[Process | None, Place]] | None:
    """The children of a supervisor: the process of each, if it has one here, and its place; None for another
    kind of process.
    """
    body = process.body
    if not isinstance(body, SupervisorBody) or not body.supervises:
        return None
    found: list[tuple[Process | None, Place]] = []
    for number, record in enumerate(body.strategy.children):
        child = process_of(record.ref)
        child_id = record.id
        place: Place = {
            "id": None if child_id is None else safe_id(child_id),
            "place": number,
            "restart": record.spec.restart,
            "shutdown": None if record.spec.shutdown == math.inf else record.spec.shutdown,
            "type": record.spec.type,
            "restarts": record.restarts,
            "state": record.status.value,
        }
        if record.ref is not None and child is None:
            place["elsewhere"] = shown_ref(record.ref)
        found.append((child, place))
    return found


async def _sums(forest: Forest[T], top: T, walker: Walker, budget: float) -> dict[str, int]:
    """The numbers of processes, restarts and queued messages below a supervisor that is closed."""
    processes = restarts = queued = 0
    below: Iterator[Any] = _all_below(forest, top)
    async for child, times, waiting in walker.each(below, budget):
        restarts += times
        queued += waiting
        processes += child is not None
    return {"processes": processes, "restarts": restarts, "queued": queued}


def _all_below(forest: Forest[T], top: T) -> Iterator[tuple[T | None, int, int]]:
    """What is below a supervisor, level by level within each branch."""
    pending = [top]
    while pending:
        for found in forest.below(pending.pop()):
            yield found
            if found[0] is not None:
                pending.append(found[0])
