"""Notes: what is kept of an event until somebody reads it.

A supervisor restarts a child within microseconds, and few of these events are ever looked at. So an event
that is kept is a tuple at first: its class, its number, its time and its fields. The record is made of it
when the timeline is read, or somebody has subscribed to its kind. A note holds as little as the record does:
of a process of this node the number and the name that it had, and of a reason that holds nothing its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.observing.events.light_ref import LightRef
from enfilade.actors.observing.events.reasons import EMPTY, Why, why
from enfilade.actors.observing.events.records import Event
from enfilade.actors.processes.local_ref import LocalRef

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Note", "NotedRef", "note_of", "note_of_reason", "read"]

Note = tuple[Any, ...]
"""The class of an event, its number, its time, and its fields."""


class NotedRef(tuple[int, str | None]):
    """A process of this node: its number, and the name or label that it had."""

    __slots__ = ()


class NotedReason(tuple[type[Reason], Any]):
    """A reason that holds nothing: its kind, and who asked for the end, as a note."""

    __slots__ = ()


def note_of(ref: Ref[Any] | None) -> Any:
    """The note of a ref; one to a process elsewhere holds none, and stays as it is."""
    if not isinstance(ref, LocalRef):
        return ref
    process = ref._process
    return NotedRef((process.serial, process.name or process.label))


def note_of_reason(reason: Reason) -> Any:
    """The note of a reason. Never raises."""
    kind = type(reason)
    if type(kind) is not type or kind not in EMPTY:  # see `why`
        return why(reason)
    return NotedReason((kind, note_of(reason.by)))


def read(note: Event | Note, node: Node) -> Event:
    """Make the record of an event that a node has noted, or return the one that is made already."""
    if not isinstance(note, tuple):
        return note
    made: type[Event] = note[0]
    number, at, *fields = note[1:]
    return made(number, at, node.full_name, *(_read(field, node) for field in fields))


def _read(field: Any, node: Node) -> Any:
    if type(field) is NotedRef:
        return LightRef(node, *field)
    if type(field) is NotedReason:
        kind, by = field
        return Why(*EMPTY[kind], _read(by, node))
    return field
