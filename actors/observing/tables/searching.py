"""Searches for processes: matches whose terms read a process itself, and not a row that was made of it.

A filter that somebody types is tried on each of a hundred thousand processes. So what many of them share,
the class and the kind, is looked at once, and what most of them lack is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.protocol.columns import COUNTED
from enfilade.actors.observing.protocol.matching import TEXTS, Match, Term, text_of
from enfilade.actors.observing.tables.rows import VALUES
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import actor_name, supervisor_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.observing.measurements.counting import Counts
    from enfilade.actors.processes.process import Process

__all__ = ["reader", "search"]

Search = Callable[["Process"], bool]

CLASSES: Final = 1_024
"""How many classes are remembered, with what was found in their names."""

METHOD: Final = VALUES["method"]


def search(match: str, counts: Counts) -> Search | None:
    """Make the search of a match.

    Args:
        match: see `Match`.
        counts: tells those columns that are counted.

    Returns:
        What tells whether a process is shown; None if each is.

    Raises:
        ValueError: see `Match`.
    """
    searches = [_search_of(term, counts) for term in Match(match).terms]
    if len(searches) < 2:
        return searches[0] if searches else None
    return lambda process: all(each(process) for each in searches)


def reader(column: str, counts: Counts) -> Callable[[Process], Any]:
    """The function that reads a column of a living process; it finds None where there is no such column."""
    return counts.reader(column) if column in COUNTED else VALUES.get(column, _nothing)


def _nothing(process: Process) -> None:
    return None


def _search_of(term: Term, counts: Counts) -> Search:
    if term.column is None:
        return _TextSearch(term.fits)
    read, fits = reader(term.column, counts), term.fits
    return lambda process: fits(read(process))


class _TextSearch:
    """Looks for a text in the columns that name a process.

    Each column of `TEXTS` that processes have is looked at in turn: some in a way that is quicker than to
    make the value of a row, the others by that value.
    """

    def __init__(self, fits: Callable[[str], bool]) -> None:
        self._fits = fits
        self._known: dict[int, tuple[type, type, bool]] = {}  # by address: a class may not be hashed at all
        self._parent: Ref[Any] | None = None
        self._supervisor: Process | None = None
        columns = [column for column in TEXTS if column in VALUES]
        self._looks = tuple(dict.fromkeys(map(self._look_at, columns)))

    def __call__(self, process: Process) -> bool:
        for look in self._looks:  # noqa: SIM110 (a generator for each process costs as much as a look)
            if look(process):
                return True
        return False

    def _look_at(self, column: str) -> Search:
        """The look at a column."""
        quick = QUICK.get(column)
        if quick is not None:
            found: Search = getattr(self, quick)
            return found
        value = VALUES[column]
        return lambda process: self._is_in(value(process))

    def _is_in(self, text: str | None) -> bool:
        return bool(text) and self._fits(text_of(text))

    def in_name(self, process: Process) -> bool:
        name = process.name
        return name is not None and self._fits(text_of(name))

    def in_label(self, process: Process) -> bool:
        label = process.label
        return label is not None and self._fits(safe_str(label))

    def in_class_or_kind(self, process: Process) -> bool:
        body = process.body
        known = self._known.get(id(type(body.actor)))
        if known is not None and known[1] is type(body):
            return known[2]
        found, kind = self._is_in(actor_name(process)) or self._is_in(body.kind), type(body.actor)
        if issubclass(kind, Actor) and len(self._known) < CLASSES:
            self._known[id(kind)] = kind, type(body), found
        return found

    def in_id(self, process: Process) -> bool:
        parent, supervisor = process.parent, self._supervisor
        if parent is not self._parent or (supervisor is not None and supervisor.ended is not None):
            self._parent, self._supervisor = parent, supervisor_of(process)
            supervisor = self._supervisor
        if supervisor is None or not supervisor.body.supervises:
            return False
        child = supervisor.body.strategy.children.running(process.ref)
        return child is not None and child.id is not None and self._is_in(safe_id(child.id))

    def in_method(self, process: Process) -> bool:
        return (process.at_hand is not None or not process.idle) and self._is_in(METHOD(process))


QUICK: Final = {
    "name": "in_name",
    "label": "in_label",
    "actor": "in_class_or_kind",
    "kind": "in_class_or_kind",
    "child_id": "in_id",
    "method": "in_method",
}
"""The methods of a search that look at a column in a quicker way than by the value of a row."""
