"""Group S: across nodes. Two nodes of one program, on the memory carrier, in virtual time.

The same rules between processes of the operating system, through doors, are in
tests/transport/test_two_zones.py.
"""

from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    NO_PROCESS,
    Actor,
    Crashed,
    Down,
    Exited,
    Node,
    NoProcess,
    NotConnected,
    Process,
    ProcessDied,
    Refused,
    open_node,
)
from enfilade.transport import FieldMismatch, Policy, Settings, UnregisteredType
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.payload import RemoteError
from enfilade.transport.wire import Call, Link, Send
from tests.conformance.actors.town import (
    Account,
    Point,
    Town,
    autojump_clock,
    mesh_server,
    settle,
    strikes_the_carrier,
    town,
    way,
)

__all__ = ["autojump_clock", "mesh_server", "town", "way"]


async def test_act_s1_remote_error(town: Town, autojump_clock: object) -> None:
    """act-S1: given a child that raises, then a remote error with type, text and origin."""
    ref = await town.a.spawn_on("b@right", "Account")
    async with town.a.mailbox() as me:
        monitor = me.monitor(ref)
        with pytest.raises(ProcessDied) as caught:
            await ref.call(Account.fail, "no money")
        reason = caught.value.reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, ValueError)
        assert str(reason.error) == "no money"
        origin = reason.error.__cause__
        assert isinstance(origin, RemoteError)
        assert (origin.type_name, origin.text, origin.origin) == ("ValueError", "no money", "b@right")
        assert "in fail" in origin.trace
        down = await me.receive(Down)
        assert down.monitor is monitor
        assert isinstance(down.reason, Crashed)


async def test_act_s16_unknown_exception_type(town: Town, autojump_clock: object) -> None:
    """act-S16: given an exception type unknown to the receiver, then a generic remote error with its name."""
    ref = await town.a.spawn_on("b@right", "Account")
    with pytest.raises(ProcessDied) as caught:
        await ref.call(Account.fail_strangely)
    assert isinstance(caught.value.reason, Crashed)
    error = caught.value.reason.error
    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("StrangeError")
    assert error.text == "odd"


@strikes_the_carrier
async def test_act_s10_calls_fail_at_once_when_the_node_link_breaks(
    town: Town, autojump_clock: object
) -> None:
    """act-S10: given the connection breaks in the middle, then an error on both sides, bounded."""
    ref = await town.a.spawn_on("b@right", "Account")
    outcome: list[BaseException] = []

    async def call() -> None:
        try:
            await ref.call(Account.wait)
        except NotConnected as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await settle()
        began = trio.current_time()
        town.cut()
    assert trio.current_time() - began < 1
    assert len(outcome) == 1
    assert town.a.peers == town.b.peers == ()


async def test_act_s14_payload_outside_the_spec(town: Town, autojump_clock: object) -> None:
    """act-S14: given a payload outside the agreed spec, then an error that names the field."""
    ref = await town.a.spawn_on("b@right", "Account")
    with pytest.raises(FieldMismatch, match=r"Point\.x must be int, not str"):
        ref.send(Point("one", 2))  # type: ignore[arg-type]
    with pytest.raises(UnregisteredType, match="object"):
        await ref.call(Account.give, object())
    with pytest.raises(UnregisteredType, match="StrangeThing"):
        await ref.call(Account.give, [StrangeThing()])
    assert await ref.call(Account.give, [Point(1, 2), {"k": (1, {2})}]) == [Point(1, 2), {"k": (1, {2})}]


class StrangeThing:
    """Not registered."""


@strikes_the_carrier
async def test_act_s20_link_and_monitor_when_cut(town: Town, autojump_clock: object) -> None:
    """act-S20: given a remote link and monitor, when cut, then EXIT and DOWN with noconnection."""
    ref = await town.a.spawn_on("b@right", "Account")
    async with town.a.mailbox() as me:
        me.trap_exits = True
        monitors = [me.monitor(ref) for _ in range(3)]
        me.link(ref)
        await settle()
        town.cut()
        got = [await me.receive(timeout=1) for _ in range(4)]
        downs, exits = got[:3], got[3:]
        assert [down.monitor for down in downs] == monitors
        assert {down.reason for down in downs} == {NO_CONNECTION}
        assert exits == [Exited(ref, NO_CONNECTION)]
        await trio.sleep(100)
    # The other side is told as well: an actor that does not trap dies of its link.
    assert not [process for process in town.b.processes.values() if process.ref == ref]


@strikes_the_carrier
async def test_act_s21_frozen_peer(town: Town, autojump_clock: object) -> None:
    """act-S21: given an idle connection, when the peer freezes, then down within 1.25 periods."""
    period = Settings().period
    ref = await town.a.spawn_on("b@right", "Account")
    async with town.a.mailbox() as me:
        me.monitor(ref)
        await trio.sleep(10 * period)
        town.carriers["b"].freeze()
        began = trio.current_time()
        down = await me.receive(Down)
        assert down.reason == NO_CONNECTION
        assert 0.75 * period <= trio.current_time() - began <= 1.25 * period
    town.carriers["b"].thaw()


@strikes_the_carrier
async def test_act_s25_abandoned_spawn(town: Town, autojump_clock: object) -> None:
    """act-S25: given a remote spawn that is abandoned, then the orphan is ended and no message is seen."""
    town.carriers["b"].delay = 1.0
    before = set(town.b.processes)
    with trio.move_on_after(0.5) as scope:
        await town.a.spawn_on("b@right", "Account")
    assert scope.cancelled_caught
    await trio.sleep(10)
    assert set(town.b.processes) == before


async def test_act_s25_abandoned_slow_start(town: Town, autojump_clock: object) -> None:
    """act-S25: the start itself is cut short when it is still going on."""

    async def slow(process: Process) -> None:
        await trio.sleep_forever()

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(50)

    town.b.distribution.entries["Account"] = Slow
    before = set(town.b.processes)
    with trio.move_on_after(5):
        await town.a.spawn_on("b@right", "Account")
    await settle()
    assert set(town.b.processes) == before


async def test_act_s27_only_what_was_handed_out(town: Town, autojump_clock: object) -> None:
    """act-S27: given pids advertised to a peer only, when a peer addresses another pid, then refused."""
    hidden = await town.b.spawn(Account, 100)
    await town.b.spawn(Account, name="hidden-name")
    remote = next(iter(town.a.distribution._current.values()))
    peer = remote.peer
    codec = remote._codec
    payload, _ = codec.encode([[1], {}])
    peer.send(Send(hidden.serial, codec.encode("psst")[0]))
    async with town.a.mailbox() as me:
        peer.send(Link(me.ref.serial, hidden.serial))
        peer.send(Call(1_000_001, hidden.serial, "add", payload))
        await settle()
    assert await hidden.call(Account.history) == []
    assert await hidden.call(Account.add, 0) == 100
    assert hidden._process.links in (None, {})
    with pytest.raises(Refused, match="exports nothing"):
        await town.a.remote("hidden-name", "b@right").call(Account.add, 1)
    assert await town.a.whereis_on("b@right", "hidden-name") is None
    # Handed over, the very same process can be addressed.
    await town.b.spawn(Account, name="account")
    given = await town.a.remote("account", "b@right").call(Account.give, None)
    assert given is None


async def test_act_s26_old_ref_after_a_restart(autojump_clock: object) -> None:
    """act-S26: given a node restarted under its name, when an old pid is used, then noproc."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*")

    def open_b() -> AbstractAsyncContextManager[Node]:
        return open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy)

    async with open_node("a", carrier=network.carrier("a")) as a:
        async with open_b() as b:
            await b.spawn(Account, name="account")
            await a.connect("/b")
            old = await a.whereis_on("b@local", "account")
            assert old is not None
            assert await old.call(Account.add, 1) == 1
        async with open_b() as b:
            new_home = await b.spawn(Account, 50, name="account")
            assert new_home.serial == old.serial
            await a.connect("/b")
            with pytest.raises(NoProcess):
                await old.call(Account.add, 1)
            old.send("to nobody")
            async with a.mailbox() as me:
                me.monitor(old)
                assert (await me.receive(Down)).reason == NO_PROCESS
            assert await a.remote("account", "b@local").call(Account.add, 0) == 50
            assert await new_home.call(Account.history) == []


async def test_act_o9_groups_agree_again_after_a_split(autojump_clock: object) -> None:
    """act-O9: given a netsplit of two nodes, when healed, then group views agree."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        a, b, c = [
            await stack.enter_async_context(
                open_node(
                    name,
                    carrier=network.carrier(name),
                    listen=f"/{name}",
                    policy=Policy.same_user(groups=[] if name == "c" else "shared"),
                )
            )
            for name in "abc"
        ]
        at_a, at_b, later = await a.spawn(Account), await b.spawn(Account), await b.spawn(Account)
        a.scope("shared").join("g", at_a)
        b.scope("shared").join("g", at_b, at_b)
        b.scope("private").join("g", at_b)
        await a.connect("/b")
        await a.connect("/c")
        await settle()
        assert a.scope("shared").members("g") == [at_a, at_b, at_b]
        assert b.scope("shared").members("g") == [at_b, at_b, at_a]
        assert c.scope("shared").members("g") == []
        assert a.scope("private").members("g") == []
        async with a.mailbox() as me:
            a.scope("shared").monitor(me.ref, "g")
            network.cut("a", "b")
            left = await me.receive()
            assert left.refs == (at_b, at_b)
            b.scope("shared").join("g", later)
            b.scope("shared").leave("g", at_b)
            await settle()
            assert a.scope("shared").members("g") == [at_a]
            network.join("a", "b")
            await a.connect("/b")
            await settle()
            assert a.scope("shared").members("g") == [at_a, at_b, later]
            assert b.scope("shared").members("g") == [at_b, later, at_a]
            later.exit(KILL)
            await settle()
            assert a.scope("shared").members("g") == [at_a, at_b]
            a.scope("shared").members("g")[1].send("to a member far away")
            await settle()
        assert await at_b.call(Account.history) == ["to a member far away"]
