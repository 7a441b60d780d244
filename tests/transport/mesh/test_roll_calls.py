"""Roll calls: whom a node asks that had lost the mesh, and who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
import pytest
import trio
import trio.testing

from enfilade.transport.mesh.announcer import Announcer, own_node
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.directory import DirectoryEvent, NodeLeft
from enfilade.transport.mesh.load import LoadMeter
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.subjects import Subjects

PATIENCE = 3.0


class Wire:
    """A connection that keeps what is published, and says what others publish."""

    is_up = True

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.handlers: dict[str, Callable[[Message], None]] = {}

    def subscribe(self, subject: str, handler: Callable[[Message], None]) -> int:
        self.handlers[subject] = handler
        return len(self.handlers)

    def publish(self, subject: str, payload: bytes) -> bool:
        self.said.append((subject, payload))
        return True

    def take(self, subject: str) -> list[bytes]:
        """Return what was published under a subject since this was called last."""
        found = [payload for where, payload in self.said if where == subject]
        self.said = [each for each in self.said if each[0] != subject]
        return found


class Node:
    """A node `own@x` in a mesh of its own."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.subjects = Subjects("m", "own@x", 1)
        own = own_node(self.subjects, (), (), "")
        connection = cast(Connection, self.wire)
        self.announcer = Announcer(
            connection, self.subjects, own, LoadMeter(), patience=PATIENCE, random=lambda: 0.5
        )
        self.events: list[DirectoryEvent] = []
        self.announcer.listener = self.events.append

    def hear(self, name: str) -> None:
        """Take in the announcement of another node."""
        subject = Subjects("m", name, 1).announcement
        payload = msgspec.msgpack.encode([1, None])
        self.wire.handlers[self.subjects.all_of("d")](Message(1, subject, "", payload))

    def be_asked(self, payload: bytes) -> None:
        """Take in a question of another node."""
        subject = Subjects("m", "a@x", 1).question
        self.wire.handlers[self.subjects.all_of("q")](Message(2, subject, "", payload))

    def questions(self) -> list[list[str]]:
        """Return the names in each question since this was called last; none in one for everybody."""
        said = self.wire.take(self.subjects.question)
        return [msgspec.msgpack.decode(each, type=list[str]) if each else [] for each in said]


async def test_who_has_answered_is_not_asked_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node()
    for name in ("a@x", "b@x", "c@x"):
        node.hear(name)
    nursery.start_soon(node.announcer.run)
    await trio.sleep(1.0)
    node.announcer.resumed(PATIENCE)
    await trio.sleep(0.5)
    assert node.questions() == [[]], "everybody is asked first"
    node.hear("a@x")
    await trio.sleep(1.0)
    assert node.questions() == [["b@x", "c@x"]]
    node.hear("b@x")
    await trio.sleep(1.0)
    assert node.questions() == [["c@x"]]
    assert node.events[3:] == []
    await trio.sleep(1.0)
    (event,) = node.events[3:]
    assert isinstance(event, NodeLeft)
    assert event.node.name == "c@x"
    assert node.questions() == []


async def test_a_roll_call_is_over_when_all_have_answered(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node()
    node.hear("a@x")
    nursery.start_soon(node.announcer.run)
    await trio.sleep(1.0)
    node.announcer.resumed(PATIENCE)
    await trio.sleep(0.5)
    node.hear("a@x")
    await trio.sleep(5.0)
    assert node.questions() == [[]]
    assert len(node.events) == 1


async def test_who_knows_nobody_asks_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its servers may have found those of others after the first question."""
    node = Node()
    nursery.start_soon(node.announcer.run)
    await trio.sleep(1.0)
    node.announcer.resumed(PATIENCE)
    await trio.sleep(5.0)
    assert node.questions() == [[], [], []]


@pytest.mark.parametrize(
    ("payload", "answers"),
    [
        (b"", 1),
        (msgspec.msgpack.encode(["b@x", "own@x"]), 1),
        (msgspec.msgpack.encode(["b@x"]), 0),
        (msgspec.msgpack.encode({"own@x": 1}), 1),
        (b"\xc1", 1),
        (b"\x91" * 100_000, 1),
    ],
)
async def test_who_is_asked_answers(
    payload: bytes, answers: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node()
    nursery.start_soon(node.announcer.run)
    await trio.sleep(1.0)
    node.wire.take(node.subjects.announcement)
    node.be_asked(payload)
    await trio.sleep(1.0)
    assert len(node.wire.take(node.subjects.announcement)) == answers


def test_so_many_names_that_everybody_is_asked() -> None:
    node = Node()
    node.announcer.ask([f"n{number}@x" for number in range(600)])
    assert node.questions() == [[]]
