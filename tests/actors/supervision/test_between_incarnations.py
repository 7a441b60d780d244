"""What others meet while a supervisor starts a child again. Clauses SUP-24 and SUP-25 of
docs/semantics-supervision.md, N2 and N4 of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NO_PROCESS,
    SHUTDOWN,
    Actor,
    AlreadyStarted,
    Backoff,
    CallError,
    Child,
    Down,
    Mailbox,
    MailboxFull,
    NameTaken,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    Ref,
    Restarting,
    Supervisor,
    system,
)
from enfilade.actors.processes.mailbox import Overflow

pytest_plugins = ["enfilade.actors.testing.plugin"]

DELAY = 10.0


class Desk(Actor):
    """A sync child, whose starts fail while `broken`; it hands what it sees to `seen`."""

    def __init__(self, seen: list[Any], broken: list[bool]) -> None:
        if broken and broken[0]:
            raise ValueError("does not start")
        self.seen = seen

    def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    def fail(self) -> None:
        raise ValueError("as asked")

    def on_message(self, message: Any) -> None:
        self.seen.append(message)


class AsyncDesk(Desk):
    """The same with a task, whose start takes a while."""

    async def on_start(self) -> None:
        await trio.sleep(1)

    async def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value


KINDS = pytest.mark.parametrize("kind", [Desk, AsyncDesk])


class Place:
    """A supervisor with one child named "desk"."""

    def __init__(self, node: Node, kind: type[Desk], mailbox: Mailbox) -> None:
        self.node = node
        self.kind = kind
        self.mailbox = mailbox
        self.seen: list[Any] = []
        self.broken = [False]
        self.supervisor: Ref[Supervisor]
        self.ref: Ref[Any]

    async def open(self) -> Place:
        backoff = Backoff(first=DELAY, factor=1, jitter=0)
        child = Child(
            self.kind,
            self.seen,
            self.broken,
            id="desk",
            name="desk",
            mailbox=self.mailbox,
            backoff=backoff,
        )
        self.supervisor = await self.node.spawn(Supervisor, [child], intensity=3, period=100)
        found = self.node.whereis("desk")
        assert found is not None
        self.ref = found
        return self

    async def crash(self) -> None:
        """End the child, which is not there then until `DELAY` has passed."""
        self.ref.exit(KILL)
        await wait_all_tasks_blocked()


ADDRESSED: dict[str, Callable[[Node, Ref[Any]], Ref[Any]]] = {
    "ref": lambda node, ref: ref,
    "name": lambda node, ref: node.named("desk"),
}
BY = pytest.mark.parametrize("addressed", ADDRESSED)


async def _ask(way: str, node: Node, me: Process, target: Ref[Any]) -> Any:
    """What the way of asking raises, or gives."""
    try:
        match way:
            case "call":
                return await target.within(0.5).call(Desk.note, "x")
            case "request":
                return await me.request(target, Desk.note, "x").receive(0.5)
            case "stop":
                return await target.stop(timeout=0.5)
            case "get_state":
                return await system.get_state(target)
            case "send":
                return target.send("x")
            case "cast":
                return target.cast(Desk.note, "x")
            case "send_wait":
                return await target.send_wait("x")
            case "monitor":
                me.monitor("desk" if target == node.named("desk") else target)
                return (await me.receive(Down, 0.5)).reason
    except CallError as error:
        return type(error)


ASKING = ("call", "request", "stop", "get_state")
SENDING = ("send", "cast", "send_wait")
STAGES = ("in back-off", "start failed", "given up", "terminated")


@BY
@KINDS
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", [*ASKING, *SENDING, "monitor"])
async def test_no_process_and_restarting(
    autojump_clock: MockClock, node: Node, kind: type[Desk], addressed: str, stage: str, way: str
) -> None:
    """SUP-24: until the child is started or given up it is being restarted; then there is no process."""
    place = await Place(node, kind, Mailbox()).open()
    target = ADDRESSED[addressed](node, place.ref)
    await place.crash()
    if stage == "start failed":
        place.broken[0] = True
        await trio.sleep(DELAY + 2)
    elif stage == "given up":
        place.broken[0] = True
        await trio.sleep(6 * DELAY)
    elif stage == "terminated":
        await place.supervisor.call(Supervisor.terminate_child, "desk")
    expected = Restarting if stage in STAGES[:2] else NoProcess
    letters = node.dead_letters.count
    async with node.mailbox() as me:
        answer = await _ask(way, node, me, target)
    if way == "monitor":
        assert answer == NO_PROCESS
    elif way in SENDING and addressed == "ref":
        assert answer is None
        assert node.dead_letters.count == letters + 1
    else:
        assert answer is expected
        assert node.dead_letters.count == letters


@BY
@KINDS
@pytest.mark.parametrize("way", ASKING)
@pytest.mark.parametrize("overflow", ["block", "fail", "drop_oldest"])
async def test_asking_one_whose_kept_mailbox_is_full(
    autojump_clock: MockClock, node: Node, kind: type[Desk], addressed: str, way: str, overflow: Overflow
) -> None:
    """SUP-24: whoever asks is told that the child is being restarted, however full the mailbox is that waits
    for it.
    """
    place = await Place(node, kind, Mailbox(1, overflow, inherit=True)).open()
    target = ADDRESSED[addressed](node, place.ref)
    await place.crash()
    place.ref.send("fills it")
    async with node.mailbox() as me:
        assert await _ask(way, node, me, target) is Restarting
    await trio.sleep(DELAY + 2)
    assert place.seen == ["fills it"]


async def test_at_once_after_the_crash(autojump_clock: MockClock, node: Node) -> None:
    """SUP-24: the caller that learns of the crash finds the child being restarted already."""
    place = await Place(node, Desk, Mailbox()).open()
    target = node.named("desk")
    with pytest.raises(ProcessDied):
        await place.ref.call(Desk.fail)
    with pytest.raises(Restarting):
        await place.ref.call(Desk.note, 1)
    with pytest.raises(Restarting):
        target.send(1)
    with pytest.raises(NameTaken):
        async with node.mailbox() as me:
            node.register("desk", me.ref)


@BY
@KINDS
@pytest.mark.parametrize("way", SENDING)
async def test_messages_are_kept(
    autojump_clock: MockClock, node: Node, kind: type[Desk], addressed: str, way: str
) -> None:
    """SUP-25: what comes while the child is down, starts, or fails to start, is for the next incarnation."""
    place = await Place(node, kind, Mailbox(inherit=True)).open()
    target = ADDRESSED[addressed](node, place.ref)
    await system.suspend(place.ref)
    place.ref.send("before")
    await place.crash()

    async def send(value: Any) -> None:
        if way == "send":
            target.send(value)
        elif way == "cast":
            target.cast(Desk.note, value)
        else:
            await target.send_wait(value)

    await send(1)
    place.broken[0] = True
    await trio.sleep(DELAY + 2)
    await send(2)
    place.broken[0] = False
    await trio.sleep(DELAY - (3 if kind is Desk else 1.5))  # an async child is starting
    await send(3)
    await trio.sleep(4)
    assert place.seen == ["before", 1, 2, 3]
    assert node.dead_letters.count == 0
    assert place.ref._process.extras_or_none is None  # type: ignore[attr-defined]
    await node.named("desk").call(Desk.note, 4)


KEPT: dict[str, list[Any]] = {
    "block": [0, 1],
    "fail": [0, 1],
    "drop_newest": [0, 1],
    "drop_oldest": [1, 2],
    "dead_letter": [0, 1],
    "crash": [0, 1],
}


@BY
@KINDS
@pytest.mark.parametrize("overflow", KEPT)
async def test_bound_of_what_is_kept(
    autojump_clock: MockClock, node: Node, kind: type[Desk], addressed: str, overflow: Overflow
) -> None:
    """SUP-25: bound and policy are those of the mailbox; a timer's message is let in all the same."""
    place = await Place(node, kind, Mailbox(2, overflow, inherit=True)).open()
    target = ADDRESSED[addressed](node, place.ref)
    await place.crash()
    target.send(0)
    target.send(1)
    if overflow in ("block", "fail"):
        with pytest.raises(MailboxFull):
            target.send(2)
        with pytest.raises(MailboxFull):
            await target.send_wait(2)
    else:
        target.send(2)
    node.send_after(1, target, "tick")
    await trio.sleep(DELAY + 2)
    assert place.seen == [*KEPT[overflow], "tick"]
    assert node.dropped == overflow.startswith("drop")
    assert node.dead_letters.count == (overflow in ("dead_letter", "crash"))


@KINDS
@pytest.mark.parametrize("end", ["given up", "terminated", "stopped", "killed"])
async def test_kept_messages_of_one_that_does_not_come_back(
    autojump_clock: MockClock, node: Node, kind: type[Desk], end: str
) -> None:
    """SUP-25: calls fail, other messages become dead letters, and nothing is kept any more."""
    place = await Place(node, kind, Mailbox(inherit=True)).open()
    await system.suspend(place.ref)
    async with node.mailbox() as me:
        request = me.request(place.ref, Desk.note, "x")
        place.ref.send("before")
        if end == "killed":
            place.supervisor.exit(KILL)
        else:
            await place.crash()
            place.ref.send("meanwhile")
        place.broken[0] = True
        if end == "terminated":
            await place.supervisor.call(Supervisor.terminate_child, "desk")
        elif end == "stopped":
            await place.supervisor.stop(SHUTDOWN)
        with pytest.raises(ProcessDied):
            await request.receive(5 * DELAY)
        assert node.dead_letters.count == (1 if end == "killed" else 2)
        place.ref.send("late")
        assert node.dead_letters.count == (2 if end == "killed" else 3)
        with pytest.raises(NoProcess):
            await place.ref.call(Desk.note, 1)
    assert place.ref._process.extras_or_none is None  # type: ignore[attr-defined]


@KINDS
@pytest.mark.parametrize("who", ["register", "spawn", "sibling", "spawn_soon"])
async def test_name_of_a_restarting_child_is_kept(
    autojump_clock: MockClock, node: Node, kind: type[Desk], who: str
) -> None:
    """N4: nobody else gets the name of a child that is being restarted; the error says why."""
    place = await Place(node, kind, Mailbox()).open()
    await place.crash()
    async with node.mailbox() as me:
        if who == "register":
            with pytest.raises(NameTaken, match="being restarted") as taken:
                node.register("desk", me.ref)
            assert taken.value.holder == place.ref
        elif who == "spawn":
            with pytest.raises(AlreadyStarted, match="being restarted") as started:
                await node.spawn(Desk, [], [], name="desk")
            with pytest.raises(Restarting):
                await started.value.ref.call(Desk.note, 1)
        elif who == "spawn_soon":
            with pytest.raises(AlreadyStarted):
                me.spawn_soon(Desk, [], [], name="desk")
        else:
            child = Child(Desk, [], [], id="other", name="desk")
            with pytest.raises(Exception, match="desk"):
                await place.supervisor.call(Supervisor.start_child, child)
    await trio.sleep(DELAY + 2)
    heir = node.whereis("desk")
    assert heir is not None
    assert heir != place.ref
    heir.exit(KILL)
    await wait_all_tasks_blocked()
    await place.supervisor.call(Supervisor.terminate_child, "desk")
    async with node.mailbox() as me:
        node.register("desk", me.ref)  # free again


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_names_of_a_group(autojump_clock: MockClock, node: Node, strategy: Any) -> None:
    """N4: while a group waits for a child that does not start, the names of those after it stay theirs."""
    seen: list[Any] = []
    broken = [False]
    backoff = Backoff(first=DELAY, factor=1, jitter=0)
    children = [
        Child(Desk, seen, broken, id="a", name="a", backoff=backoff),
        Child(Desk, seen, [], id="b", name="b"),
    ]
    await node.spawn(Supervisor, children, strategy=strategy, intensity=5, period=100)
    broken[0] = True
    node.named("a").exit(KILL)
    await trio.sleep(DELAY + 1)
    async with node.mailbox() as me:
        for name in ("a", "b"):
            with pytest.raises(NameTaken):
                node.register(name, me.ref)
            with pytest.raises(Restarting):
                node.send(name, 1)
    broken[0] = False
    await trio.sleep(DELAY)
    assert await node.named("b").call(Desk.note, "up") == "up"


@pytest.mark.parametrize("comes_back", [True, False])
async def test_child_that_is_renamed_meanwhile(
    autojump_clock: MockClock, node: Node, comes_back: bool
) -> None:
    """N4, SUP-56: a child whose specification gets another name gives up the old one with its next life."""
    place = await Place(node, Desk, Mailbox()).open()
    await place.crash()
    child = Child(Desk, [], [], id="desk", name="new")
    await place.supervisor.call(Supervisor.change, [child])
    with pytest.raises(Restarting):
        node.send("desk", 1)
    if comes_back:
        await trio.sleep(DELAY + 1)
        assert node.whereis("new") is not None
    else:
        await place.supervisor.call(Supervisor.terminate_child, "desk")
    with pytest.raises(NoProcess):
        node.send("desk", 1)
    assert not node.restarting_names
    async with node.mailbox() as me:
        node.register("desk", me.ref)


@KINDS
async def test_stop_of_a_child_that_comes_back(
    autojump_clock: MockClock, node: Node, kind: type[Desk]
) -> None:
    """S8, SUP-25: whoever has asked a child to stop is told that it has, kept mailbox or not."""
    for mailbox in (Mailbox(), Mailbox(inherit=True)):
        place = await Place(node, kind, mailbox).open()
        await place.ref.stop(timeout=1)
        with pytest.raises(Restarting):
            await place.ref.stop(timeout=1)
        await place.supervisor.stop(SHUTDOWN)
