"""Plain messages whose class cannot be looked up in a table: its metaclass compares, and so has no hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    Call,
    Custom,
    EventHandler,
    EventManager,
    Machine,
    Node,
    NodeConfig,
    Pool,
    Process,
    ProcessDied,
    Ref,
    Supervisor,
    Worker,
    open_node,
    system,
)
from enfilade.actors.patterns.machine import when


class Comparing(type):
    def __eq__(cls, other: object) -> Any:
        return [cls, other]


class Row(metaclass=Comparing):
    pass


got: list[Any] = []


class Sync(Actor):
    def on_message(self, message: Any) -> None:
        got.append(message)

    def ping(self) -> str:
        return "pong"


class Async(Actor):
    async def on_message(self, message: Any) -> None:
        got.append(message)

    async def ping(self) -> str:
        return "pong"


async def function(me: Process) -> None:
    while True:
        match await me.receive():
            case Call() as call:
                call.reply("pong")
            case message:
                got.append(message)


class Turnstile(Machine):
    initial = "locked"

    def ping(self) -> str:
        return "pong"

    def on_message(self, message: Any) -> None:
        got.append(message)

    @when("locked", ping)
    def locked(self) -> str:
        return "pong"


class Handler(EventHandler):
    def on_event(self, event: Any) -> None:
        got.append(event)


class Idle(Worker):
    def work(self, job: Any) -> None:
        """Done at once."""


async def manager(node: Node) -> Ref[Any]:
    ref = await node.spawn(EventManager)
    await ref.call(EventManager.add_handler, "key", Handler)
    return ref


KINDS: dict[str, tuple[Callable[[Node], Any], Any]] = {
    "sync": (lambda node: node.spawn(Sync), Sync.ping),
    "async": (lambda node: node.spawn(Async), Async.ping),
    "function": (lambda node: node.spawn(function), Sync.ping),
    "machine": (lambda node: node.spawn(Turnstile), Turnstile.ping),
    "event manager": (manager, EventManager.which_handlers),
    "pool": (lambda node: node.spawn(Pool, Idle, size=1), Pool.statistics),
    "supervisor": (lambda node: node.spawn(Supervisor), Supervisor.count_children),
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_such_a_message_is_one_like_others(kind: str, traced: bool, debug: bool) -> None:
    """U2: it reaches `on_message`, or becomes a dead letter; nobody ends of it."""
    got.clear()
    spawn, ping = KINDS[kind]
    row = Row()
    async with open_node("n", config=NodeConfig(debug=debug)) as node:
        ref = await spawn(node)
        if traced:
            await system.trace(ref)
        ref.send(row)
        ref.send(row)
        await ref.call(ping)
        if kind in ("pool", "supervisor"):
            assert node.statistics().dead_letters == (0 if kind == "pool" else 2)
        else:
            assert [message is row for message in got] == [True, True]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_unread_it_keeps_nobody_behind_it_waiting(
    kind: str, debug: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """O2: the calls that an ended process leaves unanswered fail at once, whatever else was queued."""
    spawn, ping = KINDS[kind]
    outcomes = []
    async with open_node("n", config=NodeConfig(debug=debug)) as node, trio.open_nursery() as nursery:
        ref = await spawn(node)
        await system.suspend(ref)

        async def ask() -> None:
            with pytest.raises(ProcessDied):
                await ref.call(ping)
            outcomes.append(trio.current_time())

        ref.send(Row())
        nursery.start_soon(ask)
        await trio.sleep(1)
        before = trio.current_time()
        ref.exit(Custom("end"))
        await trio.sleep(1)
        assert outcomes == [before]
