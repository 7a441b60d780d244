"""Heart-beats: how a node says that it lives, and hears it of the nodes that it watches."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.load import Load, LoadMeter
from enfilade.transport.mesh.presence import Death, Presence
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.subjects import Subjects, from_token

__all__ = ["Heartbeats"]

QUIET_BEATS: Final = 3
"""Beats that fail to come before what a node said of its load is worth nothing."""


class _Beat(msgspec.Struct, array_like=True):
    """One heart-beat. Fields are added at the end only."""

    incarnation: int
    number: int
    lateness: float = 0.0
    processes: int = 0
    versions: list[tuple[str, int]] = []


class Heartbeats:
    """The heart-beats of one node, and those that it listens to.

    Args:
        connection: to the servers.
        subjects: of this node.
        presence: of the others.
        seconds: between two beats.
        carry_out: deals with deaths.
        meter: measures the load of this node.

    Attributes:
        ignored: beats that make no sense.
        load_heard: is told the load of a node that is watched: its name and incarnation. It must not raise.
        versions: returns the versions of this node's published tables.
        versions_heard: is told those of a node that is watched, in the same way.
        returned: is called when a node is heard again that was dead because it was silent.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        presence: Presence,
        seconds: float,
        carry_out: Callable[[Sequence[Death]], None],
        meter: LoadMeter,
    ) -> None:
        self.ignored = 0
        self.load_heard: Callable[[str, int, Load], None] = lambda *_: None
        self.versions: Callable[[], list[tuple[str, int]]] = list
        self.versions_heard: Callable[[str, int, list[tuple[str, int]]], None] = lambda *_: None
        self.returned: Callable[[], None] = lambda: None
        self._silent: set[str] = set()
        self._meter = meter
        self._connection = connection
        self._subjects = subjects
        self._presence = presence
        self._seconds = seconds
        self._carry_out = carry_out
        self._wanted: Counter[tuple[str, int]] = Counter()
        self._subscribed: dict[str, int] = {}

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Say again and again that this node lives, and find out who does not."""
        task_status.started()
        number = 0
        while True:
            number += 1
            load = self._meter.load
            incarnation, versions = self._subjects.incarnation, self.versions()
            beat = _Beat(incarnation, number, load.lateness, load.processes, versions)
            self._connection.publish(self._subjects.beat, msgspec.msgpack.encode(beat))
            deaths = self._presence.pass_time(trio.current_time())
            self._silent.update(death.node for death in deaths)
            self._carry_out(deaths)
            due = trio.current_time() + self._seconds
            await trio.sleep_until(due)
            self._meter.woken(trio.current_time() - due)

    def is_quiet(self, node: str) -> bool:
        """Tell whether a node that is watched has been silent for some beats."""
        return self._presence.silence(node, trio.current_time()) > QUIET_BEATS * self._seconds

    def watch(self, node: str, incarnation: int) -> None:
        """Watch a start of a node, which has just been heard, until `unwatch` was called as often."""
        self._wanted[node, incarnation] += 1
        self._carry_out(self._presence.watch(node, incarnation, trio.current_time()))
        if node not in self._subscribed:
            subject = self._subjects.beat_of(node)
            self._subscribed[node] = self._connection.subscribe(subject, self._heard)

    def unwatch(self, node: str, incarnation: int) -> None:
        """Take back one call of `watch`."""
        self._wanted[node, incarnation] -= 1
        if self._wanted[node, incarnation] > 0:
            return
        del self._wanted[node, incarnation]
        self._presence.forget(node, incarnation)
        if node not in self._silent and not any(name == node for name, _ in self._wanted):
            self._connection.unsubscribe(self._subscribed.pop(node))

    def _heard(self, message: Message) -> None:
        try:
            node = from_token(message.subject.rpartition(".")[2])
            beat = msgspec.msgpack.decode(message.payload, type=_Beat)
        except (ValueError, msgspec.DecodeError):
            self.ignored += 1
            return
        if node in self._silent:
            self._silent.remove(node)
            if not any(name == node for name, _ in self._wanted):
                self._connection.unsubscribe(self._subscribed.pop(node))
            self.returned()
        self._carry_out(self._presence.heard(node, beat.incarnation, trio.current_time()))
        self.load_heard(node, beat.incarnation, Load(beat.lateness, beat.processes))
        self.versions_heard(node, beat.incarnation, beat.versions)
