"""Replicas: all processes of a node, in pieces, and then each change.

A walk in the order of serials gives the processes that there are at its beginning. What happens meanwhile
with a process that the walk has passed, or that has started since, is a change, and comes after the rows that
it changes; what happens with one that it has yet to reach is simply seen. So nothing is held up, and the copy
is exact when the last piece has been applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.observing.watches.shots import Scene, Shot
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import actor_name, supervisor_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.observing.protocol.views import ReplicaView
    from enfilade.actors.processes.process import Process

__all__ = ["ReplicaPicture"]

PIECE: Final = 512
"""How many rows a piece has, and how many changes."""

CLASSES: Final = 1_024
"""How many classes are remembered, with their names."""


class ReplicaPicture(Listener):
    """The pieces of a replica, and what has changed since the one before."""

    def __init__(self, scene: Scene, view: ReplicaView) -> None:
        self._scene = scene
        self._node = node = scene.watching.node
        self._waiting: deque[int] = deque(sorted(node.processes))
        self._total = len(self._waiting)
        self._upto = self._waiting[-1] if self._waiting else 0
        self._cursor = 0
        self._rows: list[dict[str, Any]] = []
        self._changed: dict[int, bool] = {}  # true: it has ended
        self._piece = "begin"
        self._titles: dict[int, tuple[type, str | None]] = {}  # by address: a class may not be hashed at all
        self._parent: Ref[Any] | None = None
        self._supervisor: Process | None = None
        node.hooks.add(self)

    async def shot(self, *, is_full: bool) -> Shot:
        if self._piece == "begin":
            self._piece = "rows"
            return Shot({"piece": "begin", "upto": self._upto, "total": self._total}, has_more=True)
        await self._take_rows()
        rows, self._rows = self._rows, []
        changed, left = self._next_changes()
        piece = self._piece
        if piece == "rows" and not self._waiting:
            self._cursor = self._upto
            if not self._changed:
                piece, self._piece = "end", "changes"
        data = {"piece": piece, "rows": rows, "changed": changed, "left": left}
        return Shot(data, has_more=self._piece == "rows" or bool(self._changed))

    async def _take_rows(self) -> None:
        """Take the next rows of the walk. Those of a picture that is interrupted are for the next one."""
        async for serial in self._scene.watching.walker.each(self._taken(), self._scene.budget):
            process = self._node.processes.get(serial)
            if process is not None and process.ended is None:
                self._rows.append(self._row_of(process))
            self._cursor = serial

    def _taken(self) -> Iterator[int]:
        while self._waiting and len(self._rows) < PIECE:
            yield self._waiting.popleft()

    def _next_changes(self) -> tuple[list[dict[str, Any]], list[int]]:
        """The changes that come next: rows as they are now, and who has ended."""
        rows: list[dict[str, Any]] = []
        left: list[int] = []
        while self._changed and len(rows) + len(left) < PIECE:
            serial = next(iter(self._changed))
            has_ended = self._changed.pop(serial)
            process = None if has_ended else self._node.processes.get(serial)
            if process is None or process.ended is not None:
                left.append(serial)
            else:
                rows.append(self._row_of(process))
        return rows, left

    def _row_of(self, process: Process) -> dict[str, Any]:
        """What does not change with every message."""
        kind, parent, label = type(process.body.actor), process.parent, process.label
        known = self._titles.get(id(kind))
        title = known[1] if known is not None else self._title_of(kind, process)
        supervisor = self._supervisor
        if parent is not self._parent or (supervisor is not None and supervisor.ended is not None):
            self._parent, self._supervisor = parent, supervisor_of(process)
            supervisor = self._supervisor
        child_id, restarts = (None, 0) if supervisor is None else supervisor.body.place_of(process.ref)
        return {
            "serial": process.serial,
            "name": told(process.name),
            "label": None if label is None else safe_str(label),
            "actor": title,
            "parent": parent.serial,
            "supervisor": None if supervisor is None else supervisor.serial,
            "child_id": None if child_id is None else safe_id(child_id),
            "restarts": restarts,
        }

    def _title_of(self, kind: type, process: Process) -> str | None:
        """What a process runs, which is the same for all actors of a class."""
        title = actor_name(process)
        if issubclass(kind, Actor) and len(self._titles) < CLASSES:
            self._titles[id(kind)] = kind, title
        return title

    def _note(self, process: Process, *, has_ended: bool = False) -> None:
        serial = process.serial
        if self._cursor < serial <= self._upto:
            return  # the walk has yet to come there
        self._changed.pop(serial, None)
        self._changed[serial] = has_ended

    def process_started(self, process: Process) -> None:
        self._note(process)

    def process_ended(self, process: Process, reason: Reason) -> None:
        self._note(process, has_ended=True)

    def name_registered(self, process: Process, name: str) -> None:
        self._note(process)

    def name_released(self, process: Process, name: str) -> None:
        self._note(process)

    def close(self) -> None:
        self._node.hooks.remove(self)
