"""Share nothing, checked: debug mode. Clause U14 of docs/semantics.md."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import attrs
import pytest
from trio.testing import MockClock

from enfilade.actors import Actor, Node, NodeConfig, Process, Ref, open_node
from enfilade.actors.node.sharing import CheckedRef, LiveArgument, Shared
from enfilade.actors.processes.local_ref import LocalRef


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


@pytest.mark.parametrize("way", ["call", "cast", "send", "keyword"])
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
