"""The part of a process record that few processes need, made on first use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from enfilade.actors.messages import signals
    from enfilade.actors.node.timers import Timer
    from enfilade.actors.processes.body import Observer
    from enfilade.actors.processes.keyed_timers import IdleTimer, KeyedTimers
    from enfilade.actors.processes.links import Alias
    from enfilade.actors.processes.process import Process

__all__ = ["Rare"]


class Rare:
    """What few processes need."""

    __slots__ = (
        "aliases",
        "arena",
        "continuing",
        "deferred",
        "emptied",
        "exposed",
        "groups",
        "heir",
        "idle",
        "keyed",
        "observers",
        "room",
        "start_info",
        "stash",
        "stop_requests",
        "timers",
    )

    def __init__(self) -> None:
        self.aliases: dict[Alias[Any], None] = {}
        self.arena: dict[Process, None] | None = None
        self.deferred: dict[signals.Call, None] = {}
        self.emptied: trio.Event | None = None
        self.exposed: tuple[Callable[[], Mapping[str, Any]], Callable[[Any], None]] | None = None
        self.groups: dict[tuple[str, Any], int] = {}
        self.heir: deque[Any] | None = None
        self.idle: IdleTimer | None = None
        self.keyed: KeyedTimers | None = None
        self.observers: list[Observer] = []
        self.room: trio.lowlevel.ParkingLot | None = None
        self.stash: deque[Any] = deque()
        self.start_info: Any = None
        self.stop_requests: list[signals.Call] = []
        self.timers: dict[Timer, None] = {}
