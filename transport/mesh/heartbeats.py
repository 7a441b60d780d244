"""Heart-beats: how a node says that it lives, and hears it of the nodes that it watches."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import msgspec
import trio

from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.load import Load, LoadMeter
from enfilade.transport.mesh.presence import Death, Presence
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import Subjects, from_token

__all__ = ["Heartbeats", "Watch"]

logger = logging.getLogger("enfilade.mesh")

QUIET_BEATS: Final = 3
"""Beats that fail to come before what a node said of its load is worth nothing."""


class _Beat(msgspec.Struct, array_like=True):
    """One heart-beat. Fields are added at the end only."""

    incarnation: int
    number: int
    lateness: float = 0.0
    processes: int = 0
    versions: list[tuple[str, int]] = []


@attrs.frozen(eq=False)
class Watch:
    """A request to hear of the death of one start of a node.

    Attributes:
        node: its name.
        incarnation: of that start.
        died: is told of the death, once; the watch is over then. It must not raise.
    """

    node: str
    incarnation: int
    died: Callable[[Death], None]


class Heartbeats:
    """The heart-beats of one node, and those that it listens to.

    Args:
        connection: to the servers.
        subjects: of this node.
        presence: of the others.
        seconds: between two beats.
        meter: measures the load of this node.

    Attributes:
        ignored: beats that make no sense.
        late: beats of this node that came half a beat after they were due, or later.
        death_heard: is told of the death of any node that is watched, before its watches are. It must not
            raise.
        load_heard: is told the load of a node that is watched: its name and incarnation. It must not raise.
        versions: returns the versions of this node's published tables.
        versions_heard: is told those of a node that is watched, in the same way.
        beaten: is called at each beat. It must not raise.
        returned: is called when a node is heard again that was dead because it was silent.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        presence: Presence,
        seconds: float,
        meter: LoadMeter,
    ) -> None:
        self.ignored = self.late = 0
        self.death_heard: Callable[[Death], None] = lambda _: None
        self.load_heard: Callable[[str, int, Load], None] = lambda *_: None
        self.versions: Callable[[], list[tuple[str, int]]] = list
        self.versions_heard: Callable[[str, int, list[tuple[str, int]]], None] = lambda *_: None
        self.beaten: Callable[[], None] = lambda: None
        self.returned: Callable[[], None] = lambda: None
        self._silent: set[str] = set()
        self._meter = meter
        self._connection = connection
        self._subjects = subjects
        self._presence = presence
        self._seconds = seconds
        self._watches: dict[tuple[str, int], dict[Watch, None]] = {}  # in order
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
            was_lost = self._presence.is_lost
            deaths = self._presence.pass_time(trio.current_time())
            if self._presence.is_lost and not was_lost:
                logger.warning("node links are over: this node has lost the mesh")
            self._silent.update(death.node for death in deaths)
            self.bury(deaths)
            self.beaten()
            due = trio.current_time() + self._seconds
            await trio.sleep_until(due)
            late = trio.current_time() - due
            self._meter.woken(late)
            self.late += late > self._seconds / 2

    def is_quiet(self, node: str) -> bool:
        """Tell whether a node that is watched has been silent for some beats."""
        return self._presence.silence(node, trio.current_time()) > QUIET_BEATS * self._seconds

    def watch(self, node: str, incarnation: int, died: Callable[[Death], None]) -> Watch:
        """Watch a start of a node, which has just been heard, until it is dead or `unwatch` is called.

        Args:
            node: its name.
            incarnation: of that start.
            died: see `Watch`.
        """
        watch = Watch(node, incarnation, died)
        self._watches.setdefault((node, incarnation), {})[watch] = None
        self.bury(self._presence.watch(node, incarnation, trio.current_time()))
        if node not in self._subscribed:
            subject = self._subjects.beat_of(node)
            self._subscribed[node] = self._connection.subscribe(subject, self._heard)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Take back a watch. Harmless when it is over."""
        key = watch.node, watch.incarnation
        watches = self._watches.get(key, {})
        if watch in watches:
            del watches[watch]
            if not watches:
                del self._watches[key]
                self._presence.forget(*key)
                self._listen_less(watch.node)

    def bury(self, deaths: Sequence[Death]) -> None:
        """Tell of deaths: first who hears of all, then each watch that is not taken back by then."""
        for death in deaths:
            logger.info("node %s is dead: %s", death.node, death.reason)
            self.death_heard(death)
            for watch in self._watches.pop((death.node, death.incarnation), ()):
                watch.died(death)
            self._listen_less(death.node)

    def _listen_less(self, node: str) -> None:
        """Hear the beats of a node no more that nobody watches, unless it is to be heard that it is back."""
        is_wanted = node in self._silent or any(name == node for name, _ in self._watches)
        if not is_wanted and node in self._subscribed:
            self._connection.unsubscribe(self._subscribed.pop(node))

    def _heard(self, message: Message) -> None:
        try:
            node = from_token(message.subject.rpartition(".")[2])
            beat = decoded(message.payload, _Beat)
        except ValueError:
            self.ignored += 1
            return
        if node in self._silent:
            self._silent.remove(node)
            self._listen_less(node)
            self.returned()
        self.bury(self._presence.heard(node, beat.incarnation, trio.current_time()))
        self.load_heard(node, beat.incarnation, Load(beat.lateness, beat.processes))
        self.versions_heard(node, beat.incarnation, beat.versions)
