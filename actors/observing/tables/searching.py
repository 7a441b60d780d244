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
from enfilade.actors.supervision.children import DynamicChildren

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
        return _TextSearch(term.fits).finds
    read, fits = reader(term.column, counts), term.fits
    return lambda process: fits(read(process))


class _TextSearch:
    """Looks for a text in the columns that name a process.

    Those of `SEEN` are looked at here in one go, in a way that is quicker than to make the values of a row,
    and others of `TEXTS` that processes have by those values.
    """

    def __init__(self, fits: Callable[[str], bool]) -> None:
        self._fits = fits
        self._known: dict[int, tuple[type, type, bool]] = {}  # by address: a class may not be hashed at all
        self._kind, self._body, self._is_kind_found = type(self), type(self), False  # those looked at last
        self._parent: Ref[Any] | None = None
        self._supervisor: Process | None = None
        self._others = tuple(VALUES[column] for column in TEXTS if column in VALUES and column not in SEEN)

    def finds(self, process: Process) -> bool:
        """Tell whether the text is in one of the columns of a process."""
        fits = self._fits
        name, label = process.name, process.label
        if (name is not None and fits(text_of(name))) or (label is not None and fits(safe_str(label))):
            return True
        body = process.body
        kind = type(body.actor)
        if kind is self._kind and type(body) is self._body:
            if self._is_kind_found:
                return True
        elif self._is_in_class(process):
            return True
        callers, supervisor = process.callers, self._supervisor
        if (callers[0] if callers else None) is not self._parent or (
            supervisor is not None and supervisor.ended is not None
        ):
            supervisor = self._find_supervisor(process)
        if supervisor is not None and self._is_in_id(supervisor, process):
            return True
        if (process.at_hand is not None or not process.idle) and self._is_in(METHOD(process)):
            return True
        return bool(self._others) and any(self._is_in(value(process)) for value in self._others)

    def _is_in(self, text: str | None) -> bool:
        return bool(text) and self._fits(text_of(text))

    def _is_in_class(self, process: Process) -> bool:
        """Look at the class and at the kind of the body, which many processes share."""
        body = process.body
        kind = type(body.actor)
        known = self._known.get(id(kind))
        if known is None or known[1] is not type(body):
            found = self._is_in(actor_name(process)) or self._is_in(body.kind)
            if not issubclass(kind, Actor) or len(self._known) >= CLASSES:
                return found
            known = self._known[id(kind)] = kind, type(body), found
        self._kind, self._body, self._is_kind_found = known
        return known[2]

    def _find_supervisor(self, process: Process) -> Process | None:
        """Find the supervisor of a process, and of those after it that have the same parent: None, too, if
        it gives its children no ids.
        """
        self._parent = process.callers[0] if process.callers else None
        found = supervisor_of(process)
        if found is not None and (
            not found.body.supervises or isinstance(found.body.strategy.children, DynamicChildren)
        ):
            found = None
        self._supervisor = found
        return found

    def _is_in_id(self, supervisor: Process, process: Process) -> bool:
        child = supervisor.body.strategy.children.running(process.ref)
        return child is not None and child.id is not None and self._is_in(safe_id(child.id))


SEEN: Final = frozenset({"name", "label", "actor", "kind", "child_id", "method"})
"""The columns that a search looks at in a quicker way than by the value of a row."""
