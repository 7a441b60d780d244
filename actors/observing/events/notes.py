"""Notes: what is kept of an event until somebody reads it.

A supervisor restarts a child within microseconds, and few of these events are ever looked at. So an event
that is kept is a tuple at first: its class, its number, its time, and its fields as they are noted. The
record is made of it when the timeline is read, or somebody has subscribed to its kind. A note holds as little
as the record does. Its fields are one plain tuple, which is made fastest; their names tell how to read them.
A ref takes two places: the number and the name that a process of this node had. A reason takes three: its
kind if that holds nothing, and the two places of who asked for the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.observing.events.light_ref import LightRef
from enfilade.actors.observing.events.reasons import EMPTY, Why, why
from enfilade.actors.observing.events.records import Event
from enfilade.actors.processes.local_ref import LocalRef

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Note", "note_of", "note_of_both", "note_of_reason", "noted", "read"]

Note = tuple[type[Event], int, float, tuple[Any, ...]]
"""The class of an event, its number, its time, and its fields."""

NotedRef = tuple[Any, str | None]
"""A process of this node: its number, and the name or label that it had; or another ref, and None."""

NotedReason = tuple[Any, Any, str | None]
"""The kind of a reason, and the note of who asked for the end; or a `Why`, None and None."""


def noted(process: Process) -> NotedRef:
    """The note of the ref of a process of this node."""
    return process.serial, process.name or process.label


def note_of(ref: Ref[Any] | None) -> NotedRef:
    """The note of a ref; one to a process elsewhere holds none, and stays as it is."""
    if not isinstance(ref, LocalRef):
        return ref, None
    process = ref._process
    return process.serial, process.name or process.label


def note_of_both(supervisor: Process, ref: Ref[Any]) -> tuple[int, str | None, Any, str | None]:
    """`noted` and `note_of` in one: two calls fewer for each restart, a fiftieth of it."""
    by, by_name = supervisor.serial, supervisor.name or supervisor.label
    if type(ref) is not LocalRef:
        return by, by_name, *note_of(ref)
    process = ref._process
    return by, by_name, process.serial, process.name or process.label


def note_of_reason(reason: Reason) -> NotedReason:
    """The note of a reason. Never raises."""
    kind = type(reason)
    if type(kind) is not type or kind not in EMPTY:  # see `why`
        return why(reason), None, None
    by = reason.by
    if type(by) is not LocalRef:
        return kind, *note_of(by)
    process = by._process
    return kind, process.serial, process.name or process.label


def read(note: Event | Note, node: Node) -> Event:
    """Make the record of an event that a node has noted, or return the one that is made already."""
    if not isinstance(note, tuple):
        return note
    made, number, at, fields = note
    names: tuple[str, ...] = made.__match_args__[3:]
    places = iter(fields)
    return made(number, at, node.full_name, *(_read(name, places, node) for name in names))


def _read(name: str, places: Iterator[Any], node: Node) -> Any:
    """Read the next field, of that name."""
    value = next(places)
    if name in ("supervisor", "ref", "old"):
        shown = next(places)
        return LightRef(node, value, shown) if type(value) is int else value
    if name == "reason" and type(value) is not str:  # that of a node link is a text, in one place
        by = _read("ref", places, node)
        return Why(*EMPTY[value], by) if isinstance(value, type) else value
    return value
