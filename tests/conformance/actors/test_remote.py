"""Group S: across nodes. Two nodes of one program, on the memory carrier, in virtual time.

The same rules between processes of the operating system, through doors, are in tests/transport/test_zones.py.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import attrs
import pytest
import trio

from actors import (
    KILL,
    NO_CONNECTION,
    NO_PROCESS,
    Actor,
    Crashed,
    Custom,
    DeadLetter,
    Down,
    Exited,
    Node,
    NodeDown,
    NodeUp,
    NoProcess,
    NotConnected,
    Process,
    ProcessDied,
    Ref,
    Refused,
    StartError,
    UnknownMethod,
    open_node,
)
from transport import FieldMismatch, Limits, Policy, Settings, UnregisteredType, register
from transport.memory import MemoryNetwork
from transport.payload import RemoteError
from transport.wire import Call, Link, Monitor, Send


class Account(Actor):
    """What the tests talk to."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.seen: list[Any] = []

    def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def fail_strangely(self) -> None:
        raise StrangeError("odd")

    def give(self, value: Any) -> Any:
        return value

    def myself(self) -> Ref[Any]:
        return self.process.ref

    def history(self) -> list[Any]:
        return self.seen

    async def wait(self) -> None:
        await trio.sleep_forever()

    def on_message(self, message: Any) -> None:
        self.seen.append(message)


class StrangeError(Exception):
    """A type that is registered nowhere."""


@register
@attrs.frozen
class Point:
    """A registered record."""

    x: int
    y: int


class Town:
    """Two nodes, a and b, connected, and the network between them."""

    def __init__(self, network: MemoryNetwork, a: Node, b: Node, carriers: dict[str, Any]) -> None:
        self.network = network
        self.a = a
        self.b = b
        self.carriers = carriers

    def cut(self) -> None:
        self.network.cut("a", "b")


async def settle() -> None:
    """Let everything that is under way arrive; virtual time passes."""
    await trio.sleep(0.5)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        carriers = {name: network.carrier(name) for name in "ab"}
        a = await stack.enter_async_context(
            open_node("a", zone="left", carrier=carriers["a"], policy=Policy.same_user(), listen="/a")
        )
        b = await stack.enter_async_context(
            open_node(
                "b",
                zone="right",
                carrier=carriers["b"],
                listen="/b",
                policy=Policy.same_user(exports=["account", "public-*"], entries="Account"),
                entries={"Account": Account, "Secret": Account},
            )
        )
        assert await a.connect("/b") == "b@right"
        await settle()
        yield Town(network, a, b, carriers)


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
    """actors.md 3.1: signals arrive in the order in which they were sent; DOWN comes last."""
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


async def test_act_s10_calls_fail_at_once_when_the_node_link_breaks(
    town: Town, autojump_clock: object
) -> None:
    """act-S10: given the connection breaks in the middle, then an error on both sides, bounded."""
    ref = await town.a.spawn_on("b@right", "Account")
    outcome: list[BaseException] = []

    async def call() -> None:
        try:
            await ref.call(Account.wait)
        except ProcessDied as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await settle()
        began = trio.current_time()
        town.cut()
    assert trio.current_time() - began < 1
    assert isinstance(outcome[0], ProcessDied)
    assert outcome[0].reason == NO_CONNECTION
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
    """actors.md 3.3: after unlink, no exit comes over that link; the crossing unlink is acknowledged."""
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
    """actors.md 3.3: a trapping process that links to a dead one gets Exited with no process."""
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


async def test_spawn_is_allowed_by_list_only(town: Town, autojump_clock: object) -> None:
    ref = await town.a.spawn_on("b@right", "Account", 3)
    assert await ref.call(Account.add, 1) == 4
    for entry in ("Secret", "builtins.eval", "os.system"):
        with pytest.raises(Refused, match="exports no spawn entry"):
            await town.a.spawn_on("b@right", entry)
    with pytest.raises(StartError):
        await town.a.spawn_on("b@right", "Account", 1, 2, 3)
    with pytest.raises(NotConnected):
        await town.a.spawn_on("nobody@nowhere", "Account")


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


async def test_refs_pass_to_third_nodes_which_connect_on_demand(autojump_clock: object) -> None:
    """A ref that is passed on carries its token; a forged one is worth nothing."""
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
    from actors.distant import HeldRef

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
    """architecture.md 3.1: hooks and private names cannot be called from outside; the actor lives."""
    ref = await town.a.spawn_on("b@right", "Account", 1)
    remote = next(iter(town.a.distribution._current.values()))
    from actors.calls import Request

    for name in ("on_message", "__init__", "_private", "no_such"):
        request: Request[Any] = Request(town.a, ref, name, (1,), {}, None)
        ref.deliver(request)
        with pytest.raises(UnknownMethod):
            await request.receive(5)
    remote.peer.send(Call(77, ref.serial, "add", remote._codec.encode("not arguments")[0]))
    await settle()
    assert await ref.call(Account.add, 1) == 2


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


async def test_node_up_and_node_down_events(town: Town, autojump_clock: object) -> None:
    async with town.a.mailbox() as me:
        town.a.distribution.monitor_nodes(me.ref)
        town.a.distribution.disconnect("b@right")
        down = await me.receive(NodeDown)
        assert down.name == "b@right"
        assert town.a.peers == ()
        await town.a.connect("/b")
        assert await me.receive(NodeUp) == NodeUp("b@right")


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
        with pytest.raises(ProcessDied) as caught:
            await target.call(Account.add, 1)
        assert caught.value.reason == NO_CONNECTION
    with pytest.raises(NotConnected):
        town.a.remote("account", "b@right")


async def test_a_cut_heals(town: Town, autojump_clock: object) -> None:
    """Both sides see the loss; after a reconnect the refs that were held are good again."""
    ref = await town.a.spawn_on("b@right", "Account", 1)
    town.cut()
    await settle()
    town.network.join("a", "b")
    await town.a.connect("/b")
    assert await ref.call(Account.add, 1) == 2


async def test_late_reply_and_cancel(town: Town, autojump_clock: object) -> None:
    """actors.md 3.5: what comes after the caller has given up is dropped, and nothing is kept."""
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
