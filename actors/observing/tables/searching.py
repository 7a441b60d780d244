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
from enfilade.actors.observing.protocol.matching import Match, Term, text_of
from enfilade.actors.observing.tables.rows import VALUES
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import actor_name, supervisor_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.observing.measurements.counting import Counts
    from enfilade.actors.processes.body import Body
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
    """Looks for a text in what names a process: name, label, class, kind, id as a child, method at hand."""

    def __init__(self, fits: Callable[[str], bool]) -> None:
        self._fits = fits
        self._kinds: dict[type, bool] = {}
        self._classes: dict[int, tuple[type, bool]] = {}  # by address: its metaclass may forbid to hash one
        self._parent: Ref[Any] | None = None
        self._supervisor: Process | None = None

    def __call__(self, process: Process) -> bool:
        fits, name, label, body = self._fits, process.name, process.label, process.body
        if name and fits(text_of(name)):
            return True
        if label and fits(safe_str(label)):
            return True
        known = self._classes.get(id(type(body.actor)))
        if self._is_in_class(process) if known is None else known[1]:
            return True
        is_of_kind = self._kinds.get(type(body))
        if self._is_in_kind(body) if is_of_kind is None else is_of_kind:
            return True
        if process.parent.serial and self._is_in_id(process):
            return True
        return (process.at_hand is not None or not process.idle) and self._is_in(METHOD(process))

    def _is_in(self, text: str | None) -> bool:
        return bool(text) and self._fits(text_of(text))

    def _is_in_class(self, process: Process) -> bool:
        found, kind = self._is_in(actor_name(process)), type(process.body.actor)
        if issubclass(kind, Actor) and len(self._classes) < CLASSES:
            self._classes[id(kind)] = kind, found
        return found

    def _is_in_kind(self, body: Body) -> bool:
        found = self._kinds[type(body)] = self._is_in(body.kind)
        return found

    def _is_in_id(self, process: Process) -> bool:
        parent, supervisor = process.parent, self._supervisor
        if parent is not self._parent or (supervisor is not None and supervisor.ended is not None):
            self._parent, self._supervisor = parent, supervisor_of(process)
            supervisor = self._supervisor
        if supervisor is None:
            return False
        child_id = supervisor.body.place_of(process.ref)[0]
        return child_id is not None and self._is_in(safe_id(child_id))
