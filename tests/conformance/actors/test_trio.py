"""Group U: trio outside and inside. Clauses U1 to U10 of docs/semantics.md."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    Actor,
    Crashed,
    Down,
    Node,
    NodeConfig,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    StartError,
    open_node,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Async, Sync, idle


class Slow(Actor):
    """Takes its time to stop."""

    def __init__(self, name: str, log: list[str], seconds: float = 1.0) -> None:
        self.process.trap_exits = True
        self.name = name
        self.log = log
        self.seconds = seconds

    async def on_stop(self, reason: Any) -> None:
        self.log.append(f"{self.name} stopping")
        await trio.sleep(self.seconds)
        self.log.append(f"{self.name} stopped")


async def test_act_u1_ambient_cancellation_stops_in_reverse_order(autojump_clock: MockClock) -> None:
    """A timeout around the node stops its processes one after the other, youngest first, and only then is
    left.
    """
    log: list[str] = []
    with trio.move_on_after(10) as scope:
        async with open_node("test") as node:
            for name in "abc":
                await node.spawn(Slow, name, log)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == [f"{name} {what}" for name in "cba" for what in ("stopping", "stopped")]
    assert trio.current_time() == pytest.approx(13, abs=0.1)


async def test_act_u2_a_crash_cancels_nobody_else(autojump_clock: MockClock, node: Node) -> None:
    """U2: an unsupervised process that raises takes no other task with it."""

    async def crash(me: Process) -> None:
        raise ValueError("alone")

    async with trio.open_nursery() as nursery:
        bystanders = [await node.spawn(tier) for tier in TIERS]
        finished: list[int] = []

        async def outsider() -> None:
            await trio.sleep(1)
            finished.append(1)

        nursery.start_soon(outsider)
        await node.spawn(crash)
        with pytest.raises(ProcessDied):
            await (await node.spawn(Sync)).call(Sync.fail)
        await trio.sleep(2)
        assert finished == [1]
        for ref, tier in zip(bystanders, TIERS, strict=True):
            assert await ref.call(tier.echo, 1) == 1


async def test_exception_groups_stay_whole(autojump_clock: MockClock, node: Node) -> None:
    """U3: a group is the reason as it is; cancellation that came with it is not part of it."""

    async def fail(error: Exception) -> None:
        raise error

    async def grouped(me: Process) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError("one"))
            nursery.start_soon(fail, LookupError("two"))
            nursery.start_soon(trio.sleep_forever)

    async with node.mailbox() as me:
        me.monitor(await node.spawn(grouped))
        reason = (await me.receive(match=Down, timeout=1)).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, ExceptionGroup)
        assert {type(error) for error in reason.error.exceptions} == {ValueError, LookupError}


async def test_act_u4_on_stop_is_cut_off(autojump_clock: MockClock) -> None:
    """An on_stop that takes longer than the grace is cut off at the deadline."""
    log: list[str] = []
    async with open_node("test", config=NodeConfig(grace=3)) as node:
        await node.spawn(Slow, "a", log, 100)
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(3)
    assert log == ["a stopping"]
    assert node.statistics().processes == 0


async def test_kill_during_on_stop(autojump_clock: MockClock, node: Node) -> None:
    """U4: a kill interrupts on_stop."""
    log: list[str] = []
    async with node.mailbox() as me:
        ref = await node.spawn(Slow, "a", log, math.inf)
        me.monitor(ref)
        with trio.move_on_after(1):
            await ref.stop()
        ref.exit(KILL)
        assert (await me.receive(match=Down, timeout=0.1)).reason == KILLED


PROGRAM = """
import os, signal, sys, time
import trio
from enfilade.actors import Actor, NodeConfig, open_node

class Slow(Actor):
    def __init__(self, name, seconds):
        self.process.trap_exits = True
        self.name, self.seconds = name, seconds
    async def on_stop(self, reason):
        print(self.name, "stopping", flush=True)
        await trio.sleep(self.seconds)
        print(self.name, "stopped", flush=True)

async def main():
    async with open_node("test", config=NodeConfig(grace=60)) as node:
        await node.spawn(Slow, "a", {seconds})
        await node.spawn(Slow, "b", {seconds})
        print("ready", flush=True)
        await trio.sleep_forever()

try:
    trio.run(main)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def interrupt(times: int, seconds: float) -> tuple[list[str], int]:
    """Run a node in a process of its own, send it SIGINT: what it printed and its exit status."""
    program = textwrap.dedent(PROGRAM).replace("{seconds}", str(seconds))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip()]
        try:
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                lines.append(process.stdout.readline().strip())
            rest, _ = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return [*lines, *rest.split("\n")[:-1]], process.returncode


@pytest.mark.real
def test_act_u5_sigint_once_is_an_orderly_shutdown() -> None:
    """One SIGINT: everything stops in order, and KeyboardInterrupt comes out at the end."""
    lines, status = interrupt(1, 0.05)
    assert lines == ["ready", "b stopping", "b stopped", "a stopping", "a stopped", "interrupted"]
    assert status == 130


@pytest.mark.real
def test_act_u5_sigint_twice_kills() -> None:
    """A second SIGINT: what has not stopped is killed at once."""
    lines, status = interrupt(2, 1000)
    assert lines == ["ready", "b stopping", "interrupted"]
    assert status == 130


async def test_sigint_goes_to_the_open_node_that_was_opened_last(autojump_clock: MockClock) -> None:
    """U5: nodes of one process may end in any order; in the end SIGINT is handled as before the first."""
    before = signal.getsignal(signal.SIGINT)
    ended: list[tuple[str, bool]] = []
    leave = trio.Event()

    async def stay(name: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with open_node(name):
                task_status.started()
                await leave.wait()
        except KeyboardInterrupt:
            ended.append((name, True))
        else:
            ended.append((name, False))

    async with trio.open_nursery() as nursery:
        await nursery.start(stay, "first")
        leave, left = trio.Event(), leave
        await nursery.start(stay, "second")
        await nursery.start(stay, "third")
        left.set()
        await wait_all_tasks_blocked()
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            await wait_all_tasks_blocked()
    assert ended == [("first", False), ("third", True), ("second", True)]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_system_exit_from_an_actor(
    autojump_clock: MockClock, tier: Any, error: type[BaseException]
) -> None:
    """U5: an actor's SystemExit or KeyboardInterrupt stops the node in order and comes out of its block."""

    class Fatal(tier):  # type: ignore[misc]
        def on_message(self, message: Any) -> None:
            raise error

    log: list[str] = []

    async def run() -> None:
        async with open_node("test") as node:
            await node.spawn(Slow, "a", log)
            (await node.spawn(Fatal)).send("now")
            await trio.sleep_forever()

    with pytest.raises(error):
        await run()
    assert log == ["a stopping", "a stopped"]


@pytest.mark.parametrize("tier", TIERS)
async def test_system_exit_from_a_start(autojump_clock: MockClock, tier: Any) -> None:
    """U5: also when it is raised before the actor has started."""

    class Fatal(tier):  # type: ignore[misc]
        def __init__(self) -> None:
            raise SystemExit(3)

    async def run() -> None:
        async with open_node("test") as node:
            with pytest.raises(StartError):
                await node.spawn(Fatal)
            await trio.sleep_forever()

    with pytest.raises(SystemExit) as stopped:
        await run()
    assert stopped.value.code == 3


async def test_exception_of_the_block_is_not_wrapped(autojump_clock: MockClock) -> None:
    """U6: what the block raises comes out as it is, after the shutdown."""
    log: list[str] = []

    async def run() -> None:
        async with open_node("test") as node:
            await node.spawn(Slow, "a", log)
            raise LookupError("of the block")

    with pytest.raises(LookupError, match="of the block"):
        await run()
    assert log == ["a stopping", "a stopped"]


async def test_actors_do_not_see_ambient_cancellation(autojump_clock: MockClock) -> None:
    """U1: while the tree shuts down under a cancelled scope, its processes can still wait and call each
    other.
    """
    answers: list[Any] = []

    class Asking(Actor):
        def __init__(self, other: Ref[Async]) -> None:
            self.process.trap_exits = True
            self.other = other

        async def on_stop(self, reason: Any) -> None:
            answers.append(await self.other.call(Async.slow_echo, "still here", 1))

    with trio.move_on_after(1):
        async with open_node("test") as node:
            await node.spawn(Asking, await node.spawn(Async))
            await trio.sleep_forever()
    assert answers == ["still here"]


async def test_processes_may_spawn_while_the_node_stops(autojump_clock: MockClock) -> None:
    """U1: what a process needs to end well it can still start; what it leaves is shut down too."""
    answers: list[Any] = []

    class Saving(Actor):
        def __init__(self) -> None:
            self.process.trap_exits = True

        async def on_stop(self, reason: Any) -> None:
            helper = await self.process.spawn(Async)
            answers.append(await helper.call(Async.echo, "saved"))

    async with open_node("test") as node:
        await node.spawn(Saving)
    assert answers == ["saved"]
    assert node.statistics().processes == 0


async def test_act_u8_nothing_is_left(autojump_clock: MockClock) -> None:
    """U11: after the node has closed, every table is empty."""
    async with open_node("test") as node:
        refs = [await node.spawn(tier, name=f"{number}") for number in range(5) for tier in TIERS[:1]]
        refs += [await node.spawn(Async) for _ in range(5)]
        async with node.mailbox() as me:
            for ref in refs:
                me.monitor(ref)
                ref._process.link(refs[0])  # type: ignore[attr-defined]
                ref._process.timers.start("key", 100, "tick", every=True)  # type: ignore[attr-defined]
                ref._process.alias()  # type: ignore[attr-defined]
                node.scope().join("g", ref)
                me.request(ref, Async.slow_echo, 1, 100)
            node.send_after(100, refs[0], "late")
            held = attrs.asdict(node.statistics())
            for kind in ("processes", "names", "links", "monitors", "watchers", "aliases", "timers"):
                assert held[kind], kind
    left = attrs.asdict(node.statistics())
    assert {key: value for key, value in left.items() if value and key != "dead_letters"} == {}
    assert not [
        task
        for task in trio.lowlevel.current_root_task().child_nurseries[0].child_tasks
        if "node test" in task.name
    ]


async def test_act_u9_slices_are_bounded(node: Node) -> None:
    """U7: two actors that never stop chatting leave the loop to others after 4096 messages at the latest."""

    class Chatty(Actor):
        def __init__(self) -> None:
            self.peer: Ref[Any] | None = None
            self.count = 0

        def meet(self, peer: Ref[Any]) -> None:
            self.peer = peer

        def on_message(self, message: Any) -> None:
            self.count += 1
            if self.peer is not None:
                self.peer.send(message)

    one, two = await node.spawn(Chatty), await node.spawn(Chatty)
    await one.call(Chatty.meet, two)
    await two.call(Chatty.meet, one)
    one.send("ping")
    actor = one._process.body.actor  # type: ignore[attr-defined]
    before = actor.count
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    handled = actor.count - before
    assert 0 < handled <= 10 * 4096


async def test_slow_handlers_do_not_starve_the_loop(node: Node) -> None:
    """U7: handlers that hold the loop are found out: after the first slice others run between them."""

    class Blocking(Actor):
        def __init__(self) -> None:
            self.count = 0

        def on_message(self, message: Any) -> None:
            self.count += 1
            deadline = trio.lowlevel.current_clock().current_time() + 0.006
            while trio.lowlevel.current_clock().current_time() < deadline:
                pass

    ref = await node.spawn(Blocking)
    for _ in range(100):
        ref.send("work")
    counts = []
    actor = ref._process.body.actor  # type: ignore[attr-defined]
    while actor.count < 100:
        await trio.lowlevel.checkpoint()
        counts.append(actor.count)
    steps = sorted(later - earlier for earlier, later in pairwise(counts))
    assert steps[-1] <= 65
    assert steps[-2] <= 2


async def test_unkillable_process_is_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """U8: a killed process that does not end in time is given up: reported with its stack, and everybody is
    told.
    """
    released = trio.Event()

    async def shielded(me: Process) -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    async with open_node("test", config=NodeConfig(kill_grace=2)) as node, node.mailbox() as me:
        ref = await node.spawn(shielded, name="it")
        me.monitor(ref)
        await wait_all_tasks_blocked()
        started = trio.current_time()
        ref.exit(KILL)
        assert (await me.receive(match=Down, timeout=10)).reason == KILLED
        assert trio.current_time() - started == pytest.approx(2)
        assert node.whereis("it") is None
        assert node.unkillable == 1
    assert "shielded" in caplog.text
    released.set()
    await wait_all_tasks_blocked()


async def test_act_u11_cancelled_call(autojump_clock: MockClock, node: Node) -> None:
    """A plain task that gives up a call never hears of the late reply, and the callee goes on."""
    async with node.mailbox() as me:
        ref = await node.spawn(Async, me.ref)
        with trio.move_on_after(1) as scope:
            await ref.call(Async.slow_echo, "late", 2)
        assert scope.cancelled_caught
        assert [await me.receive(timeout=5) for _ in range(2)] == ["begun", "done"]
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)
        assert node.statistics().timers == 0


async def test_handlers_run_in_the_node_s_context(autojump_clock: MockClock, node: Node) -> None:
    """U9: a process sees no context variable of whoever called it."""
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="nobody's")

    class Reading(Actor):
        def read(self) -> str:
            return variable.get()

    class AsyncReading(Actor):
        async def read(self) -> str:
            return variable.get()

    variable.set("the caller's")
    busy = await node.spawn(Reading)
    busy._process.attention = True  # type: ignore[attr-defined]
    assert await busy.call(Reading.read) == "nobody's"
    assert await (await node.spawn(Reading)).call(Reading.read) == "nobody's"
    assert await (await node.spawn(AsyncReading)).call(AsyncReading.read) == "nobody's"


async def test_leftovers_end_with_the_arena(autojump_clock: MockClock, node: Node) -> None:
    """U10: what a process with an arena spawned does not outlive it, unless it was to live in the node's
    arena.
    """

    async def owner(me: Process, observer: Ref[Any]) -> None:
        me.open_arena()
        observer.send(await me.spawn(idle))
        observer.send(await me.spawn(middle, observer))
        observer.send(await me.spawn(idle, arena="node"))
        await me.receive()

    async def middle(me: Process, observer: Ref[Any]) -> None:
        observer.send(await me.spawn(Sync))
        await trio.sleep_forever()

    async with node.mailbox() as me:
        ref = await node.spawn(owner, me.ref)
        children = [await me.receive(timeout=1) for _ in range(4)]
        for child in children:
            me.monitor(child)
        ref.send("end")
        me.monitor(ref)
        downs = [await me.receive(match=Down, timeout=1) for _ in range(4)]
        assert downs[-1].ref == ref
        assert downs[-1].reason == NORMAL
        survivor = [child for child in children if child._process.ended is None]
        assert len(survivor) == 1
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=20)


@pytest.mark.parametrize("name", ["", "a@b", "a:b"])
async def test_bad_node_names(name: str) -> None:
    """U1: a name that could not be written as name@zone is refused."""
    with pytest.raises(ValueError, match="names of nodes and zones must have characters that can be printed"):
        async with open_node(name):
            pass
    with pytest.raises(ValueError, match="names of nodes and zones must have characters that can be printed"):
        async with open_node("test", zone=name):
            pass


async def test_custom_reason_survives() -> None:
    """U6: two nodes in one run are apart."""
    async with open_node("one") as one, open_node("two") as two:
        ref = await one.spawn(Sync)
        assert two.whereis("it") is None
        assert one.incarnation != two.incarnation
        assert await ref.call(Sync.echo, BOOM) == BOOM
