"""Monitors tell of each end once, of no end that was none, and say rightly whether a node was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from enfilade.actors.simulation.checkers.history import (
    Down,
    Ended,
    Event,
    Fired,
    Opened,
    Started,
    Up,
    Watching,
)

__all__ = ["check_monitors"]

Place = tuple[str, int, int]


class _Ledger:
    """What is known of processes, lives and node links, event by event."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, int], str] = {}
        self.lives: dict[str, Opened] = {}
        self.begun: set[Place] = set()
        self.ended: set[Place] = set()
        self.up: set[tuple[str, str]] = set()
        self.downs: dict[tuple[str, str], float] = {}

    def enter(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Opened):
            self.lives[event.full_name] = event
            self.names[event.host, event.life] = event.full_name
            self.up = {key for key in self.up if key[0] != event.host}
        elif isinstance(event, Started):
            self.begun.add(self.place(event.host, event.life, event.serial))
        elif isinstance(event, Ended):
            self.ended.add(self.place(event.host, event.life, event.serial))
        elif isinstance(event, Up):
            self.up.add((event.host, event.peer))
        elif isinstance(event, Down):
            self.up.discard((event.host, event.peer))
            self.downs[event.host, event.peer] = event.at

    def place(self, host: str, life: int, serial: int) -> Place:
        """Where a process is, as refs say it: of a life that is over, nowhere."""
        opened = self.lives.get(self.names.get((host, life), ""))
        if opened is None or (opened.host, opened.life) != (host, life):
            return "", 0, 0
        return opened.full_name, opened.incarnation, serial

    def is_over(self, target: Place) -> bool:
        """Tell whether a process has ended, or its whole life, or whether it never was."""
        name, incarnation, _ = target
        opened = self.lives.get(name)
        if opened is None or opened.incarnation != incarnation:
            return True
        return target in self.ended or target not in self.begun

    def was_cut_off(self, watching: Watching) -> bool:
        """Tell whether the watcher's node has lost the target's, or never had it, since it was watched."""
        key = watching.host, watching.target[0]
        return key not in self.up or self.downs.get(key, -math.inf) >= watching.at


def check_monitors(events: Sequence[Event]) -> None:
    """Check the monitors that a test has noted, in a world that has calmed down.

    Raises:
        AssertionError: the monitor with which that is broken.
    """
    ledger = _Ledger()
    watching: dict[int, Watching] = {}
    fired: dict[int, Fired] = {}
    for event in events:
        ledger.enter(event)
        if isinstance(event, Watching):
            watching[event.number] = event
        elif isinstance(event, Fired):
            if event.number in fired:
                raise AssertionError(f"a monitor fires twice: {event}")
            fired[event.number] = event
            monitor = watching[event.number]
            is_elsewhere = monitor.target[0] != ledger.names[event.host, event.life]
            if event.is_lost and not (is_elsewhere and ledger.was_cut_off(monitor)):
                raise AssertionError(f"a monitor tells of a lost node, and none was lost: {event}, {monitor}")
            if not event.is_lost and not ledger.is_over(monitor.target):
                raise AssertionError(f"a monitor tells of an end, and its target lives: {event}, {monitor}")
    for number, monitor in watching.items():
        watcher = ledger.place(monitor.host, monitor.life, monitor.watcher)
        is_elsewhere = monitor.target[0] != watcher[0]
        must = ledger.is_over(monitor.target) or (is_elsewhere and ledger.was_cut_off(monitor))
        if must and number not in fired and not ledger.is_over(watcher):
            raise AssertionError(f"a monitor never fires: {monitor}")
