"""What signals to another node come to when it is not there: docs/semantics.md, "Between nodes".

Nodes of one program, on the memory carrier, in virtual time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NO_CONNECTION,
    NO_PROCESS,
    CallError,
    DeadLetter,
    Down,
    Exited,
    Left,
    Node,
    NodeDown,
    NodeUp,
    NoProcess,
    NotConnected,
    Process,
    ProcessDied,
    Ref,
    Refused,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.town import (
    Account,
    Town,
    autojump_clock,
    mesh_server,
    settle,
    strikes_the_carrier,
    town,
    way,
)

__all__ = ["autojump_clock", "mesh_server", "town", "way"]

ANYTHING = Policy.same_user(exports="*", groups="*")


@asynccontextmanager
async def start(network: MemoryNetwork, name: str) -> AsyncIterator[Node]:
    """A node with an account, at `/name`."""
    carrier = network.carrier(name)
    async with open_node(name, carrier=carrier, listen=f"/{name}", policy=ANYTHING) as node:
        await node.spawn(Account, name="account")
        yield node


async def buried(node: Node, ref: Ref[Any]) -> set[object]:
    """Why a message and a cast to `ref` have become dead letters here."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref.send("text")
        ref.cast(Account.add, 1)
        letters = [await me.receive(DeadLetter, timeout=60) for _ in range(2)]
    assert "text" in [letter.message for letter in letters]
    return {letter.reason for letter in letters}


async def ends(node: Node, ref: Ref[Any]) -> tuple[type[CallError], object]:
    """What a call and a monitor come to; a link, which names have none of, must agree with the monitor."""
    with pytest.raises(CallError) as caught:
        await ref.call(Account.add, 1)
    async with node.mailbox() as me:
        me.trap_exits = True
        me.monitor(ref)
        reason = (await me.receive(Down, timeout=5)).reason
        if ref.serial:
            me.link(ref)
            assert await me.receive(timeout=5) == Exited(ref, reason)
        return type(caught.value), reason


async def test_a_node_that_was_never_connected(autojump_clock: object) -> None:
    """D4: nobody can be addressed there, and the error names the node and those that are connected."""
    network = MemoryNetwork()
    async with start(network, "a") as a, start(network, "b"):
        await a.connect("/b")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: a.remote("account", "c@local").call(Account.add, 1),
            lambda: a.whereis_on("c@local", "account"),
            lambda: a.spawn_on("c@local", "Account"),
        ]
        for attempt in attempts:
            with pytest.raises(NotConnected, match=r"'c@local' is not connected; .* b@local") as caught:
                await attempt()
            assert caught.value.target == "c@local"


async def test_a_node_that_is_there(town: Town, autojump_clock: object) -> None:
    """D4: nobody under a number or an exported name is NoProcess, what is not exported is Refused."""
    ref = await town.a.spawn_on("b@right", "Account")
    await ref.stop()
    for dead in (ref, town.a.remote("account", "b@right")):
        assert await ends(town.a, dead) == (NoProcess, NO_PROCESS)
    with pytest.raises(Refused, match=r"exports nothing under 'secret' .*; name it in `exports`"):
        await town.a.remote("secret", "b@right").call(Account.add, 1)


@strikes_the_carrier
async def test_a_node_that_is_lost_during_a_call(town: Town, autojump_clock: object) -> None:
    """D3, D4: whoever waits for an answer is told at once, and what became of the process is not claimed."""
    ref = await town.a.spawn_on("b@right", "Account")
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: ref.call(Account.wait),
        lambda: town.a.whereis_on("b@right", "account"),
        lambda: town.a.spawn_on("b@right", "Account"),
    ]
    errors: list[NotConnected] = []

    async def ask(question: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(NotConnected, match="'b@right' was lost before the answer came") as caught:
            await question()
        errors.append(caught.value)

    town.carriers["b"].freeze()
    async with trio.open_nursery() as nursery:
        for question in asked:
            nursery.start_soon(ask, question)
        await settle()
        town.cut()
        began = trio.current_time()
    assert trio.current_time() - began < 1
    assert [error.target for error in errors] == ["b@right"] * 3
    town.carriers["b"].thaw()


@strikes_the_carrier
async def test_a_node_that_was_lost(town: Town, autojump_clock: object) -> None:
    """D4: while nothing is known of a later start, its processes are out of reach and not dead."""
    await town.b.spawn(Account, name="account")
    by_name = town.a.remote("account", "b@right")
    ref = await town.a.whereis_on("b@right", "account")
    assert ref is not None
    town.cut()
    await settle()
    for target in (ref, by_name):
        assert await ends(town.a, target) == (NotConnected, NO_CONNECTION)
        assert await buried(town.a, target) == {NO_CONNECTION}
    town.network.join("a", "b")
    assert await ref.call(Account.add, 1) == 1, "it was called because there was something to deliver"
    assert await by_name.call(Account.add, 1) == 2


async def test_an_earlier_life(autojump_clock: object) -> None:
    """D5: refs of an earlier life of a node, by number and by name, stay dead, whatever happens later."""
    network = MemoryNetwork()
    async with start(network, "a") as a:
        async with start(network, "b"):
            await a.connect("/b")
            old = await a.whereis_on("b@local", "account")
            old_name = a.remote("account", "b@local")
            assert old is not None
        assert await ends(a, old) == (NotConnected, NO_CONNECTION), "the address is empty"
        async with start(network, "b"):
            # Nobody has connected yet: the first call finds out.
            assert await ends(a, old) == (NoProcess, NO_PROCESS)
            assert await a.remote("account", "b@local").call(Account.history) == []
            assert await ends(a, old_name) == (NoProcess, NO_PROCESS)
        for dead in (old, old_name):
            assert await ends(a, dead) == (NoProcess, NO_PROCESS)
            assert await buried(a, dead) == {NO_PROCESS}


async def test_a_later_life_that_only_others_have_met(autojump_clock: object) -> None:
    """D5, D6: a ref to a start of a node that we have not met is good, though we have met an earlier one."""
    network = MemoryNetwork()
    async with start(network, "a") as a, start(network, "c") as c:
        async with start(network, "b"):
            await a.connect("/b")
            old = await a.whereis_on("b@local", "account")
            assert old is not None
        async with start(network, "b"):
            await c.connect("/b")
            await a.connect("/c")
            new = await c.whereis_on("b@local", "account")
            given: Ref[Account] = await a.remote("account", "c@local").call(Account.give, new)
            assert given == new
            assert await given.call(Account.add, 1) == 1
            assert await ends(a, old) == (NoProcess, NO_PROCESS)


@strikes_the_carrier
async def test_an_end_for_want_of_a_connection(town: Town, autojump_clock: object) -> None:
    """D4: a process that itself ended with NO_CONNECTION has ended, and its callers are told so."""
    far = await town.a.spawn_on("b@right", "Account")

    async def linked(me: Process) -> None:
        me.link(far)
        await trio.sleep_forever()

    local = await town.a.spawn(linked)
    await settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_end, local)
        await settle()
        town.cut()


async def _expect_end(ref: Ref[Any]) -> None:
    with pytest.raises(ProcessDied) as caught:
        await ref.call(Account.wait)
    assert caught.value.reason == NO_CONNECTION


async def test_the_order_of_a_loss(autojump_clock: object) -> None:
    """D3: monitors, links, calls, groups, events; all before the node can be connected again."""
    network = MemoryNetwork()
    async with start(network, "a") as a, start(network, "b") as b, a.mailbox() as me:
        await a.connect("/b")
        me.trap_exits = True
        ref = await a.whereis_on("b@local", "account")
        assert ref is not None
        at_home = b.whereis("account")
        assert at_home is not None
        me.link(ref)
        monitor = me.monitor(ref)
        request = me.request(ref, Account.wait)
        b.scope("news").join("g", at_home)
        await settle()
        a.scope("news").monitor(me.ref, "g")
        a.distribution.monitor_nodes(me.ref)
        network.cut("a", "b")
        await settle()
        network.join("a", "b")
        await a.connect("/b")
        assert await me.receive(timeout=1) == Down(monitor, ref, NO_CONNECTION)
        assert await me.receive(timeout=1) == Exited(ref, NO_CONNECTION)
        assert await me.receive(timeout=1) == Left("news", "g", (ref,))
        assert isinstance(await me.receive(timeout=1), NodeDown)
        assert isinstance(await me.receive(timeout=1), NodeUp)
        with pytest.raises(NotConnected):
            request.result()


async def test_why_a_node_cannot_be_called_is_told_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning when a reason first appears, and again when it has been another, or gone, in between."""

    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        caplog.clear()
        return found

    network = MemoryNetwork()
    async with start(network, "a") as a:
        async with start(network, "b"):
            await a.connect("/b")
            ref = await a.whereis_on("b@local", "account")
            assert ref is not None
            network.cut("a", "b")
            await settle()
            for _ in range(3):
                ref.send("in vain")
                await settle()
            (warning,) = warnings()
            assert warning.startswith("failed to connect to the node at /b: ")
            network.join("a", "b")
            await a.connect("/b")
        for _ in range(3):
            ref.send("in vain")
            await settle()
        (warning,) = warnings()
        assert warning.startswith("failed to connect to the node at /b: ")
