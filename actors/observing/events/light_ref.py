"""Refs that hold no process: what is kept of an event keeps neither a process nor what it ended with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import NoProcess
from enfilade.actors.messages.reasons import NO_PROCESS
from enfilade.actors.messages.ref import HomeRef, Ref
from enfilade.actors.processes.local_ref import LocalRef, shown_ref

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["LightRef", "light"]

A = TypeVar("A")


class LightRef(HomeRef[A]):
    """A process of this node by its number, which is looked up when the ref is used.

    It is equal to every other ref to that process, and shows the name or label that the process had.
    """

    __slots__ = ("_serial", "_shown")

    is_of_this_node = True

    def __init__(self, home: Node, serial: int, shown: str | None, limit: float | None = None) -> None:
        self._home = home
        self._serial = serial
        self._shown = shown
        self.limit = limit

    @property
    def serial(self) -> int:
        return self._serial

    def __repr__(self) -> str:
        return shown_ref(self._home.full_name, self._serial, self._shown)

    def process_here(self) -> Process | None:
        return self._home.processes.get(self._serial)

    def deliver(self, signal: signals.Signal) -> None:
        process = self._home.processes.get(self._serial)
        if process is not None:
            process.ref.deliver(signal)
        elif isinstance(signal, signals.Call):
            signal.fail(NoProcess(self))
        elif isinstance(signal, signals.Send):
            self._home.dead_letters.publish(signal.message, self, NO_PROCESS)
        elif isinstance(signal, signals.Cast):
            self._home.dead_letters.publish(signal, self, NO_PROCESS)
        elif isinstance(signal, signals.Monitor):
            signal.watcher.deliver(signals.Down(signal.tag, NO_PROCESS))
        elif isinstance(signal, signals.Link):
            signal.sender.deliver(signals.Exit(self, NO_PROCESS, linked=True))

    def name_of(self, method: Any) -> str:
        process = self._home.processes.get(self._serial)
        return super().name_of(method) if process is None else process.ref.name_of(method)

    def _limited_to(self, seconds: float) -> Ref[A]:
        return LightRef(self._home, self._serial, self._shown, seconds)


def light(value: Any) -> Any:
    """The same value; in the place of a ref to a process of this node, one that does not hold it."""
    if not isinstance(value, LocalRef):
        return value
    process = value._process
    return LightRef(process.node, process.serial, process.name or process.label)
