"""Announcements: what this node tells a mesh of itself, and the directory of what others tell."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
import msgspec
import trio

from enfilade.transport.mesh import witness
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.directory import Directory, DirectoryEvent, MeshNode, NodeJoined
from enfilade.transport.mesh.load import Load, LoadMeter
from enfilade.transport.mesh.presence import LOST, Death
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import MOST_CHARACTERS, Subjects, from_token

__all__ = ["Announcer", "own_node"]

logger = logging.getLogger("enfilade.mesh")

PAUSE: Final = 0.01
"""Shortest pause before a newcomer is answered; what comes meanwhile is answered, too."""

PAUSE_EACH: Final = 0.001
LONGEST_PAUSE: Final = 2.0
"""Seconds by which the pause may grow: for each known node, and at most."""

QUESTIONS: Final = 3
"""How often this node asks those who have not answered, after it had lost the mesh: a question may be lost,
and servers find one another again, too.
"""

MOST_ASKED: Final = 512
"""Names in a question; when more are missed, everybody is asked."""

MOST_ENTRIES: Final = 256
MOST_TEXT: Final = 256
MOST_SHARDS: Final = 65536
"""Entries, labels and kinds of a node each, characters of a text, and shards of a kind that are taken from
an announcement.
"""


class _Announcement(msgspec.Struct, array_like=True):
    """One announcement; whoever leaves says why. Fields are added at the end only."""

    incarnation: int
    leaves: str | None
    host: str = ""
    process: int = 0
    entries: list[str] = []
    kinds: list[tuple[str, int]] = []
    is_draining: bool = False
    labels: list[str] = []
    lateness: float = 0.0
    processes: int = 0
    versions: list[tuple[str, int]] = []
    door: str = ""
    machine: str = ""


def _ignore(_: DirectoryEvent) -> None:
    return


def own_node(subjects: Subjects, entries: Sequence[str], labels: Sequence[str], door: str) -> MeshNode:
    """Return what a node says of itself at first.

    Args:
        subjects: of the node.
        entries: what it offers to spawn.
        labels: the words by which placement finds it.
        door: the path of its door; empty without one.
    """
    return MeshNode(
        subjects.node,
        subjects.incarnation,
        os.uname().nodename[:MOST_TEXT],
        os.getpid(),
        tuple(entry for entry in entries if len(entry) <= MOST_TEXT)[:MOST_ENTRIES],
        labels=tuple(labels),
        door=door if len(door) <= MOST_TEXT and door.isprintable() else "",
        machine=witness.own_place().host if door else "",
    )


class Announcer:
    """Announces this node to its mesh, and keeps the directory of the others.

    Args:
        connection: to the mesh.
        subjects: of this node.
        own: what this node says of itself.
        meter: measures its load.
        patience: seconds in which whoever lives is heard after a loss of the mesh, which lasted as long.
        random: draws a float from 0 to 1: the jitter of pauses.

    Attributes:
        directory: the nodes of the mesh.
        listener: is told of who comes and goes. It must not raise.
        versions: returns the versions of this node's published tables.
        versions_heard: is told those of another node: its name and incarnation. It must not raise.
        ignored: announcements that were nonsense.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        own: MeshNode,
        meter: LoadMeter,
        *,
        patience: float,
        random: Callable[[], float],
    ) -> None:
        self._meter = meter
        self.directory = Directory(own)
        self.listener: Callable[[DirectoryEvent], None] = _ignore
        self.versions: Callable[[], list[tuple[str, int]]] = list
        self.versions_heard: Callable[[str, int, list[tuple[str, int]]], None] = lambda *_: None
        self.ignored = 0
        self._connection = connection
        self._patience = patience
        self._random = random
        self._subject = subjects.announcement
        self._due = trio.Event()
        self._found = trio.Event()
        self._has_left = False
        self._namesake = 0
        self._question = subjects.question
        connection.subscribe(subjects.all_of("d"), self._heard)
        connection.subscribe(subjects.all_of("q"), self._asked)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Announce this node again and again, and find out who is not heard of any more."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._call_rolls)
            await self._announce()

    async def _announce(self) -> None:
        while True:
            own, load = self.directory.own, self._meter.load
            self._publish(
                _Announcement(
                    incarnation=own.incarnation,
                    leaves=None,
                    host=own.host,
                    process=own.process,
                    entries=list(own.entries),
                    kinds=list(own.kinds),
                    is_draining=own.is_draining,
                    labels=list(own.labels),
                    lateness=load.lateness,
                    processes=load.processes,
                    versions=self.versions(),
                    door=own.door,
                    machine=own.machine,
                )
            )
            self._due = trio.Event()
            with trio.move_on_after(self.directory.interval * (0.8 + 0.4 * self._random())):
                await self._due.wait()
                await trio.sleep(PAUSE + self._longest_pause() * self._random())
            if self._connection.is_up:
                self._tell(self.directory.pass_time(trio.current_time()))

    def change(self, **fields: Any) -> None:
        """Say something else of this node from now on: fields of its `MeshNode`."""
        changed = attrs.evolve(self.directory.own, **fields)
        if changed != self.directory.own:
            self.directory.own = changed
            self._due.set()

    def ask(self, names: Sequence[str] = ()) -> None:
        """Have nodes announce themselves soon, this one included: lost ones can be heard again.

        Args:
            names: of the nodes; all others do so, too, when these are none, or too many.
        """
        question = msgspec.msgpack.encode(names) if 0 < len(names) <= MOST_ASKED else b""
        self._connection.publish(self._question, question)
        self._due.set()

    def _asked(self, message: Message) -> None:
        """Answer a question, unless it is for others; whoever sends nonsense is answered, too."""
        if message.payload:
            with suppress(ValueError):
                if self.directory.own.name not in decoded(message.payload, list[str]):
                    return
        self._due.set()

    def leave(self, reason: str) -> None:
        """Say that this node leaves."""
        self._publish(_Announcement(self.directory.own.incarnation, reason[:MOST_TEXT]))
        self._has_left = True

    def died(self, death: Death) -> None:
        """Take note of a node that is dead. Whoever has lost the mesh itself knows nothing of others."""
        if death.reason != LOST:
            self._tell(self.directory.left(death.node, death.incarnation, death.reason))

    async def _call_rolls(self) -> None:
        """After each loss of the mesh, ask who is there, and those again who have not answered; and take note
        of who is not: others may have died meanwhile, which is no news for those who tell it.
        """
        while True:
            await self._found.wait()
            self._found = trio.Event()
            missed: Sequence[str] = ()
            for _ in range(QUESTIONS):
                self.ask(missed)
                await trio.sleep(self._patience / QUESTIONS)
                missed = self.directory.unheard()
                if not missed and len(self.directory) > 1:
                    break
            if self._connection.is_up and not self._found.is_set():
                self._tell(self.directory.pass_over())

    def resumed(self, seconds: float) -> None:
        """Take note that there is a server again, after so many seconds without one."""
        self.directory.listen_anew(trio.current_time())
        if seconds >= self._patience:
            self._found.set()
        self._due.set()

    def _longest_pause(self) -> float:
        return min(LONGEST_PAUSE, PAUSE_EACH * len(self.directory.nodes))

    def _publish(self, announcement: _Announcement) -> None:
        if not self._has_left:
            self._connection.publish(self._subject, msgspec.msgpack.encode(announcement))

    def _heard(self, message: Message) -> None:
        try:
            name = from_token(message.subject.rpartition(".")[2])
            said = decoded(message.payload, _Announcement)
            lists = [*said.entries, *said.labels, *(kind for kind, _ in said.kinds)]
            texts = [name, said.host, said.leaves or "", said.door, said.machine, *lists]
            is_long = max(len(said.entries), len(said.labels), len(said.kinds)) > MOST_ENTRIES
            if is_long or len(name) > MOST_CHARACTERS:
                raise ValueError("expected a shorter announcement")
            if not all(0 < shards <= MOST_SHARDS for _, shards in said.kinds):
                raise ValueError("expected kinds with shards")
            if not all(len(text) <= MOST_TEXT and text.isprintable() for text in texts):
                raise ValueError("expected short strings")
        except ValueError:
            self.ignored += 1
            return
        if name == self.directory.own.name:
            self._note_namesake(said)
            return
        if said.leaves is not None:
            self._tell(self.directory.left(name, said.incarnation, said.leaves))
            return
        node = MeshNode(
            name=name,
            incarnation=said.incarnation,
            host=said.host,
            process=said.process,
            entries=tuple(said.entries),
            kinds=tuple(said.kinds),
            is_draining=said.is_draining,
            labels=tuple(said.labels),
            door=said.door,
            machine=said.machine,
            load=Load(said.lateness, said.processes),
        )
        events = self.directory.announced(node, trio.current_time())
        if any(isinstance(event, NodeJoined) for event in events):
            self._due.set()  # a newcomer does not know this node either
        self._tell(events)
        self.versions_heard(name, said.incarnation, said.versions)

    def _note_namesake(self, said: _Announcement) -> None:
        """Complain of another node of this name: each was started where the other was not seen."""
        own = self.directory.own
        if said.leaves is None and said.incarnation not in (own.incarnation, self._namesake):
            self._namesake = said.incarnation
            logger.error(
                "another node %s is in this mesh, process %d on host %s: stop one of the two",
                own.name,
                said.process,
                said.host,
            )

    def _tell(self, events: Sequence[DirectoryEvent]) -> None:
        for event in events:
            self.listener(event)
