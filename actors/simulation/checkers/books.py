"""Both ends of a node link have the same in their books: what one waits for, the other is about to give.

What travels at the moment is in the books of one end only. So they are compared twice, with some time in
between: only what one end alone has had all the time is missing, or left over, at the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Mismatch", "check_books", "mismatches"]

End: TypeAlias = tuple[str, int]
"""The full name of a node and its incarnation."""


@attrs.frozen
class Mismatch:
    """An entry that one end of a node link has and the other has not.

    Attributes:
        here: the end that has it.
        there: the other.
        what: it is, in words.
        key: tells it from others of its kind, for as long as the node link lasts.
    """

    here: End
    there: End
    what: str
    key: object

    def __str__(self) -> str:
        return f"{self.here[0]} has {self.what} {self.key}, of which {self.there[0]} knows nothing"


def mismatches(nodes: Iterable[Node]) -> set[Mismatch]:
    """The entries in the books of ends of node links between these nodes that the other ends lack."""
    books: dict[tuple[End, End], Any] = {}
    for node in nodes:
        here = (node.full_name, node.incarnation)
        distribution: Any = node.distribution
        for remote in distribution.remotes():
            books[here, (remote.node_name, remote.incarnation)] = remote.ledger
    found: set[Mismatch] = set()
    for (here, there), mine in books.items():
        theirs = books.get((there, here))
        if theirs is not None:
            found.update(Mismatch(here, there, what, key) for what, key in _missing(mine, theirs))
    return found


def check_books(nodes: Iterable[Node], before: set[Mismatch]) -> None:
    """Compare the books of all node links once more.

    Args:
        nodes: those of a world that has calmed down.
        before: what was found some time ago.

    Raises:
        AssertionError: what one end alone has had all the time.
    """
    for left in sorted(map(str, mismatches(nodes) & before)):
        raise AssertionError(f"books: {left}")


def _missing(mine: Any, theirs: Any) -> Iterator[tuple[str, object]]:
    """What one end has in its books that the other must have, too, and has not."""
    for number in mine.calls.keys() - theirs.answering.keys():
        yield "the call", number
    for number in mine.answering.keys() - theirs.calls.keys():
        yield "the call to answer", number
    for number in mine.monitors.keys() - theirs.watched.keys():
        yield "the monitor", number
    for number in mine.watched.keys() - theirs.monitors.keys():
        yield "the watched process", number
    for number in mine.spawning.keys() - theirs.asked.keys():
        yield "the start", number
    mirrored = {(remote, local) for local, remote in theirs.links}
    for pair in mine.links.keys() - mirrored:
        yield "the link", pair
