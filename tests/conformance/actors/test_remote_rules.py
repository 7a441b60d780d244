"""The rules of docs/semantics.md between processes of two nodes, on the memory carrier, in virtual time."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    Crashed,
    Custom,
    DeadLetter,
    Down,
    Exited,
    NodeDown,
    NodeUp,
    NoProcess,
    NotConnected,
    Process,
    Ref,
    Refused,
    StartError,
    UnknownMethod,
    open_node,
)
from enfilade.actors.messages.signals import STOP
from enfilade.actors.peers.inbound import Inbound
from enfilade.transport import Limits, Policy, memory_file
from enfilade.transport.attachment import LongBytes
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import Call, Cast, Monitor
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
from tests.descriptors import open_descriptors

__all__ = ["autojump_clock", "mesh_server", "town", "way"]


async def test_a_ref_is_a_ref(town: Town, autojump_clock: object) -> None:
    """Call, cast and send, by name and by ref, mean the same as at home."""
    home = await town.b.spawn(Account, 10, name="account")
    by_name: Ref[Account] = town.a.remote("account", "b@right")
    assert await by_name.call(Account.add, 5) == 15
    ref = await town.a.whereis_on("b@right", "account")
    assert ref == home
    assert ref is not None
    ref.cast(Account.add, 1)
    by_name.cast(Account.add, 1)
    assert await ref.call(Account.add, 0) == 17
    ref.send("hello")
    by_name.send(Point(1, 2))
    assert await ref.call(Account.history) == ["hello", Point(1, 2)]
    assert await ref.call(Account.myself) == ref


async def test_signals_of_a_pair_stay_in_order(town: Town, autojump_clock: object) -> None:
    """D1, O2: signals arrive in the order in which they were sent; DOWN comes last."""
    await town.b.spawn(Account, name="account")
    async with town.a.mailbox() as me:

        async def talk(process: Process, target: Ref[Any]) -> None:
            for number in range(500):
                target.send(number)

        town_b_ref = me.ref
        await town.b.spawn(_carry, name="public-carry")
        carry = town.a.remote("public-carry", "b@right")
        monitor = me.monitor(carry)
        carry.send((town_b_ref, 500))
        assert [await me.receive() for _ in range(500)] == list(range(500))
        down = await me.receive(Down)
        assert down.monitor is monitor


async def _carry(process: Process) -> None:
    target, count = await process.receive()
    for number in range(count):
        target.send(number)


async def test_a_reply_that_cannot_travel_fails_the_call_alone(town: Town, autojump_clock: object) -> None:
    class Odd(Account):
        def odd(self) -> object:
            return object()

    home = await town.b.spawn(Odd, name="account")
    ref: Ref[Odd] = town.a.remote("account", "b@right")
    with pytest.raises(Exception, match="cannot travel"):
        await ref.call(Odd.odd)
    assert await ref.call(Odd.add, 1) == 1
    assert await home.call(Odd.add, 1) == 2


async def test_links_across_nodes_carry_exits_both_ways(town: Town, autojump_clock: object) -> None:
    async with town.a.mailbox() as me:
        me.trap_exits = True
        first = await town.a.spawn_on("b@right", "Account")
        me.link(first)
        first.cast(Account.fail, "x")
        exited = await me.receive(Exited)
        assert exited.ref == first
        assert isinstance(exited.reason, Crashed)
        second = await town.a.spawn_on("b@right", "Account")
        monitor = me.monitor(second)

        async def friend(process: Process) -> None:
            process.link(second)
            await process.receive()

        local = await town.a.spawn(friend)
        await settle()
        me.exit(local, Custom("bye"))
        down = await me.receive(Down)
        assert (down.monitor, down.reason) == (monitor, Custom("bye"))


async def test_unlink_across_nodes(town: Town, autojump_clock: object) -> None:
    """L4: after unlink, no exit comes over that link; the crossing unlink is acknowledged."""
    async with town.a.mailbox() as me:
        me.trap_exits = True
        ref = await town.a.spawn_on("b@right", "Account")
        for _ in range(10):
            me.link(ref)
            me.unlink(ref)
        await settle()
        ref.exit(KILL)
        await settle()
        with pytest.raises(Exception, match="no matching message"):
            await me.receive(timeout=0)
        assert not me.links


async def test_link_to_a_dead_remote_process(town: Town, autojump_clock: object) -> None:
    """L2: a trapping process that links to a dead one gets Exited with no process."""
    ref = await town.a.spawn_on("b@right", "Account")
    ref.exit(KILL)
    await settle()
    async with town.a.mailbox() as me:
        me.trap_exits = True
        me.link(ref)
        assert await me.receive(Exited) == Exited(ref, NO_PROCESS)
        me.monitor(ref)
        assert (await me.receive(Down)).reason == NO_PROCESS
    with pytest.raises(NoProcess):
        await ref.call(Account.add, 1)


async def test_demonitor_across_nodes(town: Town, autojump_clock: object) -> None:
    ref = await town.a.spawn_on("b@right", "Account")
    async with town.a.mailbox() as me:
        kept, dropped = me.monitor(ref), me.monitor(ref)
        assert me.demonitor(dropped)
        ref.exit(KILL)
        assert (await me.receive(Down)).monitor is kept
        with pytest.raises(Exception, match="no matching message"):
            await me.receive(timeout=10)


async def test_spawn_is_allowed_by_list_only(town: Town, autojump_clock: object) -> None:
    ref = await town.a.spawn_on("b@right", "Account", 3)
    assert await ref.call(Account.add, 1) == 4
    for entry in ("Secret", "builtins.eval", "os.system"):
        with pytest.raises(Refused, match=r"exports no spawn entry .*; name it in `entries`"):
            await town.a.spawn_on("b@right", entry)
    with pytest.raises(StartError):
        await town.a.spawn_on("b@right", "Account", 1, 2, 3)
    with pytest.raises(NotConnected):
        await town.a.spawn_on("nobody@nowhere", "Account")
    # What the keywords of `Node.spawn` decide, the spawning node does not: they would be the target's own.
    for option in ({"name": "account"}, {"link": True}, {"spawner": None}, {"arena": "node"}):
        with pytest.raises(StartError, match=f"unexpected keyword argument '{next(iter(option))}'"):
            await town.a.spawn_on("b@right", "Account", **option)
    assert town.b.whereis("account") is None


async def test_monitor_of_what_may_not_be_addressed(town: Town, autojump_clock: object) -> None:
    hidden = await town.b.spawn(Account)
    remote = next(iter(town.a.distribution._current.values()))
    async with town.a.mailbox() as me:
        monitor = me.monitor(town.a.remote("no-such-name", "b@right"))
        assert (await me.receive(Down)).reason == NO_PROCESS
        assert not monitor.active
        remote.peer.send(Monitor(4_000_000, hidden.serial))
        await settle()
    assert not hidden._process.watchers


async def test_refs_pass_to_third_nodes_which_connect_on_demand(autojump_clock: object) -> None:
    """D2, D6: a ref that is passed on carries its token; a forged one is worth nothing."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(
                open_node(
                    name,
                    carrier=network.carrier(name),
                    listen=f"/{name}",
                    policy=Policy.same_user(exports="public"),
                )
            )
            for name in "abc"
        }
        a, b, c = nodes.values()
        home = await c.spawn(Account, 7, name="public")
        await b.spawn(Account, name="public")
        await a.connect("/b")
        await b.connect("/c")
        at_b = await b.whereis_on("c@local", "public")
        await b.remote("public", "c@local").call(Account.give, None)
        holder = a.remote("public", "b@local")
        b_public = b.whereis("public")
        assert b_public is not None
        b_public.send(at_b)
        (ref,) = await holder.call(Account.history)
        assert ref == home
        assert "c@local" not in a.peers
        assert await ref.call(Account.add, 1) == 8
        assert "c@local" in a.peers
        async with a.mailbox() as me:
            me.monitor(ref)
            home.exit(KILL)
            assert (await me.receive(Down)).ref == home


async def test_forged_token_reaches_nobody(town: Town, autojump_clock: object) -> None:
    hidden = await town.b.spawn(Account, 100)
    from enfilade.actors.peers.remote_refs import HeldRef

    remote = next(iter(town.a.distribution._current.values()))
    forged: HeldRef = HeldRef(town.a, remote, hidden.serial, b"\0" * 16)
    with pytest.raises(Refused):
        await forged.call(Account.add, 1)
    # Nor does a forged ref to us, sent to us, lead anywhere.
    account = await town.b.spawn(Account, name="account")
    town.a.remote("account", "b@right").send(forged)
    await settle()
    (received,) = await account.call(Account.history)
    with pytest.raises(NoProcess):
        await received.call(Account.add, 1)
    assert await hidden.call(Account.add, 0) == 100


async def test_only_public_methods(town: Town, autojump_clock: object) -> None:
    """C1: hooks and private names cannot be called from outside; the actor lives."""
    ref = await town.a.spawn_on("b@right", "Account", 1)
    remote = next(iter(town.a.distribution._current.values()))
    from enfilade.actors.messages.request import Request

    for name in ("on_message", "__init__", "_private", "no_such"):
        request: Request[Any] = Request(town.a, ref, name, (1,), {}, None)
        ref.deliver(request)
        with pytest.raises(UnknownMethod):
            await request.receive(5)
    remote.peer.send(Call(77, ref.serial, "add", remote._codec.encode("not arguments")[0]))
    remote.peer.send(Cast(ref.serial, STOP, remote._codec.encode([[NORMAL], {}])[0]))
    for arguments in ([], ["normal"], [NORMAL, NORMAL]):
        remote.peer.send(Call(78, ref.serial, STOP, remote._codec.encode([arguments, {}])[0]))
    await settle()
    assert await ref.call(Account.add, 1) == 2


async def test_a_cast_is_refused_before_it_is_decoded(
    town: Town, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: what a peer may not ask for, or what the actor has not, costs no decoding; the descriptors go."""
    ref = await town.a.spawn_on("b@right", "Account", 1)
    remote = next(iter(town.a.distribution._current.values()))
    decoded: list[Any] = []
    decode = Inbound._decode
    monkeypatch.setattr(
        Inbound, "_decode", lambda self, *args: (decoded.append(args), decode(self, *args))[1]
    )
    before, letters = open_descriptors(), town.b.dead_letters.count
    for to, method in (
        (ref.serial, "no_such"),
        (ref.serial, "on_message"),
        ("hidden", "add"),
        (10**9, "add"),
    ):
        # What is long travels in a memory file, or as it is; a descriptor of another kind, not everywhere.
        file = memory_file.create(b"long") if remote.peer.takes_descriptors else LongBytes(b"long")
        remote.peer.send(Cast(to, method, remote._codec.encode([[1], {}])[0], 1), [file])
    await settle()
    assert not decoded
    assert open_descriptors() == before
    assert town.b.dead_letters.count == letters + 2  # those that are the sender's mistakes
    remote.peer.send(Cast(ref.serial, "add", remote._codec.encode([[1], {}])[0]))
    await settle()
    assert len(decoded) == 1
    assert await ref.call(Account.add, 0) == 2


async def test_calls_beyond_the_limit_are_refused(autojump_clock: object) -> None:
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", limits=Limits(pending=3))
    async with (
        open_node("a", carrier=network.carrier("a")) as a,
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
    ):
        await b.spawn(Account, name="account")
        await a.connect("/b")
        ref = a.remote("account", "b@local")
        refused = []

        async def call() -> None:
            try:
                await ref.within(5).call(Account.wait)
            except Refused:
                refused.append(1)
            except Exception:
                pass

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert len(refused) == 2


@strikes_the_carrier
async def test_node_up_and_node_down_events(town: Town, autojump_clock: object) -> None:
    async with town.a.mailbox() as me:
        town.a.distribution.monitor_nodes(me.ref)
        town.a.distribution.disconnect("b@right")
        down = await me.receive(NodeDown)
        assert down.name == "b@right"
        assert town.a.peers == ()
        await town.a.connect("/b")
        assert await me.receive(NodeUp) == NodeUp("b@right")


@strikes_the_carrier
async def test_signals_to_a_lost_node(town: Town, autojump_clock: object) -> None:
    ref = await town.a.spawn_on("b@right", "Account")
    name = town.a.remote("account", "b@right")
    town.cut()
    await settle()
    async with town.a.mailbox() as me:
        town.a.dead_letters.subscribe(me.ref)
        ref.send("lost")
        letter = await me.receive(DeadLetter)
        assert (letter.message, letter.reason) == ("lost", NO_CONNECTION)
        me.monitor(ref)
        assert (await me.receive(Down)).reason == NO_CONNECTION
        me.trap_exits = True
        me.link(ref)
        assert (await me.receive(Exited)).reason == NO_CONNECTION
    for target in (ref, name):
        with pytest.raises(NotConnected, match="its node is not connected"):
            await target.call(Account.add, 1)
    with pytest.raises(NotConnected):
        town.a.remote("account", "b@right")


@strikes_the_carrier
async def test_a_cut_heals(town: Town, autojump_clock: object) -> None:
    """Both sides see the loss; after a reconnect the refs that were held are good again."""
    ref = await town.a.spawn_on("b@right", "Account", 1)
    town.cut()
    await settle()
    town.network.join("a", "b")
    await town.a.connect("/b")
    assert await ref.call(Account.add, 1) == 2


async def test_late_reply_and_cancel(town: Town, autojump_clock: object) -> None:
    """C3: what comes after the caller has given up is dropped, and nothing is kept."""
    ref = await town.a.spawn_on("b@right", "Account")
    remote = next(iter(town.a.distribution._current.values()))
    for _ in range(600):
        with trio.move_on_after(0.001):
            await ref.call(Account.wait)
    await settle()
    assert len(remote._open.calls) < 600


async def test_aliases_travel(town: Town, autojump_clock: object) -> None:
    await town.b.spawn(_replier, name="public-replier")
    async with town.a.mailbox() as me:
        alias = me.alias("reply")
        town.a.remote("public-replier", "b@right").send(alias)
        assert await me.receive() == "first"
        with pytest.raises(Exception, match="no matching message"):
            await me.receive(timeout=5)


async def _replier(process: Process) -> None:
    alias = await process.receive()
    alias.send("first")
    alias.send("second")
    await process.receive()


@strikes_the_carrier
async def test_nothing_is_left(town: Town, autojump_clock: object) -> None:
    """act-U8 across nodes: when the node link is over, neither side keeps anything of it."""
    ref = await town.a.spawn_on("b@right", "Account")
    async with town.a.mailbox() as me:
        me.trap_exits = True
        me.monitor(ref)
        me.link(ref)
        await ref.call(Account.add, 1)
        remote_a = next(iter(town.a.distribution._current.values()))
        remote_b = next(iter(town.b.distribution._current.values()))
        town.cut()
        await settle()
        for remote in (remote_a, remote_b):
            ledger = remote._open
            assert not any(
                (
                    ledger.calls,
                    ledger.answering,
                    ledger.monitors,
                    ledger.watched,
                    ledger.links,
                    ledger.asked,
                    ledger.spawning,
                )
            )
            assert not len(remote._passing.granted)
    assert town.b.statistics().watchers == 0
    assert town.a.statistics().links == 0


async def test_what_the_runtime_cannot_send_harms_nobody(town: Town, autojump_clock: object) -> None:
    """A timer, the name of a group, a reason that cannot travel: a dead letter, or told in words."""
    ref = await town.a.spawn_on("b@right", "Account")
    town.a.send_after(0.1, ref, object())
    await settle()
    assert town.a.statistics().dead_letters == 1
    async with town.a.mailbox() as me:
        local = await town.a.spawn(_carry)
        town.a.scope("shared").monitor_scope(ref)
        town.a.scope("shared").join(frozenset({Ref}), local)
        monitor = me.monitor(ref)
        me.exit(ref, Custom({1: object()}))
        assert (await me.receive(Down)).monitor is monitor
        assert town.a.peers == ("b@right",)
