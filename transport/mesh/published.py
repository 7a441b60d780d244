"""Published scopes: tables that each node of a mesh keeps for itself, and that all others have copies of.

A table has rows, each a list under a key, and a version that grows with each change. A change is published
once for all nodes. Versions go with heart-beats and announcements, so a node whose copy is of another version
soon knows, and asks for the whole table, page by page. A node's tables are gone from the others when it is.

Beside its tables a node can say something once, to whoever hears it then: it is part of no version.

What keys and rows mean is the affair of whoever owns them: here they are bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Final, Protocol, TypeAlias

import attrs
import msgspec
import trio

from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.heartbeats import Heartbeats, Watch
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import Subjects, from_token

__all__ = ["PAGE_BYTES", "Published", "Reader", "Rows"]

Rows: TypeAlias = list[tuple[Annotated[int, msgspec.Meta(ge=0)], bytes]]
"""The rows under one key: a number of 63 bits and the proof that goes with it."""

PAGE_BYTES: Final = 48 * 1024
MOST_PAGES: Final = 256
"""Bytes of a page of a table, about, and pages of one table."""

ASKING_SECONDS: Final = 1.0
"""Time for a page to come before the table is asked for again."""

MOST_SCOPES: Final = 64
"""Scopes of one node that others follow."""


class Reader(Protocol):
    """The owner of the copies. Its methods must not block or raise."""

    def follows(self, node: str, incarnation: int, scope: str) -> bool:
        """Tell whether the table of a node is wanted."""
        ...

    def replaced(self, node: str, incarnation: int, scope: str, table: Mapping[bytes, Rows]) -> None:
        """Take note of a whole table; an empty one when the node has gone."""
        ...

    def changed(self, node: str, incarnation: int, scope: str, key: bytes, rows: Rows) -> None:
        """Take note of the rows under one key."""
        ...

    def said(self, node: str, incarnation: int, scope: str, key: bytes, what: bytes) -> None:
        """Take note of what a node says under a key."""
        ...


class _Change(msgspec.Struct, array_like=True):
    """The rows under one key; or what is said under it, once, with the version 0 and no rows."""

    incarnation: int
    version: int
    key: bytes
    rows: Rows
    said: bytes | None = None


class _Question(msgspec.Struct, array_like=True):
    incarnation: int
    page: int
    version: int = 0


class _Page(msgspec.Struct, array_like=True):
    incarnation: int
    version: int
    is_last: bool
    table: list[tuple[bytes, Rows]]


@attrs.define
class _Own:
    """A table of this node, and the pages of its present version once somebody has asked for one."""

    version: int = 0
    table: dict[bytes, Rows] = attrs.field(factory=dict)
    pages: list[list[tuple[bytes, Rows]]] = attrs.field(factory=list)


@attrs.define
class _Copy:
    """A copy of another node's table, and the question for a newer one."""

    version: int = 0
    asked_at: float | None = None
    forget: Callable[[], None] = lambda: None
    pages: list[_Page] = attrs.field(factory=list)


@attrs.define
class _Fellow:
    """A start of another node some of whose tables are followed."""

    watch: Watch
    copies: dict[str, _Copy] = attrs.field(factory=dict)


class Published:
    """The published tables of one node, and its copies of the others'.

    Args:
        connection: to the servers.
        subjects: of this node.
        heartbeats: of this node; those whose tables are followed are watched.
        reader: the owner of the copies.

    Attributes:
        ignored: messages that make no sense.
    """

    def __init__(
        self, connection: Connection, subjects: Subjects, heartbeats: Heartbeats, reader: Reader
    ) -> None:
        self.ignored = 0
        self._connection = connection
        self._subjects = subjects
        self._heartbeats = heartbeats
        self._reader = reader
        self._own: dict[str, _Own] = {}
        self._fellows: dict[str, _Fellow] = {}
        connection.subscribe(subjects.all_changes, self._heard_change)
        connection.subscribe(f"{subjects.tables}.>", self._heard_question)

    # What this node has.

    def versions(self) -> list[tuple[str, int]]:
        """Return the version of each table of this node."""
        return [(scope, own.version) for scope, own in self._own.items()]

    def set(self, scope: str, key: bytes, rows: Rows) -> None:
        """Replace the rows under one key, and tell the mesh."""
        own = self._own.setdefault(scope, _Own())
        own.version, own.pages = own.version + 1, []
        if rows:
            own.table[key] = rows
        else:
            own.table.pop(key, None)
        change = msgspec.msgpack.encode(_Change(self._subjects.incarnation, own.version, key, rows))
        if len(change) <= PAGE_BYTES:  # of a longer one the next heart-beat tells
            self._connection.publish(self._subjects.change_of(scope), change)

    def say(self, scope: str, key: bytes, what: bytes) -> None:
        """Say something under a key, to whoever hears it now."""
        said = _Change(self._subjects.incarnation, 0, key, [], what)
        self._connection.publish(self._subjects.change_of(scope), msgspec.msgpack.encode(said))

    def _heard_question(self, message: Message) -> None:
        try:
            scope = from_token(message.subject.split(".")[-2])
            question = decoded(message.payload, _Question)
        except (ValueError, IndexError):
            self.ignored += 1
            return
        own = self._own.get(scope)
        if own is None or not message.reply or question.incarnation != self._subjects.incarnation:
            return
        own.pages = own.pages or list(_pages(own.table))
        number = question.page if question.version in (0, own.version) else 0
        if 0 <= number < len(own.pages):
            is_last = number == len(own.pages) - 1
            page = _Page(self._subjects.incarnation, own.version, is_last, own.pages[number])
            self._connection.publish(message.reply, msgspec.msgpack.encode(page))

    # What others have.

    def told(self, node: str, incarnation: int, versions: Sequence[tuple[str, int]]) -> None:
        """Take note of the versions of a node's tables, and ask for those that are not known."""
        fellow = self._fellows.get(node)
        known = fellow.copies if fellow is not None and fellow.watch.incarnation == incarnation else {}
        for scope, version in versions[:MOST_SCOPES]:
            if scope in known and known[scope].version == version:
                continue
            if version > 0 and self._reader.follows(node, incarnation, scope):
                copy = self._copy(node, incarnation, scope)
                if copy.version != version:
                    self._ask(node, incarnation, scope, copy)

    def gone(self, node: str) -> None:
        """Take note that a node is not in the mesh any more. Harmless when repeated."""
        fellow = self._fellows.pop(node, None)
        if fellow is not None:
            self._heartbeats.unwatch(fellow.watch)
            for scope, copy in fellow.copies.items():
                copy.forget()
                self._reader.replaced(node, fellow.watch.incarnation, scope, {})

    def _copy(self, node: str, incarnation: int, scope: str) -> _Copy:
        """Return the copy of a table, an empty one at first; the node is watched from then on."""
        fellow = self._fellows.get(node)
        if fellow is None or fellow.watch.incarnation != incarnation:
            self.gone(node)
            watch = self._heartbeats.watch(node, incarnation, lambda _: self.gone(node))
            fellow = self._fellows[node] = _Fellow(watch)
        return fellow.copies.setdefault(scope, _Copy())

    def _ask(self, node: str, incarnation: int, scope: str, copy: _Copy) -> None:
        """Ask for a whole table, unless that was done a moment ago."""
        now = trio.current_time()
        if copy.asked_at is None or now - copy.asked_at >= ASKING_SECONDS:
            copy.pages = []
            self._ask_for_page(node, incarnation, scope, copy)

    def _ask_for_page(self, node: str, incarnation: int, scope: str, copy: _Copy) -> None:
        copy.forget()
        copy.asked_at = trio.current_time()
        version = copy.pages[0].version if copy.pages else 0
        question = msgspec.msgpack.encode(_Question(incarnation, len(copy.pages), version))
        subject = self._subjects.table_of(node, scope)
        copy.forget = self._connection.ask(
            subject, question, lambda answer: self._heard_page(node, incarnation, scope, copy, answer)
        )

    def _heard_page(self, node: str, incarnation: int, scope: str, copy: _Copy, answer: Message) -> None:
        copy.forget()
        if answer.has_no_responders:
            copy.asked_at = None
            return
        try:
            page = decoded(answer.payload, _Page)
        except ValueError:
            self.ignored += 1
            return
        if page.incarnation != incarnation or len(copy.pages) >= MOST_PAGES:
            return
        if copy.pages and copy.pages[0].version != page.version:
            copy.pages = []  # the table has changed, and this is its first page again
        copy.pages.append(page)
        if not page.is_last:
            self._ask_for_page(node, incarnation, scope, copy)
            return
        table: dict[bytes, Rows] = {}
        for key, rows in (entry for each in copy.pages for entry in each.table):
            table.setdefault(key, []).extend(rows)
        copy.version, copy.pages, copy.asked_at = page.version, [], None
        self._reader.replaced(node, incarnation, scope, table)

    def _heard_change(self, message: Message) -> None:
        try:
            *_, scope, node = map(from_token, message.subject.split(".")[-2:])
            change = decoded(message.payload, _Change)
        except ValueError:
            self.ignored += 1
            return
        if not self._reader.follows(node, change.incarnation, scope):
            return
        if change.said is not None:
            self._reader.said(node, change.incarnation, scope, change.key, change.said)
            return
        copy = self._copy(node, change.incarnation, scope)
        if copy.asked_at is None and change.version == copy.version + 1:
            copy.version = change.version
            self._reader.changed(node, change.incarnation, scope, change.key, change.rows)
        elif copy.version != change.version:
            self._ask(node, change.incarnation, scope, copy)


def _pages(table: Mapping[bytes, Rows]) -> Iterable[list[tuple[bytes, Rows]]]:
    """Cut a table into pages; an empty one has one, too."""
    page: list[tuple[bytes, Rows]] = []
    size = 0
    for key, rows in table.items():
        page.append((key, []))
        size += len(key) + 8
        for number, proof in rows:
            if size >= PAGE_BYTES:
                yield page
                page, size = [(key, [])], len(key) + 8
            page[-1][1].append((number, proof))
            size += len(proof) + 12
    yield page
