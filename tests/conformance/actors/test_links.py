"""Group J: links and exit signals. Clauses L1 to L7 of docs/semantics.md."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Crashed,
    Down,
    Exited,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    Reason,
    ReceiveTimeout,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Async, Sync, idle, obedient, trapper


@pytest.mark.parametrize("tier", TIERS)
async def test_act_j1_linked_peer_dies_with_same_reason(
    autojump_clock: MockClock, node: Node, tier: Any
) -> None:
    """L1: an abnormal end goes over a link, and the peer ends with that very reason."""
    async with node.mailbox() as me:
        a, b = await node.spawn(tier), await node.spawn(tier)
        await a.call(tier.link_to, b)
        me.monitor(b)
        with pytest.raises(ProcessDied):
            await a.call(tier.end, BOOM)
        down = await me.receive(match=Down, timeout=1)
        assert (down.ref, down.reason) == (b, BOOM)


@pytest.mark.parametrize("tier", TIERS)
async def test_normal_end_spares_a_linked_peer(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """L3: the reason normal goes over a link without effect on one that does not trap."""
    a, b = await node.spawn(tier), await node.spawn(tier)
    await a.call(tier.link_to, b)
    await a.stop()
    await wait_all_tasks_blocked()
    assert await b.call(tier.echo, 1) == 1


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, BOOM])
async def test_trapped_exit_is_a_message(autojump_clock: MockClock, node: Node, reason: Any) -> None:
    """L3: one that traps is sent `Exited`, for a normal end too."""
    async with node.mailbox() as me:
        me.trap_exits = True
        child = await me.spawn(obedient, link=True)
        child.send(reason)
        assert await me.receive(timeout=1) == Exited(child, reason)


async def test_act_j4_raised_kill_is_trappable(autojump_clock: MockClock, node: Node) -> None:
    """A process that itself ends with the reason kill sends kill over its links, which can be trapped."""
    async with node.mailbox() as me:
        victim = await node.spawn(obedient)
        peer = await node.spawn(trapper, me.ref)
        assert await me.receive(timeout=1) == "ready"
        peer._process.link(victim)  # type: ignore[attr-defined]
        victim.send(KILL)
        assert await me.receive(timeout=1) == Exited(victim, KILL)
        assert peer._process.ended is None  # type: ignore[attr-defined]


async def test_link_carried_kill_ends_with_kill(autojump_clock: MockClock, node: Node) -> None:
    """L3: kill over a link is not converted; killed is for the untrappable signal."""
    async with node.mailbox() as me:
        victim, peer = await node.spawn(obedient), await node.spawn(idle)
        victim._process.link(peer)  # type: ignore[attr-defined]
        me.monitor(peer)
        victim.send(KILL)
        assert (await me.receive(match=Down, timeout=1)).reason == KILL


@pytest.mark.parametrize("tier", TIERS)
async def test_kill_signal_is_untrappable(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """L3: exit(P, kill) ends even one that traps, as killed, without on_stop."""
    async with node.mailbox() as me:
        victim = await node.spawn(tier, me.ref, True)
        me.monitor(victim)
        me.exit(victim, KILL)
        down = await me.receive(timeout=1)
        assert isinstance(down, Down)
        assert down.reason == KILLED


@pytest.mark.parametrize("tier", TIERS)
async def test_act_j5_normal_exit_to_self(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """exit(self, normal) ends the process, although normal from others would not."""

    class Suicidal(tier):  # type: ignore[misc]
        def on_message(self, message: Any) -> None:
            self.process.exit(self.process.ref, NORMAL)

    async with node.mailbox() as me:
        victim = await node.spawn(Suicidal)
        me.monitor(victim)
        me.exit(victim, NORMAL)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)
        victim.send("go")
        assert (await me.receive(match=Down, timeout=1)).reason == NORMAL


@pytest.mark.parametrize("trapping", [True, False])
async def test_act_j7_link_to_a_dead_process(autojump_clock: MockClock, node: Node, trapping: bool) -> None:
    """L2: when trapping: Exited with no process; when not: the error."""
    dead = await node.spawn(Sync)
    await dead.stop()
    async with node.mailbox() as me:
        me.trap_exits = trapping
        if trapping:
            me.link(dead)
            assert await me.receive(timeout=1) == Exited(dead, NO_PROCESS)
        else:
            with pytest.raises(NoProcess):
                me.link(dead)


@pytest.mark.parametrize("link", [False, True])
async def test_act_j8_failing_child(autojump_clock: MockClock, node: Node, link: bool) -> None:
    """Without a link the parent lives, with one it dies."""

    async def parent(me: Process) -> None:
        child = await me.spawn(obedient, link=link)
        assert await me.receive() == "fail"
        child.send(BOOM)
        await trio.sleep_forever()

    async with node.mailbox() as me:
        ref = await node.spawn(parent)
        me.monitor(ref)
        ref.send("fail")
        if link:
            assert (await me.receive(match=Down, timeout=1)).reason == BOOM
        else:
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=1)


async def test_spawn_with_link_is_atomic(autojump_clock: MockClock, node: Node) -> None:
    """L5: a child that dies in its first step is linked already."""

    async def stillborn(me: Process) -> None:
        raise ValueError("at once")

    async with node.mailbox() as me:
        me.trap_exits = True
        child = await me.spawn(stillborn, link=True)
        exited = await me.receive(match=Exited, timeout=1)
        assert exited.ref == child


async def test_act_j10_two_links_are_one(autojump_clock: MockClock, node: Node) -> None:
    """Linking twice is one link: one unlink takes it down."""
    async with node.mailbox() as me:
        me.trap_exits = True
        peer = await node.spawn(obedient)
        me.link(peer)
        me.link(peer)
        me.unlink(peer)
        peer.send(BOOM)
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_act_j11_queued_exit_survives_unlink(autojump_clock: MockClock, node: Node) -> None:
    """L4: an `Exited` that is queued stays when the link is taken down after."""
    async with node.mailbox() as me:
        me.trap_exits = True
        peer = await me.spawn(obedient, link=True)
        peer.send(BOOM)
        await wait_all_tasks_blocked()
        me.unlink(peer)
        assert await me.receive(timeout=0) == Exited(peer, BOOM)


async def test_link_to_self_is_nothing(autojump_clock: MockClock, node: Node) -> None:
    """L1: a link to oneself is no link."""
    async with node.mailbox() as me:
        me.link(me.ref)
        assert not me.links


@pytest.mark.parametrize("seed", range(5))
async def test_act_j13_links_agree(autojump_clock: MockClock, node: Node, seed: int) -> None:
    """After any sequence of links and unlinks from both sides, both sides hold the same."""
    generator = random.Random(seed)
    pair = [(await node.spawn(idle))._process for _ in range(2)]  # type: ignore[attr-defined]
    for _ in range(500):
        one = generator.randrange(2)
        operation = generator.choice([pair[one].link, pair[one].unlink])
        operation(pair[1 - one].ref)
        if not generator.randrange(10):
            await trio.lowlevel.checkpoint()
    held = [dict(process.links or {}) for process in pair]
    assert (held[0] == {pair[1].ref: 0}) == (held[1] == {pair[0].ref: 0})
    assert all(not links or list(links.values()) == [0] for links in held)


async def test_act_j14_messages_before_exit(autojump_clock: MockClock, node: Node) -> None:
    """O2: what a process sends before it dies arrives before its exit."""

    async def speaker(me: Process, listener: Any) -> None:
        await me.receive()  # what follows the link, which stands then
        listener.send("m1")
        listener.send("m2")
        raise ValueError("after the messages")

    async with node.mailbox() as me:
        me.trap_exits = True
        child = await me.spawn(speaker, me.ref, link=True)
        child.send("speak")
        assert await me.receive(timeout=1) == "m1"
        assert await me.receive(timeout=1) == "m2"
        end = await me.receive(timeout=1)
        assert (type(end), end.ref) == (Exited, child)
        assert isinstance(end.reason, Crashed)
        assert "after the messages" in str(end.reason)


async def test_long_chain_of_links_dies(autojump_clock: MockClock, node: Node) -> None:
    """L7: an exit that runs along ten thousand links exhausts no stack."""
    chain = [await node.spawn(Sync) for _ in range(10_000)]
    for left, right in itertools.pairwise(chain):
        left._process.link(right)  # type: ignore[attr-defined]
    async with node.mailbox() as me:
        me.monitor(chain[-1])
        chain[0].exit(BOOM)
        assert (await me.receive(match=Down, timeout=10)).reason == BOOM
    assert not node.processes


@pytest.mark.parametrize(("tier", "second"), [(Async, SHUTDOWN), (Sync, KILL)])
async def test_second_exit_signal_is_ignored(
    autojump_clock: MockClock, node: Node, tier: Any, second: Reason
) -> None:
    """L3: a process that is dying dies of the first signal; without a cleanup that a kill could cut short,
    also when the second is a kill.
    """
    async with node.mailbox() as me:
        victim = await node.spawn(tier)
        me.monitor(victim)
        me.exit(victim, BOOM)
        me.exit(victim, second)
        assert (await me.receive(match=Down, timeout=1)).reason == BOOM


async def test_ephemeral_process_dies_of_a_link(autojump_clock: MockClock, node: Node) -> None:
    """L6: plain code in `node.mailbox()` is cancelled by an exit signal, and told why."""

    async def plain() -> None:
        async with node.mailbox() as me:
            child = await me.spawn(obedient, link=True)
            child.send(BOOM)
            await trio.sleep_forever()

    with pytest.raises(ProcessDied) as died:
        await plain()
    assert died.value.reason == BOOM
