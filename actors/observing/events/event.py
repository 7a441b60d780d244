"""The base of the events of a node."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from enfilade.actors.messages.safe_text import safe_record

__all__ = ["Event"]

LONGEST: Final = 100_000
"""Characters of an event that are shown."""


@attrs.frozen(eq=False, repr=False)
class Event:
    """The base of all events. It compares and shows them, as methods that attrs writes take time.

    Attributes:
        kind: which kind of event it is, such as "child.started".
        number: counts the events of the node.
        at: when it happened, on the clock of the node's trio run.
        node: the full name of the node.
    """

    kind: ClassVar[str] = ""

    number: int
    at: float
    node: str

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return attrs.astuple(self, recurse=False) == attrs.astuple(other, recurse=False)

    def __hash__(self) -> int:
        return hash((type(self), attrs.astuple(self, recurse=False)))

    def __repr__(self) -> str:
        return safe_record(self, LONGEST)
