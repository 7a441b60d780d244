"""The supervision tree, as it is looked at: branches in order, closed ones with the sums of what is below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.rows import shown_ref, state_of
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.supervision.supervisor_body import SupervisorBody

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.views import TreeView
    from enfilade.actors.observing.walker import Walker
    from enfilade.actors.processes.process import Process

__all__ = ["branches_of"]


async def branches_of(node: Node, view: TreeView, walker: Walker, budget: float) -> dict[str, Any]:
    """The branches that `view` asks for, from the top down, and whether there are more."""
    serial = view.root
    if serial is None and node.root is not None:
        serial = node.root.serial
    top = None if serial is None else node.processes.get(serial)
    branches: list[dict[str, Any]] = []
    if top is None:
        return {"branches": branches, "is_cut": False}
    opened = set(view.open)
    pending: list[tuple[Process | None, dict[str, Any], int]] = [(top, {"id": top.name or "root"}, 0)]
    while pending and len(branches) < view.count:
        process, place, depth = pending.pop()
        branch = {**place, "depth": depth, "process": None if process is None else process.serial}
        branches.append(branch)
        if process is None:
            continue
        branch.update(actor=actor_name(process), name=process.name, queued=len(process.queue))
        branch["process_state"] = state_of(process)
        children = children_of(process)
        if children is None:
            continue
        branch["children"] = len(children)
        branch["open"] = process.serial in opened and depth < view.depth
        if branch["open"]:
            pending += reversed([(child, shown, depth + 1) for child, shown in children])
        else:
            branch["below"] = await _sums(process, walker, budget)
    return {"branches": branches, "is_cut": bool(pending)}


def children_of(process: Process) -> list[tuple[Process | None, dict[str, Any]]] | None:
    """The children of a supervisor: the process of each, if it has one here, and its place; None for another
    kind of process.
    """
    body = process.body
    if not isinstance(body, SupervisorBody) or not hasattr(body, "strategy"):
        return None
    found: list[tuple[Process | None, dict[str, Any]]] = []
    for record in body.strategy.children:
        child = process_of(record.ref)
        child_id = body.strategy.children.info(record).id
        place: dict[str, Any] = {
            "id": None if child_id is None else safe_str(child_id),
            "restart": record.spec.restart,
            "type": record.spec.type,
            "restarts": record.restarts,
            "state": record.status.value,
        }
        if record.ref is not None and child is None:
            place["elsewhere"] = shown_ref(record.ref)
        found.append((child, place))
    return found


async def _sums(top: Process, walker: Walker, budget: float) -> dict[str, int]:
    """The numbers of processes, restarts and queued messages below a supervisor that is closed."""
    sums = {"processes": 0, "restarts": 0, "queued": 0}
    pending = [top]

    async for supervisor in walker.each(_drained(pending), budget):
        for child, place in children_of(supervisor) or ():
            sums["restarts"] += place["restarts"]
            if child is not None and child.ended is None:
                sums["processes"] += 1
                sums["queued"] += len(child.queue)
                pending.append(child)
    return sums


def _drained(pending: list[Process]) -> Any:
    while pending:
        yield pending.pop()
