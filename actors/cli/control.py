"""The processes of a node that `enfilade zone run` started that answer the requests of operators.

They are ordinary processes with reserved names, and peers reach them as they reach any other: by the policy.
A pattern such as `*` among a peer's exports does not include them; only `observe = true` and `control = true`
do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from enfilade.actors.messages.errors import CallError, UpgradeFailed
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import identity_of
from enfilade.actors.processes.process import Process
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.policy import CONTROL, OBSERVE
from enfilade.transport.records import register

__all__ = ["CONTROL", "OBSERVE", "Branch", "Control", "Observe", "ProcessEntry"]

PATIENCE: Final = 1.0
"""Seconds that a supervisor has to name its children."""


@attrs.frozen
class ProcessEntry:
    """One process, as `enfilade zone ps` lists it.

    Attributes:
        serial: its number on the node.
        name: the name it is registered under; None.
        label: its label; None.
        kind: "actor", "supervisor", "function", "guest", "mailbox", "starting" or "ending".
        queued: how many messages wait in its mailbox.
        actor: what it runs: the name of its class or function; None for the mailbox of plain code.
        child: its id under its supervisor, as text; None.
        parent: the process that spawned it: its serial, or its ref if it lives on another node; None if the
            node's own code did.
    """

    serial: int
    name: str | None
    label: str | None
    kind: str
    queued: int
    actor: str | None = None
    child: str | None = None
    parent: str | None = None


@attrs.frozen
class Branch:
    """One place in the supervision tree, as `enfilade zone tree` draws it.

    Attributes:
        id: the id of its specification, as text; the name of the root.
        state: "running", "restarting", "stopped", "silent" for a supervisor that names no children now or is
            ending with them, or "elsewhere" for a child on another node.
        restart: "permanent", "transient", "temporary"; None for the root.
        process: what runs there; None when nothing does, or on another node.
        children: what is below.
        node: the other node of a child that lives elsewhere; None.
    """

    id: str
    state: str
    restart: str | None
    process: ProcessEntry | None
    children: "list[Branch]"
    node: str | None = None


register(ProcessEntry, name="enfilade.cli.ProcessEntry")
register(Branch, name="enfilade.cli.Branch")


class Observe(Actor):
    """The process that answers those who may look at the node, and no more."""

    def processes(self) -> list[ProcessEntry]:
        """All processes of the node, oldest first."""
        return [_entry(process) for process in self.process.node.processes.values()]

    async def tree(self) -> Branch | None:
        """The supervision tree from its root; None before it has started and after it has ended."""
        root = self.process.node.root
        return None if root is None else await self._branch("root", root, None)

    async def _branch(self, id: str, ref: Any, restart: str | None) -> Branch:  # noqa: A002 (the field's name)
        if not isinstance(ref, Ref):
            return Branch(id, "restarting" if ref == "restarting" else "stopped", restart, None, [])
        node = self.process.node
        if ref.node_name != node.full_name:
            return Branch(id, "elsewhere", restart, None, [], ref.node_name)
        process = node.processes.get(ref.serial)
        if process is None:
            return Branch(id, "stopped", restart, None, [])
        entry = _entry(process)
        if entry.kind == "ending":  # it ends its children, and answers no more
            return Branch(id, "silent", restart, entry, [])
        if entry.kind != "supervisor":
            return Branch(id, "running", restart, entry, [])
        try:
            children = await ref.within(PATIENCE).call(Supervisor.children)
        except CallError:  # it starts or stops a child, or has ended meanwhile
            return Branch(id, "silent", restart, entry, [])
        below = [await self._branch(_id_of(child.id), child.ref, child.restart) for child in children]
        return Branch(id, "running", restart, entry, below)


class Control(Observe):
    """The control process.

    Args:
        order_stop: orders the node's shutdown, and returns at once.
    """

    __slots__ = ("_order_stop",)

    def __init__(self, order_stop: Callable[[], None]) -> None:
        self._order_stop = order_stop

    def stop(self) -> None:
        """Order the node's shutdown. The answer says that it was ordered, not that it is done."""
        self._order_stop()

    async def upgrade(self, name: str, module: str, timeout: float) -> str | None:
        """Move the guest of that name to another module; see `enfilade.actors.guests.upgrade_guest`.

        Args:
            name: the guest's registered name.
            module: the path of the new module, as this node sees it.
            timeout: seconds for it.

        Returns:
            why the guest goes on as it was, or None if it has moved.
        """
        from enfilade.actors.guests.upgrade import upgrade_guest

        node = self.process.node
        ref = node.whereis(name)
        if ref is None:
            return f"no process of this node has the name {name!r}"
        try:
            await upgrade_guest(ref, Path(module), timeout=timeout)
        except (UpgradeFailed, TypeError) as error:
            return str(error)
        return None


def _id_of(id: object) -> str:  # noqa: A002 (the field's name)
    """An id as text; children of dynamic supervisors have none."""
    return "-" if id is None else str(id)


def _entry(process: Process) -> ProcessEntry:
    identity = identity_of(process)
    parent = None
    if identity.parent.serial:  # that of the node is 0
        is_here = identity.parent.node_name == process.node.full_name
        parent = str(identity.parent.serial) if is_here else str(identity.parent)
    return ProcessEntry(
        serial=process.serial,
        name=process.name,
        label=process.label,
        kind=process.body.kind,
        queued=len(process.queue),
        actor=identity.actor,
        child=None if identity.child_id is None else safe_str(identity.child_id),
        parent=parent,
    )
