"""Handlers of async actors that run within the step of whoever called them: nothing but the time differs."""

from __future__ import annotations

import math
import signal
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.lowlevel import Task, current_task
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    SHUTDOWN,
    Actor,
    CallTimeout,
    Crashed,
    Node,
    NodeConfig,
    Process,
    ProcessDied,
    Ref,
    open_node,
    system,
)
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE
from enfilade.actors.processes.local_ref import DEPTH

pytest_plugins = ["enfilade.actors.testing.plugin"]

needs_bypass = pytest.mark.skipif(not IS_AVAILABLE, reason="the loop is not bypassed here")

colour: ContextVar[str] = ContextVar("colour", default="none")


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@asynccontextmanager
async def passes() -> AsyncIterator[Passes]:
    counted = Passes()
    trio.lowlevel.add_instrument(counted)
    try:
        yield counted
    finally:
        trio.lowlevel.remove_instrument(counted)


class Server(Actor):
    """Does with its task whatever a handler may do with one."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.log: list[Any] = []

    async def echo(self, value: Any) -> Any:
        self.tasks.append(current_task())
        return value

    async def wait(self, seconds: float) -> str:
        self.tasks.append(current_task())
        await trio.sleep(seconds)
        self.tasks.append(current_task())
        return "waited"

    async def limited(self, seconds: float) -> bool:
        with trio.move_on_after(seconds) as scope:
            await trio.sleep_forever()
        return scope.cancelled_caught

    async def scoped(self) -> float:
        with trio.CancelScope(deadline=trio.current_time() + 7) as scope:  # noqa: ASYNC100
            return trio.current_effective_deadline() - scope.deadline

    async def nursery(self, count: int) -> list[int]:
        done: list[int] = []

        async def work(number: int) -> None:
            await trio.sleep(number)
            done.append(number)

        async with trio.open_nursery() as nursery:
            assert nursery.parent_task is current_task()
            for number in range(count):
                nursery.start_soon(work, number)
        return done

    async def paint(self, value: str) -> str:
        before = colour.get()
        colour.set(value)
        return before

    async def run(self, fn: Callable[[], None]) -> None:
        fn()

    async def fail(self) -> None:
        raise LookupError("in a handler")

    async def end_itself(self) -> None:
        self.process.exit(self.process.ref, KILL)
        self.log.append("goes on")
        await trio.lowlevel.checkpoint()
        self.log.append("goes on for too long")

    async def cancel(self, scope: trio.CancelScope) -> str:
        scope.cancel()
        return "answered"

    async def timers(self) -> int:
        return self.process.node.statistics().timers

    async def wait_and_note(self) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.log.append("cancelled")
            raise


class Chained(Actor):
    def __init__(self, onward: Ref[Any] | None) -> None:
        self.onward = onward

    async def count(self) -> int:
        return 1 if self.onward is None else 1 + await self.onward.call(Chained.count)


@needs_bypass
async def test_no_pass_of_the_loop(node: Node) -> None:
    """A call whose handler does not wait returns without one, also through several actors."""
    server = await node.spawn(Server)
    chain: Ref[Any] | None = None
    for _ in range(DEPTH):
        chain = await node.spawn(Chained, chain)
    assert chain is not None
    await wait_all_tasks_blocked()
    node.dispatcher._clock = lambda: 0.0  # a busy machine makes no call a slow one
    node.dispatcher.renew_handoffs()
    async with passes() as counted:
        assert await server.call(Server.echo, 5) == 5
        assert await chain.call(Chained.count) == DEPTH
        assert counted.count == 0


async def test_the_task_is_the_actors_own(autojump_clock: object, node: Node) -> None:
    """All handlers of an actor see the same present task, before and after they wait; the caller its own."""
    server = await node.spawn(Server)
    actor = node.processes[server.serial].body.actor
    mine = current_task()
    await server.call(Server.echo, 1)
    assert current_task() is mine
    await server.call(Server.wait, 1)
    assert current_task() is mine
    async with node.mailbox() as me:
        request = me.request(server, Server.echo, 2)
        await request.receive()
    assert set(actor.tasks) == {node.processes[server.serial].body.task}
    assert len(actor.tasks) == 4


async def test_scopes(autojump_clock: object, node: Node) -> None:
    """A scope that a handler enters before it waits is the actor's, and ends what the handler waits for."""
    server = await node.spawn(Server)
    with trio.CancelScope(deadline=trio.current_time() + 100) as scope:
        assert await server.call(Server.scoped) == 0
        assert trio.current_effective_deadline() == scope.deadline
        assert await server.call(Server.limited, 3)
        assert trio.current_time() < scope.deadline
        assert await server.call(Server.echo, 1) == 1
    assert not scope.cancelled_caught
    assert trio.current_effective_deadline() > scope.deadline


async def test_nurseries(autojump_clock: object, node: Node) -> None:
    """A nursery that a handler opens belongs to the actor's task."""
    server = await node.spawn(Server)
    before = trio.current_time()
    assert await server.call(Server.nursery, 4) == [0, 1, 2, 3]
    assert trio.current_time() - before == 3
    assert await server.call(Server.nursery, 1) == [0]
    assert not node.processes[server.serial].body.task.child_nurseries


async def test_a_chain_longer_than_the_limit(node: Node) -> None:
    """Calls that are nested deeper than steps may be are answered as well."""
    chain: Ref[Any] | None = None
    for _ in range(50):
        chain = await node.spawn(Chained, chain)
    assert chain is not None
    for _ in range(2):
        assert await chain.call(Chained.count) == 50 > 3 * DEPTH
    assert node.dispatcher.depth == 0


async def test_time_limits(autojump_clock: object, node: Node) -> None:
    """A call that has to wait has its time limit; one that has not sets no timer."""
    server = await node.spawn(Server)
    assert await server.call(Server.timers) == (0 if IS_AVAILABLE else 1)
    before = trio.current_time()
    with pytest.raises(CallTimeout):
        await server.within(1).call(Server.wait, 5)
    assert trio.current_time() - before == 1
    assert await server.call(Server.echo, 1) == 1
    assert trio.current_time() - before == 5


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a handler is raised there, at once, as in the step that trio would have made of it."""
    seen: list[str] = []

    class Interrupted(Actor):
        async def interrupt(self) -> None:
            try:
                signal.raise_signal(signal.SIGINT)
                for _ in range(10):
                    pass
                seen.append("missed")
            except KeyboardInterrupt:
                seen.append("raised")
                raise

    async def main() -> None:
        async with open_node("n", config=NodeConfig(handle_interrupt=False)) as node:
            ref = await node.spawn(Interrupted)
            with pytest.raises(ProcessDied):
                await ref.call(Interrupted.interrupt)
            await trio.sleep_forever()

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["raised"]


async def test_the_caller_is_cancelled_meanwhile(node: Node) -> None:
    """A handler that cancels its caller still answers; the caller ends at its next checkpoint."""
    server = await node.spawn(Server)
    await wait_all_tasks_blocked()
    answers: list[str] = []
    with trio.CancelScope() as scope:
        answers.append(await server.call(Server.cancel, scope))
        await trio.lowlevel.checkpoint()
        answers.append("too long")
    assert scope.cancelled_caught
    assert answers == (["answered"] if IS_AVAILABLE else [])
    assert await server.call(Server.echo, 1) == 1


async def test_an_end_while_it_runs(node: Node) -> None:
    """A handler whose process is killed runs up to its next checkpoint, as in any task of trio."""
    server = await node.spawn(Server)
    actor = node.processes[server.serial].body.actor
    with pytest.raises(ProcessDied) as died:
        await server.call(Server.end_itself)
    assert died.value.reason == KILLED
    assert actor.log == ["goes on"]


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN])
async def test_an_end_while_it_waits(autojump_clock: object, node: Node, reason: Any) -> None:
    """A handler that waits, and has begun in its caller's step, is cancelled by an exit signal."""
    server = await node.spawn(Server)
    actor = node.processes[server.serial].body.actor
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ProcessDied) as died:
                await server.call(Server.wait_and_note)
            assert died.value.reason == (KILLED if reason is KILL else SHUTDOWN)

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        server.exit(reason)
    assert actor.log == ["cancelled"]


async def test_context_variables(node: Node) -> None:
    """What a handler sets is there for the actor's next handler, and nowhere else."""
    servers = [await node.spawn(Server) for _ in range(2)]
    await wait_all_tasks_blocked()
    colour.set("mine")
    assert await servers[0].call(Server.paint, "red") == "none"
    assert colour.get() == "mine"
    assert await servers[1].call(Server.paint, "blue") == "none"
    assert await servers[0].call(Server.paint, "green") == "red"


async def test_tracebacks() -> None:
    """The traceback of a crash begins in the process: how its task was resumed is not in it."""
    async with open_node("n", config=NodeConfig(keep_tracebacks=True)) as node:
        server = await node.spawn(Server)
        await wait_all_tasks_blocked()
        with pytest.raises(ProcessDied) as died:
            await server.call(Server.fail)
        assert isinstance(died.value.reason, Crashed)
        frames = traceback.extract_tb(died.value.reason.error.__traceback__)
        assert frames[-1].name == "fail"
        assert not [frame for frame in frames if "loop_bypass" in frame.filename]


async def test_time_jumps_past_a_handler(autojump_clock: object, node: Node) -> None:
    """A handler that sleeps, begun in its caller's step, lets virtual time jump."""
    server = await node.spawn(Server)
    before = trio.current_time()
    assert await server.within(math.inf).call(Server.wait, 1000) == "waited"
    assert trio.current_time() - before == 1000


class Hop(Actor):
    def __init__(self) -> None:
        self.other: Ref[Any] | None = None
        self.count = 0

    async def meet(self, other: Ref[Any]) -> None:
        self.other = other

    async def on_message(self, left: int) -> None:
        self.count += 1
        if left:
            assert self.other is not None
            self.other.send(left - 1)


async def two_hops(node: Node) -> list[Ref[Any]]:
    hops: list[Ref[Any]] = [await node.spawn(Hop) for _ in range(2)]
    for number, hop in enumerate(hops):
        await hop.call(Hop.meet, hops[1 - number])
    return hops


async def test_all_is_blocked_only_when_all_is_done(node: Node) -> None:
    """Tasks on the run queue count as tasks that can run."""
    hops = await two_hops(node)
    hops[0].send(5000)
    await wait_all_tasks_blocked()
    assert sum(node.processes[hop.serial].body.actor.count for hop in hops) == 5001


async def test_others_have_their_turn(node: Node) -> None:
    """Processes that talk to one another, or are called, without end keep no task from running."""
    hops = await two_hops(node)
    server = await node.spawn(Server)
    hops[0].send(10**12)
    await trio.sleep(0.01)
    for hop in hops:
        assert node.processes[hop.serial].body.actor.count
    is_over = False

    async def bystander() -> None:
        nonlocal is_over
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        is_over = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bystander)
        while not is_over:
            await server.call(Server.echo, 1)
    for hop in hops:
        await hop.call(Hop.meet, server)  # which is no int to send to: the game is over


@needs_bypass
async def test_slow_handlers_in_a_callers_step(node: Node) -> None:
    """A caller whose calls take long lets the loop run before the next one."""
    server = await node.spawn(Server)
    await wait_all_tasks_blocked()
    now = 0.0

    def clock() -> float:
        return now

    def work() -> None:
        nonlocal now
        now += 0.003

    node.dispatcher._clock = clock
    node.dispatcher.renew_handoffs()
    async with passes() as counted:
        for _ in range(100):
            await server.call(Server.echo, 1)
        assert counted.count == 0
        for _ in range(10):
            await server.call(Server.run, work)
        assert counted.count >= 9


async def test_debug_mode() -> None:
    """What is passed is checked as it is on the way through the mailbox."""
    async with open_node("n", config=NodeConfig(debug=True)) as node:
        server = await node.spawn(Server)
        shared: list[int] = []
        assert await server.call(Server.echo, (1, 2)) == (1, 2)
        assert await server.call(Server.echo, shared) == []


async def test_a_suspended_actor(autojump_clock: object, node: Node) -> None:
    """A call to a suspended actor waits until it is resumed."""
    server = await node.spawn(Server)
    await system.suspend(server)
    answers: list[int] = []

    async def call() -> None:
        answers.append(await server.call(Server.echo, 5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert answers == []
        await system.resume(server)
    assert answers == [5]


async def test_functions_answer_one_another(node: Node) -> None:
    """Function processes that send to one another go on in one slice, and stop when they have ended."""

    async def pong(me: Process) -> None:
        while (message := await me.receive()) is not None:
            message.send("pong")

    async def ping(me: Process, other: Ref[Any], rounds: int) -> None:
        for _ in range(rounds):
            other.send(me.ref)
            assert await me.receive() == "pong"
        other.send(None)

    async with node.mailbox() as me:
        partner = await node.spawn(pong)
        player = await node.spawn(ping, partner, 2000)
        monitors = {me.monitor(partner).ref, me.monitor(player).ref}
        async with passes() as counted:
            for _ in range(2):
                monitors.remove((await me.receive(timeout=60)).ref)
        assert not monitors
        if IS_AVAILABLE:
            assert counted.count < 2000


async def test_the_node_closes_meanwhile(autojump_clock: object) -> None:
    """A handler that waits when the node closes is cancelled, and its caller is told."""
    outcomes: list[Any] = []
    async with trio.open_nursery() as nursery, open_node("n") as node:
        server = await node.spawn(Server)

        async def call() -> None:
            try:
                await server.call(Server.wait_and_note)
            except ProcessDied as died:
                outcomes.append(died.reason)

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
    assert outcomes == [SHUTDOWN]


async def test_a_task_that_closes_the_node_in_a_slice() -> None:
    """A task that is resumed by the dispatcher, and ends the node before it waits again, ends it well."""
    for _ in range(3):
        async with open_node("n") as node, node.mailbox() as me:
            server = await node.spawn(Server)
            request = me.request(server, Server.wait, 0)
            assert await request.receive() == "waited"
