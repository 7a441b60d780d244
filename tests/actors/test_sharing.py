"""Share nothing, checked: debug mode. Clause U14 of docs/semantics.md."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Call,
    Child,
    Exited,
    Node,
    NodeConfig,
    Process,
    Ref,
    RequestCollection,
    StartError,
    Supervisor,
    open_node,
)
from enfilade.actors.messages import signals
from enfilade.actors.node.sharing import CheckedRef, LiveArgument, Shared
from enfilade.actors.processes.local_ref import LocalRef, process_of


@dataclass
class Order:
    items: list[int] = field(default_factory=list)


@attrs.define
class Parcel:
    items: list[int] = attrs.field(factory=list)


@attrs.frozen
class Sealed:
    number: int
    items: tuple[int, ...] = ()


class Box(Actor):
    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, value: Any) -> None:
        self.kept.append(value)

    def change(self, how: Callable[[Any], Any]) -> None:
        how(self.kept[-1])

    def give(self) -> Any:
        return self.kept[-1]

    def forget(self) -> None:
        self.kept.clear()

    def on_message(self, message: Any) -> None:
        self.kept.append(message)


class AsyncBox(Box):
    async def wait(self) -> None:
        pass


BOXES = pytest.mark.parametrize("box", [Box, AsyncBox])
DEBUG = NodeConfig(debug=True)

CHANGED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "list": (lambda: [1], lambda value: value.append(2)),
    "item of a list": (lambda: [1], lambda value: value.__setitem__(0, 2)),
    "nested": (lambda: {"a": ([],)}, lambda value: value["a"][0].append(1)),
    "dict": (dict, lambda value: value.update(a=1)),
    "set": (set, lambda value: value.add(1)),
    "bytearray": (lambda: bytearray(3), lambda value: value.__setitem__(0, 1)),
    "dataclass": (Order, lambda value: value.items.append(1)),
    "attribute": (Order, lambda value: setattr(value, "items", ())),
    "attrs": (Parcel, lambda value: value.items.append(1)),
    "slot": (Parcel, lambda value: setattr(value, "items", ())),
}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@BOXES
@pytest.mark.parametrize("who", ["sender", "receiver"])
@pytest.mark.parametrize("kind", CHANGED)
async def test_who_changes_what_it_has_sent_or_got_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, kind: str, who: str, box: type[Box]
) -> None:
    """U14: an argument; sender, receiver, method and value are named."""
    make, change = CHANGED[kind]
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(box, name="box")
        value = make()
        await ref.call(box.keep, value)
        if who == "sender":
            change(value)
        else:
            await ref.call(box.change, change)
        await ref.call(box.forget)
        assert node.sharing is not None
        (found,) = node.sharing.found
        assert isinstance(found, Shared)
        assert (found.sender, found.receiver, found.method) == (None, ref, "Box.keep")
    (text,) = told(caplog)
    assert "argument 1 of Box.keep, passed by plain code to <n@local:1 box>" in text


@BOXES
@pytest.mark.parametrize("way", ["cast", "send", "name", "request", "limited"])
async def test_every_way_is_checked(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str, box: type[Box]
) -> None:
    """U14: messages, casts and requests too, between two processes."""
    async with open_node("n", config=DEBUG) as node, node.mailbox(label="me") as me:
        ref: Ref[Any] = await node.spawn(box, name="box")
        value = [1]
        match way:
            case "cast":
                ref.cast(box.keep, value)
            case "send":
                ref.send(value)
            case "name":
                node.named("box").cast(box.keep, value)
            case "request":
                me.request(ref, box.keep, value)
            case "limited":
                await ref.within(1).call(box.keep, value)
        await ref.call(box.change, lambda value: value.append(2))
        assert value == [1, 2]
        assert node.sharing is not None
        (found,) = node.sharing.found
        assert (found.sender, found.receiver) == (me.ref, ref)
    assert len(told(caplog)) == 1


@BOXES
async def test_a_reply_that_the_callee_keeps(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, box: type[Box]
) -> None:
    """U14: the caller writes into it, or the callee does."""
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(box, name="box")
        await ref.call(box.keep, [1])
        view = await ref.call(box.give)
        view.append(2)
        await ref.call(box.forget)
    assert any(
        "the reply of Box.give, passed by <n@local:1 box> to plain code" in line for line in told(caplog)
    )


@BOXES
async def test_what_is_handed_over_may_be_changed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, box: type[Box]
) -> None:
    """U14: only what more than one still holds is shared; and values that cannot change are."""
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(box)
        await ref.call(box.keep, [1])
        await ref.call(box.change, lambda value: value.append(2))
        sealed = Sealed(1, (1, 2))
        for value in (1, "text", (1, (2,)), sealed, frozenset([1]), ref, None):
            await ref.call(box.keep, value)
            assert await ref.call(box.give) is value
        copied = [3]
        await ref.call(box.keep, list(copied))
        copied.append(4)
        await ref.call(box.forget)
        assert node.sharing is not None
        assert not node.sharing.found
    assert told(caplog) == []


class Hostile:
    """Whose every method raises."""

    def __getattribute__(self, name: str) -> Any:
        raise ValueError(name)

    def __eq__(self, other: object) -> bool:
        raise ValueError

    def __hash__(self) -> int:
        raise ValueError

    def __repr__(self) -> str:
        raise ValueError


async def test_no_code_of_the_program_is_called(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """U14: whatever is passed; and what is looked at is bounded."""
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box)
        for value in (Hostile(), [Hostile()], {1: Hostile()}, loop, deep, list(range(10**6)), mock.Mock()):
            await ref.call(Box.keep, value)
            ref.send(value)
        for _ in range(2000):
            await ref.call(Box.keep, [1])


def numbers() -> Iterator[int]:
    yield 1


async def passed(ref: Ref[Any], way: str, value: Any) -> None:
    match way:
        case "call":
            await ref.call(Box.keep, value)
        case "keyword":
            await ref.call(Box.keep, value=value)
        case "cast":
            ref.cast(Box.keep, value)
        case "send":
            ref.send(value)
        case "send_wait":
            await ref.send_wait(value)
        case "request":
            async with node_of(ref).mailbox() as me:
                me.request(ref, Box.keep, value)


def node_of(ref: Ref[Any]) -> Node:
    """The node of a local ref."""
    process = process_of(ref)
    assert process is not None
    return process.node


@pytest.mark.parametrize("way", ["call", "cast", "send", "keyword", "send_wait", "request"])
@pytest.mark.parametrize("make", [numbers, lambda: iter([1]), lambda: map(str, [1])])
async def test_what_has_yet_to_run_is_refused_in_the_sender(
    autojump_clock: MockClock, way: str, make: Callable[[], Any]
) -> None:
    """U14: a generator as an argument would be run by the receiver."""
    async with open_node("n", config=DEBUG) as node:
        ref: Ref[Any] = await node.spawn(Box)
        with pytest.raises(LiveArgument, match="yet to run"):
            await passed(ref, way, make())
        await ref.call(Box.forget)


async def test_without_debug_mode_nothing_is_there(autojump_clock: MockClock) -> None:
    """U14: the refs of a node are chosen when it is made."""
    async with open_node("plain") as plain, open_node("checked", config=DEBUG) as checked:
        assert plain.sharing is None
        assert type(await plain.spawn(Box)) is LocalRef
        ref = await checked.spawn(Box)
        assert type(ref) is type(ref.within(1)) is CheckedRef
        assert ref == ref.within(1)
        assert {ref: 1}[ref.within(1)] == 1


async def test_patches_count_at_once(autojump_clock: MockClock) -> None:
    """U14: also those of hooks, in processes that run already."""
    seen: list[Any] = []
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box)
        with mock.patch.object(Box, "on_message", lambda self, message: seen.append(message)):
            ref.send("patched")
            await ref.call(Box.forget)
        ref.send("not any more")
        assert await ref.call(Box.give) == "not any more"
    assert seen == ["patched"]


async def function(me: Process, node: Node) -> None:
    await me.receive()


async def test_functions_are_checked_too(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """U14: any process of the node."""
    async with open_node("n", config=DEBUG) as node, node.mailbox() as me:
        value = [1]
        me.ref.send(value)
        got = await me.receive()
        got.append(2)
        me.ref.send("look")
    assert len(told(caplog)) == 1


@BOXES
@pytest.mark.parametrize("way", ["receive", "then", "collection", "alias"])
async def test_the_reply_of_a_request_is_checked(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str, box: type[Box]
) -> None:
    """U14: however the reply is taken."""
    async with open_node("n", config=DEBUG) as node, node.mailbox(label="me") as me:
        ref = await node.spawn(box, name="box")
        await ref.call(box.keep, [1])
        target: Ref[Any] = node.processes[ref.serial].alias() if way == "alias" else ref
        request = me.request(target, box.give)
        match way:
            case "then":
                got: list[Any] = []
                request.then(lambda settled: got.append(settled.value))
                await request.wait(1)
                view = request.value
            case "collection":
                collection: RequestCollection[int] = RequestCollection()
                collection.add(request, 1)
                view = (await collection.wait())[1].value
            case _:
                view = await request.receive(1)
        view.append(2)
        del request
        await ref.call(box.forget)
    (text,) = (line for line in told(caplog) if "the reply of" in line)
    assert "the reply of give, passed by" in text
    assert "to <n@local:1 me>" in text


class Given(Box):
    def __init__(self, given: Any, **more: Any) -> None:
        super().__init__()
        self.kept = [given, *more.values()]


class AsyncGiven(Given):
    async def wait(self) -> None:
        pass


async def takes(me: Process, given: Any, **more: Any) -> None:
    change = await me.receive()
    change([given, *more.values()][-1])
    await me.receive()


@pytest.mark.parametrize("target", [Given, AsyncGiven, takes], ids=lambda target: target.__name__)
@pytest.mark.parametrize("way", ["spawn", "spawn_soon", "Child", "start_child"])
@pytest.mark.parametrize("by_name", [False, True])
async def test_arguments_of_a_start_are_checked(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, target: Any, way: str, by_name: bool
) -> None:
    """U14: arguments of `spawn` and of `Child`, which the supervisor keeps for the next incarnation."""
    value = [1]
    given: dict[str, Any] = {"more": value} if by_name else {}
    args = ((),) if by_name else (value,)
    async with open_node("n", config=DEBUG) as node, node.mailbox(label="me") as me:
        ref: Ref[Any]
        match way:
            case "spawn":
                ref = await me.spawn(target, *args, **given)
            case "spawn_soon":
                ref = me.spawn_soon(target, *args, **given)
            case "Child":
                await me.spawn(Supervisor, [Child(target, *args, id="it", name="it", kwargs=given)])
                ref = node.named("it").resolve()
            case _:
                supervisor: Ref[Any] = await me.spawn(Supervisor, [])
                child = Child(target, *args, id="it", kwargs=given)
                ref = await supervisor.call(Supervisor.start_child, child)
        await settle()
        assert node.sharing is not None
        assert not node.sharing.found

        def change(value: Any) -> None:
            value.append(2)

        ref.send(change) if target is takes else ref.cast(Box.change, change)
        await settle()
        me.ref.send("look")
        assert value == [1, 2]
        (found,) = (each for each in node.sharing.found if each.receiver == ref)
        assert found.method == target.__name__
        assert (found.sender == me.ref) is (way in ("spawn", "spawn_soon"))
    assert len(told(caplog)) == (2 if way == "start_child" else 1)  # the `Child` was passed, too


async def _start(node: Node, way: str) -> None:
    match way:
        case "spawn":
            await node.spawn(Given, iter([1]), name="it")
        case "spawn_soon":
            node.spawn_soon(Given, iter([1]), name="it")
        case _:
            await node.spawn(Supervisor, [Child(Given, iter([1]), id="it", name="it")])


@pytest.mark.parametrize("way", ["spawn", "spawn_soon", "Child"])
async def test_what_has_yet_to_run_starts_nothing(autojump_clock: MockClock, way: str) -> None:
    """U14: a generator as an argument of a start is refused in the spawner, and nothing is left behind."""
    async with open_node("n", config=DEBUG) as node:
        before = set(node.processes)
        refused = StartError if way == "Child" else LiveArgument
        with pytest.raises(refused):
            await _start(node, way)
        assert set(node.processes) == before
        assert node.whereis("it") is None


@pytest.mark.parametrize("way", ["alias", "alias by cast", "timer", "forwarded"])
async def test_no_way_around(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str) -> None:
    """U14: aliases, timers and forwarded calls are checked as refs are, and each case is told once."""
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box, name="box")
        alias: Ref[Any] = node.processes[ref.serial].alias()
        value = [1]
        match way:
            case "alias":
                alias.send(value)
            case "alias by cast":
                alias.cast(Box.keep, value)
            case "timer":
                node.send_after(1, ref, value)
                await trio.sleep(2)
            case _:
                ref.deliver(signals.Send(value))
        await settle()
        value.append(2)
        await ref.call(Box.forget)
    assert len(told(caplog)) == 1


class Plain:
    """An object of no kind that a snapshot can look into."""


@attrs.frozen
class Holder:
    held: Any


async def test_what_cannot_be_checked_is_named_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """U14: the class, where it was met first; what cannot change is not named."""
    caplog.set_level(logging.INFO, "enfilade")
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box)
        for value in (
            datetime(2000, 1, 1),
            Path("/"),
            Decimal(1),
            Color.RED,
            Plain,
            len,
            range(3),
            1j,
            ref,
            Exited,
        ):
            await ref.call(Box.keep, value)
        assert node.sharing is not None
        assert not node.sharing.opaque
        for value in (Plain(), [Plain()], Holder(Plain()), StringIO()):
            await ref.call(Box.keep, value)
        assert list(node.sharing.opaque) == [Plain, StringIO]
    lines = [line.getMessage() for line in caplog.records if "debug mode" in line.getMessage()]
    assert lines == [
        "argument 1 of Box.keep: no change of a Plain can be seen in debug mode",
        "argument 1 of Box.keep: no change of a StringIO can be seen in debug mode",
    ]


class Fields(msgspec.Struct):
    items: list[int]


async def test_structs_are_looked_into(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """U14: the fields of msgspec's structs."""
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box)
        value = Fields([1])
        await ref.call(Box.keep, value)
        value.items.append(2)
        await ref.call(Box.forget)
    assert len(told(caplog)) == 1


class Color(Enum):
    RED = 1


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_messages_of_the_runtime_are_its_own(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """U14 is about what the program shares: a supervisor may change its notes of a late start."""

    class Late(Actor):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    async with open_node("n", config=DEBUG) as node:
        with pytest.raises(StartError):
            await node.spawn(Supervisor, [Child(Late, start_timeout=1.0)])
        await (await node.spawn(Box)).call(Box.forget)
    assert told(caplog) == []


@dataclasses.dataclass
class Counted:
    """Holds nothing but what cannot change, and can change itself."""

    number: int = 0


async def test_what_changed_last_is_told_when_the_node_closes(autojump_clock: MockClock) -> None:
    """U14: nothing need be passed after the change; a field of a dataclass is a change of it."""
    async with open_node("n", config=DEBUG) as node:
        ref = await node.spawn(Box)
        counted = Counted()
        await ref.call(Box.keep, counted)
        counted.number = 1
        assert not node.sharing.found
    assert [shared.method for shared in node.sharing.found] == ["Box.keep"]


async def answers_later(me: Process) -> None:
    """Answers with what has yet to run."""
    call = await me.receive(Call)
    call.reply(iter([1]))


async def test_the_reply_to_a_request_has_yet_to_run(autojump_clock: MockClock) -> None:
    """U14: the request fails at once."""
    async with open_node("n", config=DEBUG) as node, node.mailbox() as me:
        request = me.request(await node.spawn(answers_later), Box.forget)
        with pytest.raises(LiveArgument):
            await request.receive(1)
