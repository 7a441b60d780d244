"""Programs that showed faults of the first version, as one would write them today.

Two more are in `steps/`: interrupts at every line of the hand-over, in `test_interrupts.py`, and collections
at every allocation, in `test_finalizers.py`.
"""

from __future__ import annotations

import functools
import logging
import math
from contextlib import suppress
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    Actor,
    LiveResult,
    Mailbox,
    MailboxFull,
    NodeConfig,
    Process,
    ProcessDied,
    UnknownMethod,
    open_node,
    system,
)
from enfilade.transport import Policy, register
from enfilade.transport.memory_carrier import MemoryNetwork


class Keeper(Actor):
    def __init__(self) -> None:
        self.items: dict[str, Any] = {"key": "value"}

    async def ping(self) -> str:
        return "pong"

    def all(self) -> dict[str, Any]:
        return self.items

    def size(self) -> int:
        return len(self.items)

    def drawn(self) -> Any:
        return (self.items.setdefault(key, 0) for key in "ab")

    def fail(self) -> None:
        raise HttpError(status=404)

    def on_message(self, message: object) -> None:
        """Takes it."""


class Quick(Keeper):
    """The same with a task, or without: `Keeper` has one."""

    def ping(self) -> str:  # type: ignore[override]
        return "pong"


class Other(Actor):
    def has_not(self) -> None:
        """Is no method of a Keeper."""


@register
class HttpError(Exception):
    """An error whose constructor takes nothing by position."""

    def __init__(self, *, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@pytest.mark.parametrize("actor", [Keeper, Quick])
async def test_limits_that_are_all_different(autojump_clock: object, actor: type[Keeper]) -> None:
    """C3, T4: thousands of calls, each with what is left of an hour, leave no timers behind."""
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(actor)
        for count in range(2000):
            limited = ref.within(3600 - count / 1000)
            assert await (limited.call(actor.ping) if count % 2 else me.request(limited, actor.ping).wait())
        assert node.statistics().timers <= 1


@pytest.mark.parametrize("how", ["call", "request"])
async def test_an_error_that_is_made_by_name_only(autojump_clock: object, how: str) -> None:
    """D9: the caller elsewhere learns what a registered error says, whatever its constructor takes."""
    async with _town() as (home, far), home.mailbox() as me:
        await far.spawn(Keeper, name="it")
        ref = await home.whereis_on(far.full_name, "it")
        assert ref is not None
        with pytest.raises(ProcessDied) as died:
            await (ref.call(Keeper.fail) if how == "call" else me.request(ref, Keeper.fail).receive(1))
        assert "status 404" in str(died.value.__cause__)


class _town:  # noqa: N801 (used as a function)
    """Two nodes that are connected."""

    async def __aenter__(self) -> tuple[Any, Any]:
        network, policy = MemoryNetwork(), Policy.same_user(exports="*")
        self._far = open_node("far", carrier=network.carrier("far"), listen="/far", policy=policy)
        self._home = open_node("home", carrier=network.carrier("home"), policy=policy)
        far, home = await self._far.__aenter__(), await self._home.__aenter__()
        await home.connect("/far")
        return home, far

    async def __aexit__(self, *error: Any) -> None:
        await self._home.__aexit__(*error)
        await self._far.__aexit__(*error)


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_newest", "drop_oldest", "dead_letter"])
@pytest.mark.parametrize("where", ["near", "far"])
async def test_all_that_waited_for_room_arrives(autojump_clock: object, where: str, overflow: Any) -> None:
    """M6, D7: whoever sends by `send_wait` to a slow process loses nothing, near or far."""
    seen: list[int] = []

    async def slow(me: Process) -> None:
        while True:
            seen.append(await me.receive())
            await trio.sleep(1)

    async with _town() as (home, far):
        node = home if where == "near" else far
        await node.spawn(slow, name=where, mailbox=Mailbox(3, overflow))
        ref = home.whereis(where) if where == "near" else await home.whereis_on(far.full_name, where)
        for number in range(10):
            await ref.send_wait(number)
        await trio.sleep(30)
        assert seen == list(range(10))
        assert node.statistics().dead_letters == 0


@pytest.mark.parametrize("actor", [Keeper, Quick])
@pytest.mark.parametrize("where", ["near", "far"])
async def test_a_method_that_it_does_not_have(
    autojump_clock: object, where: str, actor: type[Keeper]
) -> None:
    """C1, R1: the caller gets `UnknownMethod`, a cast is a dead letter; the callee lives, near and far."""
    async with _town() as (home, far):
        node = home if where == "near" else far
        await node.spawn(actor, name=where)
        ref = home.whereis(where) if where == "near" else await home.whereis_on(far.full_name, where)
        with pytest.raises(UnknownMethod):
            await ref.call(Other.has_not)
        ref.cast(Other.has_not)
        assert await ref.call(actor.size) == 1
        assert node.statistics().dead_letters == 1


@pytest.mark.parametrize("overflow", ["fail", "block"])
async def test_every_way_to_address_a_full_mailbox(autojump_clock: object, overflow: Any) -> None:
    """M7, A2: ref, name and alias refuse alike; what was refused has not used a one-shot alias up."""
    async with open_node("n") as node:
        ref = await node.spawn(Quick, name="it", mailbox=Mailbox(1, overflow))
        await system.suspend(ref)
        ref.send("fills it")
        ways = [
            functools.partial(ref.send, 1),
            functools.partial(node.send, "it", 1),
            functools.partial(node.named("it").send, 1),
            functools.partial(ref.cast, Quick.size),
            functools.partial(node.named("it").cast, Quick.size),
        ]
        for way in ways:
            with pytest.raises(MailboxFull):
                way()
        ref.exit(KILL)
        async with node.mailbox(Mailbox(1, overflow)) as me:
            me.ref.send("fills it")
            alias = me.alias("reply")
            with pytest.raises(MailboxFull):
                alias.send(1)
            assert await me.receive() == "fills it"
            alias.send(2)
            assert await me.receive() == 2
        assert node.statistics().dropped == 0


@pytest.mark.parametrize("actor", [Keeper, Quick])
async def test_what_is_shared_by_a_reply(
    autojump_clock: object, caplog: pytest.LogCaptureFixture, actor: type[Keeper]
) -> None:
    """U14, C15: who writes into a reply is named; a reply that would run in the caller is refused."""
    config = NodeConfig(debug=True, call_timeout=math.inf)
    with caplog.at_level(logging.WARNING, "enfilade"):
        async with open_node("n", config=config) as node, node.mailbox() as me:
            ref = await node.spawn(actor)
            view = await ref.call(actor.all)
            view["mine"] = 1
            with suppress(KeyError):
                await ref.call(actor.size)
            with pytest.raises(LiveResult):
                await ref.call(actor.drawn)
            with pytest.raises(LiveResult):
                await me.request(ref, actor.drawn).receive()
            assert await ref.call(actor.ping) == "pong"
    assert any("all" in record.getMessage() for record in caplog.records)
