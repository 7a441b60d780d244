"""The identity of a process, for people: what it runs, and whose child it is."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.safe_text import safe_record, safe_repr, shown_name
from enfilade.actors.processes.actor import Actor

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.process import Process

__all__ = ["Identity", "actor_name", "identity_of", "supervisor_of", "target_name"]


@attrs.frozen
class Identity:
    """The identity of a process at one moment.

    Attributes:
        ref: the process.
        name: its registered name; after its end the one that it had.
        label: its label.
        actor: the name of its class, or of the function or description that it was spawned from; None for
            the mailbox of plain code.
        parent: the process that spawned it, or the ref of the node.
        supervisor: its parent, if that is a supervisor.
        child_id: its id there; None under a dynamic supervisor.
        restarts: how often that supervisor has restarted it.
    """

    ref: Ref[Any]
    name: str | None
    label: str | None
    actor: str | None
    parent: Ref[Any]
    supervisor: Ref[Any] | None
    child_id: Hashable
    restarts: int

    __repr__ = safe_record

    def __str__(self) -> str:
        """Say what the ref does not: `Counter, child 'counter' of <bank@local:7 root>`."""
        parts = [self.actor or "mailbox"]
        label = safe_repr(self.label)
        if self.name and self.label is not None and label not in ("''", safe_repr(self.name)):
            parts.append(f"label {label}")
        if self.supervisor is not None:
            child_id = "" if self.child_id is None else f" {safe_repr(self.child_id)}"
            parts.append(f"child{child_id} of {self.supervisor}")
        elif self.parent.serial:  # that of a node is 0
            parts.append(f"started by {self.parent}")
        return ", ".join(parts)


def identity_of(process: Process) -> Identity:
    """The identity of a process, which may have ended. Not a checkpoint, never raises."""
    supervisor = supervisor_of(process)
    child_id, restarts = (None, 0) if supervisor is None else supervisor.body.place_of(process.ref)
    return Identity(
        ref=process.ref,
        name=process.name,
        label=process.label,
        actor=actor_name(process),
        parent=process.parent,
        supervisor=None if supervisor is None else supervisor.ref,
        child_id=child_id,
        restarts=restarts,
    )


def supervisor_of(process: Process) -> Process | None:
    """The parent of `process`, if that is a supervisor of this node and has not ended."""
    parent = process.node.processes.get(process.parent.serial)
    extras = None if parent is None or parent.ref != process.parent else parent.extras_or_none
    return None if extras is None or extras.arena is None else parent  # which only supervisors have


def actor_name(process: Process) -> str | None:
    """The name of what `process` runs, or ran: a class, a function, what else was spawned. Never raises."""
    actor = process.body.actor
    if issubclass(type(actor), Actor):
        return shown_name(type(actor))
    target = process.target
    return target if target is None or type(target) is str else target_name(target)


def target_name(target: Any) -> str:
    """The name of a target of `spawn`, without its arguments. Never raises."""
    while type(target) is functools.partial:
        target = target.func
    kind = type(target)
    is_named = kind is FunctionType or kind is type or (callable(target) and _is_named(target))
    return shown_name(target if is_named else type(target))


@attempt(False)
def _is_named(target: Any) -> bool:
    return is_a(target, type) or hasattr(target, "__qualname__")
