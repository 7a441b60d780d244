"""Replicas: all processes of a node, in pieces, and then each change.

A walk in the order of serials gives the processes that there are at its beginning. What happens meanwhile
with a process that the walk has passed, or that has started since, is a change, and comes after the rows that
it changes; what happens with one that it has yet to reach is simply seen. So nothing is held up, and the copy
is exact when the last piece has been applied.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.observing.protocol.columns import rows_of
from enfilade.actors.observing.protocol.views import ReplicaInColumns, ReplicaView
from enfilade.actors.observing.tables.walker import LOOK
from enfilade.actors.observing.watches.shots import Scene, Shot
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.identity import actor_name, supervisor_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.process import Process

__all__ = ["ReplicaPicture"]

PIECE: Final = 512
"""How many rows a piece has, and how many changes."""

COLUMNS: Final = ["serial", "name", "label", "actor", "parent", "supervisor", "child_id", "restarts"]
"""What a replica has of a process, in this order."""

WIDTH: Final = len(COLUMNS)

CLASSES: Final = 1_024
"""How many classes are remembered, with their names."""


class ReplicaPicture(Listener):
    """The pieces of a replica, and what has changed since the one before."""

    def __init__(self, scene: Scene, view: ReplicaView | ReplicaInColumns) -> None:
        self._scene = scene
        self._is_in_columns = type(view) is ReplicaInColumns
        self._node = node = scene.watching.node
        self._waiting: deque[int] = deque(sorted(node.processes))
        self._total = len(self._waiting)
        self._upto = self._waiting[-1] if self._waiting else 0
        self._cursor = 0
        self._values: list[Any] = []
        self._changed: dict[int, bool] = {}  # true: it has ended
        self._piece = "begin"
        self._titles: dict[int, tuple[type, str | None]] = {}  # by address: a class may not be hashed at all
        self._kind: type | None = None
        self._title: str | None = None
        self._parent: Ref[Any] | None = None
        self._parents_serial = 0
        self._supervisor: Process | None = None
        node.hooks.add(self)

    async def shot(self, *, is_full: bool) -> Shot:
        if self._piece == "begin":
            self._piece = "rows"
            return Shot({"piece": "begin", "upto": self._upto, "total": self._total}, has_more=True)
        await self._scene.watching.walker.work(self._take_some, self._scene.budget)
        values, self._values = self._values, []
        changed, left = self._next_changes()
        piece = self._piece
        if piece == "rows" and not self._waiting:
            self._cursor = self._upto
            if not self._changed:
                piece, self._piece = "end", "changes"
        if self._is_in_columns:
            rows: dict[str, Any] = {"columns": COLUMNS, "values": values}
        else:
            rows = {"rows": rows_of(COLUMNS, values)}
        data = {"piece": piece, **rows, "changed": rows_of(COLUMNS, changed), "left": left}
        return Shot(data, has_more=self._piece == "rows" or bool(self._changed))

    def _take_some(self) -> bool:
        """Take the next rows of the walk; tell whether the piece has room for more. Those of a picture that
        is interrupted are for the next one.
        """
        waiting, values, processes, add = self._waiting, self._values, self._node.processes, self._add
        for _ in range(min(LOOK, len(waiting), PIECE - len(values) // WIDTH)):
            self._cursor = serial = waiting.popleft()
            process = processes.get(serial)
            if process is not None and process.ended is None:
                add(process, values)
        return bool(waiting) and len(values) < PIECE * WIDTH

    def _next_changes(self) -> tuple[list[Any], list[int]]:
        """The changes that come next: the values of rows as they are now, and who has ended."""
        values: list[Any] = []
        left: list[int] = []
        while self._changed and len(values) // WIDTH + len(left) < PIECE:
            serial = next(iter(self._changed))
            has_ended = self._changed.pop(serial)
            process = None if has_ended else self._node.processes.get(serial)
            if process is None or process.ended is not None:
                left.append(serial)
            else:
                self._add(process, values)
        return values, left

    def _add(self, process: Process, values: list[Any]) -> None:
        """Add the values of a row: what does not change with every message."""
        kind, parent, name, label = type(process.body.actor), process.parent, process.name, process.label
        if kind is not self._kind:
            self._look_at_kind(kind, process)
        supervisor = self._supervisor
        if parent is not self._parent or (supervisor is not None and supervisor.ended is not None):
            self._parent, self._parents_serial = parent, parent.serial
            supervisor = self._supervisor = supervisor_of(process)
        child_id, restarts = (None, 0) if supervisor is None else supervisor.body.place_of(process.ref)
        values += (
            process.serial,
            None if name is None else told(name),
            None if label is None else safe_str(label),
            self._title,
            self._parents_serial,
            None if supervisor is None else supervisor.serial,
            None if child_id is None else safe_id(child_id),
            restarts,
        )

    def _look_at_kind(self, kind: type, process: Process) -> None:
        """Find what a process runs, which is the same for all actors of a class, and for nothing else."""
        known = self._titles.get(id(kind))
        self._title = actor_name(process) if known is None else known[1]
        is_class = issubclass(kind, Actor)
        self._kind = kind if is_class else None
        if is_class and len(self._titles) < CLASSES:
            self._titles[id(kind)] = kind, self._title

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
