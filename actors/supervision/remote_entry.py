"""Entries of other nodes: what a supervisor can start elsewhere, and where.

Code does not travel. A node gives names, its `entries`, to what its peers may start on it, and its policy
says which of them may start which. A `RemoteEntry` names one of those, and the nodes that are good for it.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import attrs

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["Absent", "InvalidEntry", "RemoteEntry"]


Absent = Literal["wait", "fail"]


class InvalidEntry(RuntimeFault, ValueError):
    """A field of a `RemoteEntry` has a bad value; `field` and `value` say which and what."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(
            f"remote entry field {safe_repr(field)} is {safe_repr(value)}; it must be {expected}"
        )
        self.field = field
        self.value = value


@attrs.frozen(init=False)
class RemoteEntry:
    """An entry of another node: the target of a child that lives elsewhere.

    `Child(RemoteEntry("Ledger", "bank@east", "bank@west"), 100, id="ledger")`: the arguments follow, as for
    any child, and must be able to travel.

    Attributes:
        entry: the name under which those nodes export it (`open_node(entries=...)`).
        nodes: their names, `name@zone`, in order of preference: a start takes the first that is connected. A
            child stays where it is until it ends.
        absent: what it means that none of them is connected. "wait": the supervisor goes on without the
            child, and starts it when one of them is; "fail": it is a start that failed.

    Raises:
        InvalidEntry: a field has a bad value.
    """

    entry: str
    nodes: tuple[str, ...]
    absent: Absent

    def __init__(self, entry: str, *nodes: str, absent: Absent = "wait") -> None:
        if not isinstance(entry, str) or not entry:
            raise InvalidEntry("entry", entry, "the name of an entry")
        if not nodes:
            raise InvalidEntry("nodes", nodes, "the names of one or more nodes")
        for node in nodes:
            if not isinstance(node, str) or not all(_parts(node)):
                raise InvalidEntry("nodes", node, "the name of a node, name@zone")
        if absent not in get_args(Absent):
            raise InvalidEntry("absent", absent, "one of " + ", ".join(get_args(Absent)))
        self.__attrs_init__(entry, nodes, absent)

    @property
    def __name__(self) -> Any:
        """The entry's name: the id of a child that was given none."""
        return self.entry


def _parts(node: str) -> tuple[str, str]:
    name, _, zone = node.partition("@")
    return name, zone
