"""Entries of other nodes: what a supervisor can start elsewhere, and where.

Code does not travel. A node gives names, its `entries`, to what its peers may start on it, and its policy
says which of them may start which. A `RemoteEntry` names one of those, and the nodes that are good for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal, get_args

import attrs

from enfilade.actors.supervision.bad_field import BadField

__all__ = ["Absent", "InvalidEntry", "Place", "RemoteEntry"]


Absent = Literal["wait", "fail"]
Place = Literal["first", "spread", "least_loaded", "hash", "local"]


class InvalidEntry(BadField):
    """A field of a `RemoteEntry` has a bad value; `field` and `value` say which and what."""

    what = "remote entry field"


@attrs.frozen(init=False)
class RemoteEntry:
    """An entry of another node: the target of a child that lives elsewhere.

    `Child(RemoteEntry("Ledger", "bank@east", "bank@west"), 100, id="ledger")`: the arguments follow, as for
    any child, and must be able to travel.

    Attributes:
        entry: the name under which those nodes export it (`open_node(entries=...)`).
        nodes: shell patterns of their names, `name@zone`, in order of preference. A child stays where it is
            until it ends.
        labels: words that the node must have, all of them (`Mesh.labels`).
        place: which of the nodes that are there a start tries first. "first": the one whose pattern comes
            first; "spread": the one with the fewest children of this supervisor, and of those the least
            loaded; "least_loaded": the less loaded of two at random; "hash": one that the child's id decides,
            and that stays the same while it is there; "local": one on the supervisor's machine, if there is
            one. If the start finds nobody there, the next one is tried.
        absent: what it means that none of them is there. "wait": the supervisor goes on without the child,
            and starts it when one of them is; "fail": it is a start that failed.

    Raises:
        InvalidEntry: a field has a bad value.
    """

    entry: str
    nodes: tuple[str, ...]
    absent: Absent
    labels: tuple[str, ...] = ()
    place: Place = "first"

    def __init__(
        self,
        entry: str,
        *nodes: str,
        labels: Iterable[str] = (),
        place: Place = "first",
        absent: Absent = "wait",
    ) -> None:
        if not isinstance(entry, str) or not entry:
            raise InvalidEntry("entry", entry, "the name of an entry")
        if not nodes:
            raise InvalidEntry("nodes", nodes, "the names of one or more nodes")
        for node in nodes:
            if not isinstance(node, str) or not all(_parts(node)):
                raise InvalidEntry("nodes", node, "the name of a node, name@zone, or a pattern of it")
        words = tuple(labels) if _is_words(labels) else None
        if words is None:
            raise InvalidEntry("labels", labels, "a list of words")
        if place not in get_args(Place):
            raise InvalidEntry("place", place, "one of " + ", ".join(get_args(Place)))
        if absent not in get_args(Absent):
            raise InvalidEntry("absent", absent, "one of " + ", ".join(get_args(Absent)))
        self.__attrs_init__(entry, nodes, absent, words, place)

    @property
    def __name__(self) -> Any:
        """The entry's name: the id of a child that was given none."""
        return self.entry


def _is_words(labels: object) -> bool:
    """Tell whether these are labels: a text by itself would be taken for its letters."""
    if isinstance(labels, str) or not isinstance(labels, Collection):
        return False
    return all(isinstance(each, str) and each for each in labels)


def _parts(node: str) -> tuple[str, str]:
    name, _, zone = node.partition("@")
    return name, zone
