"""The tables of a node, of which observers are shown windows: what is in each, and the row of an item.

A table gives its rows one after the other, so that the walk can rest between them; a None among them is a
step that has found nothing. The table of processes is elsewhere: see `windows.ProcessWindow`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.observing.tables.in_words import timer_in_words
from enfilade.actors.observing.tables.rows import shown_ref, state_of
from enfilade.actors.observing.tables.trees import children_of
from enfilade.actors.patterns.pool import Pool
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.timers import Timer

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.protocol.views import TableView
    from enfilade.actors.observing.tables.walker import Table
    from enfilade.actors.processes.process import Process

__all__ = ["table_of"]


class _Table:
    def __init__(self, node: Node) -> None:
        self.node = node


class _Names(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        for name in self.node.registry.names():
            process = process_of(self.node.whereis(name))
            if process is None:
                yield None
            else:
                yield {"name": safe_str(name), "serial": process.serial, "actor": actor_name(process)}


class _Links(_Table):
    """Each link once: by the older of its two processes, if both live here."""

    def items(self) -> Iterator[dict[str, Any] | None]:
        for process in list(self.node.processes.values()):
            yield None
            for ref in list(process.links or ()):
                is_local = ref.node_name == self.node.full_name
                if not is_local or ref.serial > process.serial:
                    yield self._shown(process, ref, is_local=is_local)

    def _shown(self, process: Process, ref: Ref[Any], *, is_local: bool) -> dict[str, Any]:
        node = None if is_local else ref.node_name
        return {
            "id": f"{process.serial}-{ref.serial}{'' if node is None else f'@{node}'}",
            "a": process.serial,
            "b": ref.serial,
            "a_text": shown_ref(process.ref),
            "b_text": shown_ref(ref),
            "node": node,
        }


class _Timers(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        now = self.node.timers.now()
        for number, timer in self.node.timers.pending():
            yield None if timer is None else self._shown(number, timer, now)

    def _shown(self, number: int, timer: Timer, now: float) -> dict[str, Any]:
        owner = timer.owner
        return {
            "id": number,
            "owner": None if owner is None else owner.serial,
            "owner_text": None if owner is None else shown_ref(owner.ref),
            **timer_in_words(timer, now),
        }


class _Groups(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        for scope in self.node.groups.scopes():
            for group in scope.which_groups():
                name = safe_id(group)
                yield {
                    "id": f"{scope.name}/{name}",
                    "scope": scope.name,
                    "name": name,
                    "members": len(scope.members(group)),
                    "local_members": len(scope.local_members(group)),
                }


class _DeadLetters(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        yield from self.node.observation.dead_letters.rows()


class _Pools(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        for process in list(self.node.processes.values()):
            pool = process.body.actor
            yield self._shown(process, pool) if isinstance(pool, Pool) and process.ended is None else None

    def _shown(self, process: Process, pool: Pool) -> dict[str, Any]:
        found = Pool.statistics(pool)
        return {
            "serial": process.serial,
            "name": told(process.name),
            "size": found.size,
            "busy": found.busy,
            "waiting": found.queued,
            "limit": found.limit,
            "routing": found.routing,
            "completed": found.completed,
            "discarded": found.discarded,
            "replaced": found.replaced,
            "delayed": found.delayed,
        }


class _Guests(_Table):
    def __init__(self, node: Node, *, is_counted: bool) -> None:
        super().__init__(node)
        self._is_counted = is_counted

    def items(self) -> Iterator[dict[str, Any] | None]:
        for process in list(self.node.processes.values()):
            signs = process.body.signs() if process.ended is None else None
            yield None if signs is None else self._shown(process, signs)

    def _shown(self, process: Process, signs: dict[str, Any]) -> dict[str, Any]:
        by_name = signs.pop("hostcalls_by_name") if self._is_counted else None
        return {
            "serial": process.serial,
            "name": told(process.name),
            "label": None if process.label is None else safe_str(process.label),
            **signs,
            "hostcalls": None if by_name is None else sum(by_name.values()),
            "hostcalls_by_name": by_name,
            "queued": len(process.queue),
        }


class _Peers(_Table):
    def items(self) -> Iterator[dict[str, Any] | None]:
        yield from peer_rows(self.node)


class _Children(_Table):
    def __init__(self, node: Node, supervisor: int | None) -> None:
        super().__init__(node)
        self._supervisor = supervisor

    def items(self) -> Iterator[dict[str, Any] | None]:
        root = self.node.root
        serial = self._supervisor if self._supervisor is not None or root is None else root.serial
        process = None if serial is None else self.node.processes.get(serial)
        for child, shown in () if process is None else children_of(process) or ():
            yield self._shown(child, shown)

    def _shown(self, child: Process | None, shown: dict[str, Any]) -> dict[str, Any]:
        named = shown["id"]
        return {
            "id": named if named is not None else f"#{shown['place'] if child is None else child.serial}",
            "child_id": named,
            "place": shown["place"],
            "restart": shown["restart"],
            "shutdown": shown["shutdown"],
            "type": shown["type"],
            "state": shown["state"],
            "restarts": shown["restarts"],
            "serial": None if child is None else child.serial,
            "name": None if child is None else told(child.name),
            "actor": None if child is None else actor_name(child),
            "process_state": None if child is None else state_of(child),
            "queued": None if child is None else len(child.queue),
            "node": shown.get("elsewhere"),
        }


def peer_rows(node: Node) -> list[dict[str, Any]]:
    """The node links of a node as rows: those that are up, and those that are to be kept up and are not.

    Frames and bytes are totals here.
    """
    try:
        standings = node.distribution.standings()
    except NotConnected:
        return []  # it was opened without
    return [attrs.asdict(standing) for standing in standings]


def table_of(node: Node, view: TableView, *, is_counted: bool) -> Table:
    """The table that a view shows: any but that of processes, which is ranked.

    Args:
        node: whose table it is.
        view: says which.
        is_counted: whether hostcalls are counted.
    """
    if view.of == "guests":
        return _Guests(node, is_counted=is_counted)
    if view.of == "children":
        return _Children(node, view.supervisor)
    return TABLES[view.of](node)


TABLES: Final[dict[str, type[_Names | _Links | _Timers | _Groups | _DeadLetters | _Pools | _Peers]]] = {
    "names": _Names,
    "links": _Links,
    "timers": _Timers,
    "groups": _Groups,
    "dead_letters": _DeadLetters,
    "pools": _Pools,
    "peers": _Peers,
}
