"""The processes and the tree of a node as lists: what `enfilade zone ps` and `enfilade zone tree` ask for."""

from typing import Any, Final

import attrs

from enfilade.actors.messages.errors import CallError
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import identity_of
from enfilade.actors.processes.process import Process
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.transport.records import register

__all__ = ["Branch", "Listing", "ProcessEntry"]

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


class Listing(Actor):
    """An actor that lists the processes of its node."""

    def processes(self) -> list[ProcessEntry]:
        """All processes of the node, oldest first."""
        return [_entry(process) for process in self.process.node.processes.values()]

    @property
    def asker(self) -> str:
        """The name of the node whose request is being handled."""
        call: Any = self.process.at_hand
        return getattr(call, "peer", None) or self.process.node.full_name

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


def _id_of(id: object) -> str:  # noqa: A002 (the field's name)
    """An id as text; children of dynamic supervisors have none."""
    return "-" if id is None else safe_id(id)


def _entry(process: Process) -> ProcessEntry:
    identity = identity_of(process)
    parent = None
    if identity.parent.serial:  # that of the node is 0
        is_here = identity.parent.node_name == process.node.full_name
        parent = f"{identity.parent.serial}" if is_here else safe_str(identity.parent)
    return ProcessEntry(
        serial=process.serial,
        name=told(process.name),
        label=told(process.label),
        kind=process.body.kind,
        queued=len(process.queue),
        actor=identity.actor,
        child=None if identity.child_id is None else safe_id(identity.child_id),
        parent=parent,
    )
