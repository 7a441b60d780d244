"""Links, monitors, calls and exits through a carrier: what the core promises a node link."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NO_PROCESS,
    Actor,
    Custom,
    Down,
    Exited,
    Process,
    ProcessDied,
    open_node,
)
from enfilade.actors.messages import signals
from tests.actors.faraway import connect

BOOM = Custom("boom")


class Echo(Actor):
    """Answers."""

    def echo(self, value: Any) -> Any:
        return value

    def fail(self) -> None:
        raise ValueError("as asked")


async def idle(me: Process) -> None:
    """Lives until it is ended."""
    await trio.sleep_forever()


@hypothesis.given(
    st.lists(st.sampled_from(["link 0", "unlink 0", "link 1", "unlink 1", "arrive 0", "arrive 1"]))
)
@hypothesis.settings(max_examples=150)
def test_crossing_links_and_unlinks_agree(steps: list[str]) -> None:
    """L4: whatever crosses on the way, in the end both sides hold the link, or neither does."""

    async def run() -> None:
        async with open_node("one") as one, open_node("two") as two:
            ways = connect(one, two)
            refs = [await one.spawn(idle), await two.spawn(idle)]
            processes: list[Process] = [ref._process for ref in refs]  # type: ignore[attr-defined]
            peers = [ways[0].ref(refs[1]), ways[1].ref(refs[0])]
            for step in steps:
                what, side = step.split()
                match what:
                    case "link":
                        processes[int(side)].link(peers[int(side)])
                    case "unlink":
                        processes[int(side)].unlink(peers[int(side)])
                    case "arrive":
                        ways[int(side)].arrive()
            while ways[0].arrive() or ways[1].arrive():
                pass
            held = [dict(process.links or {}) for process in processes]
            assert (held[0] == {peers[0]: 0}) == (held[1] == {peers[1]: 0})
            assert all(links in ({}, {peer: 0}) for links, peer in zip(held, peers, strict=True))

    trio.run(run)


async def test_exit_over_a_link_that_was_taken_down_meanwhile(autojump_clock: MockClock) -> None:
    """L4: an exit that crosses the unlink does no harm."""
    async with open_node("one") as one, open_node("two") as two:
        there, back = connect(one, two)
        far = await two.spawn(idle)
        async with one.mailbox() as me:
            me.trap_exits = True
            me.link(there.ref(far))
            there.arrive()
            far.exit(BOOM)
            await wait_all_tasks_blocked()
            me.unlink(there.ref(far))
            assert back.arrive()
            assert not me.queue
            assert there.arrive() is True


async def test_exits_and_downs_travel(autojump_clock: MockClock) -> None:
    """L3, K1: the end of a far process is told over links and monitors; a kill arrives as one."""
    async with open_node("one") as one, open_node("two") as two:
        there, back = connect(one, two)
        far = there.ref(await two.spawn(idle))
        async with one.mailbox() as me:
            me.trap_exits = True
            me.link(far)
            monitor = me.monitor(far)
            me.exit(far, KILL)
            while there.arrive():
                pass
            await wait_all_tasks_blocked()
            while back.arrive():
                pass
            received = [await me.receive(timeout=0) for _ in range(2)]
            assert received == [Exited(far, KILLED), Down(monitor, far, KILLED)]
        assert not two.statistics().watchers


async def test_calls_travel(autojump_clock: MockClock) -> None:
    """C2: replies, and the callee's end, come back."""
    async with open_node("one") as one, open_node("two") as two:
        there, _ = connect(one, two)
        far: Any = there.ref(await two.spawn(Echo))
        async with one.mailbox() as me, trio.open_nursery() as nursery:

            async def carry() -> None:
                while True:
                    there.arrive()
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(carry)
            assert await far.call(Echo.echo, 7) == 7
            request = me.request(far, Echo.fail)
            with pytest.raises(ProcessDied):
                await request.receive(math.inf)
            nursery.cancel_scope.cancel()


async def test_a_dead_watcher_is_forgotten(autojump_clock: MockClock) -> None:
    """K6: a watcher that ends takes its monitors down on the other side."""
    async with open_node("one") as one, open_node("two") as two:
        there, _ = connect(one, two)
        far = await two.spawn(idle)
        async with one.mailbox() as me:
            me.monitor(there.ref(far))
            there.arrive()
            assert two.statistics().watchers == 1
        while there.arrive():
            pass
        assert two.statistics().watchers == 0


async def test_a_broken_way_leaves_nobody_untold(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """U2, K6: a carrier that fails while a process ends is logged, and the others are told all the same."""
    async with open_node("one") as one, open_node("two") as two:
        there, _ = connect(one, two)

        def broken(ref: Any, signal: Any) -> None:
            raise LookupError("no way")

        async with one.mailbox() as me:
            victim = await one.spawn(idle)
            victim.deliver(signals.Monitor(there.ref(await two.spawn(idle)), 1))
            me.monitor(victim)
            there.deliver = broken  # type: ignore[method-assign]
            victim.exit(KILL)
            assert (await me.receive(match=Down, timeout=1)).ref == victim
    assert "no way" in caplog.text


async def test_signals_to_the_dead_are_answered(autojump_clock: MockClock) -> None:
    """K2, L2: a link, an unlink, a monitor that reach a process too late are answered as such."""
    async with open_node("one") as one, open_node("two") as two:
        _, back = connect(one, two)
        far = await two.spawn(idle)
        far.exit(KILL)
        await wait_all_tasks_blocked()
        async with one.mailbox() as me:
            seen = back.ref(me.ref)
            far.deliver(signals.Link(seen))
            far.deliver(signals.Monitor(seen, 7))
            far.deliver(signals.Unlink(seen, 8))
            assert [signal for _, signal in back.under_way] == [
                signals.Exit(far, NO_PROCESS, linked=True),
                signals.Down(7, NO_PROCESS),
                signals.UnlinkAck(far, 8),
            ]
