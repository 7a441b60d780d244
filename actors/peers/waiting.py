"""Signals that wait in the order of sending, within a bound in bytes.

They wait for a node that is being called, or for the registry to say where their actor is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.kinds import is_looked_up_by_identity
from enfilade.actors.messages.reasons import NO_CONNECTION
from enfilade.actors.messages.traced import bare
from enfilade.actors.peers.ledger import undeliverable, unsendable
from enfilade.actors.peers.travelling_types import types

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import RemoteRef
    from enfilade.actors.node.node import Node

__all__ = ["WAITING_LIMIT", "Line", "Room", "Waiting"]

WAITING_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that may wait for a node before another signal may not: as much as `Limits.backlog` is by default, so
that what has waited finds room on the node link."""

T = TypeVar("T")

SIGNAL: Final = 200
"""Bytes of a signal, without what it carries, and of its place here."""

ITEM: Final = 64
"""Bytes of a value whose size is not worth asking for."""

_SIZED: Final = frozenset({str, bytes, bytearray, int})
_SMALL: Final = frozenset({type(None), bool, int, float})
_GROUPS: Final = frozenset({list, tuple, set, frozenset})


class Waiting:
    """Signals to the processes of a node, from the beginning of a call of that node to its end.

    Only the end of the call that they wait for fails them: one that began earlier, and whose end comes late,
    does not concern them.

    Args:
        node: this node.
        node_name: the other one.

    Attributes:
        is_open: whether a call is under way that signals may wait for.
    """

    def __init__(self, node: Node, node_name: str) -> None:
        self.is_open = False
        self._node = node
        self._node_name = node_name
        self._room = Room()
        self._line: Line[tuple[RemoteRef[Any], signals.Signal]] = Line(self._room)
        self._calls = 0

    @property
    def size(self) -> int:
        """The bytes that wait, about."""
        return self._room.size

    def open(self) -> int:
        """Let signals wait for a call of the node that begins now; return its number, for `fail`."""
        self.is_open = True
        self._calls += 1
        return self._calls

    def add(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Let a signal wait. If too much waits already, all of it fails, as with a node link that ends."""
        item = ref, signal
        if self._line.add(item, signal):
            size = self.size
            self._lose([*self._line.take(), item], size)

    def deliver(self, carry: Callable[[RemoteRef[Any], signals.Signal], None]) -> None:
        """Deliver what waits: the node is connected."""
        self.is_open = False
        for ref, signal in self._line.take():
            try:
                carry(ref, signal)
            except Exception as error:  # it cannot travel, and its sender has gone on
                unsendable(self._node, ref, signal, error)

    def fail(self, call: int, answer: Callable[[RemoteRef[Any], signals.Signal], None]) -> None:
        """Answer what waits for a call that has failed. It is somebody else's if it waits for a later one."""
        if call == self._calls:
            self.is_open = False
            for ref, signal in self._line.take():
                answer(ref, signal)

    def _lose(self, items: list[tuple[RemoteRef[Any], signals.Signal]], size: int) -> None:
        text = f"{size} bytes wait for {self._node_name}, which is being called; the limit is {WAITING_LIMIT}"
        for ref, signal in items:
            if isinstance(signal, signals.Call):
                signal.fail(NotConnected(self._node_name, text))
            else:
                undeliverable(self._node, ref, signal, NO_CONNECTION)


class Room:
    """The bytes that signals in several lines may have together.

    Attributes:
        size: the bytes that wait, about.
    """

    def __init__(self) -> None:
        self.size = 0


class Line(Generic[T]):
    """Signals that wait for one and the same thing.

    When one of them finds no room, none does until those before it are taken: so nothing arrives of which an
    earlier part is missing.

    Args:
        room: shared with other lines.
        most: signals that may wait; None for as many as there is room for.
    """

    def __init__(self, room: Room, most: int | None = None) -> None:
        self._room = room
        self._most = most
        self._size = 0
        self._refusal = ""
        self._items: list[T] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """True when something has found no room since what waited was taken."""
        return bool(self._refusal)

    def add(self, item: T, signal: signals.Signal) -> str:
        """Let a signal wait.

        Args:
            item: what `take` returns for it.
            signal: is weighed.

        Returns:
            Why it may not; empty when it waits.
        """
        if not self._refusal and len(self._items) == self._most:
            self._refusal = f"{self._most} messages wait already"
        elif not self._refusal and self._room.size > WAITING_LIMIT:
            self._refusal = f"{self._room.size} bytes wait already, more than {WAITING_LIMIT},"
        if not self._refusal:
            weight = _weight(signal)
            self._size += weight
            self._room.size += weight
            self._items.append(item)
        return self._refusal

    def take(self) -> list[T]:
        """Return what waits, and let nothing wait any more."""
        items, self._items = self._items, []
        self._room.size -= self._size
        self._size, self._refusal = 0, ""
        return items


def _weight(signal: signals.Signal) -> int:
    """The bytes of a signal, about."""
    carried = bare(signal.message) if isinstance(signal, signals.Send) else signal
    if isinstance(carried, signals.Cast | signals.Call):
        return SIGNAL + _bytes_of([*carried.args, *carried.kwargs.values()])
    return SIGNAL if carried is signal else SIGNAL + _bytes_of([carried])


def _bytes_of(values: list[Any]) -> int:
    """The bytes of values that may travel, about; a container that is found again is not counted again."""
    size = 0
    seen: set[int] = set()
    while values:
        value = values.pop()
        kind = type(value)
        if type(kind) is not type and not is_looked_up_by_identity(kind):
            size += ITEM
        elif kind in _SIZED:
            size += sys.getsizeof(value)
        elif kind in _SMALL or id(value) in seen:
            size += ITEM
        else:
            seen.add(id(value))
            size += ITEM
            if kind in _GROUPS and _are_small(value):
                size += ITEM * len(value)
            elif kind is memoryview:
                size += _length(value)
            else:
                values += _parts(value)
    return size


@attempt(False)
def _are_small(values: Iterable[Any]) -> bool:
    return _SMALL.issuperset(map(type, values))


@attempt(0)
def _length(view: memoryview) -> int:
    """The bytes of a view; 0 of one that was released."""
    return view.nbytes


@attempt(())
def _parts(value: Any) -> Iterable[Any]:
    """What a container or a record holds; nothing for anything else, which is small or cannot travel."""
    kind = type(value)
    if kind in _GROUPS:
        return value  # type: ignore[no-any-return]
    if kind is dict:
        return [*value, *value.values()]
    record = types.by_type(kind)
    return () if record is None else [getattr(value, field, None) for field in record.fields]
