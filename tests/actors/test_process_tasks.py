"""Tasks that run one process after another: nothing of the one before is left for the next."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.lowlevel import current_task
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    Actor,
    Child,
    Down,
    NodeConfig,
    Process,
    Reason,
    Ref,
    RuntimeFault,
    Supervisor,
    open_node,
)
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE
from enfilade.actors.processes import dispatcher
from enfilade.actors.processes.process_tasks import IDLE, SPARE

needs_bypass = pytest.mark.skipif(not IS_AVAILABLE, reason="each process has a task of its own here")

colour: ContextVar[str] = ContextVar("colour", default="none")


async def seen(me: Process, watcher: Ref[Any]) -> None:
    """Tell what the process finds, and leave something behind."""
    task = current_task()
    watcher.send((task, task.name, colour.get(), me.node.current is me))
    colour.set(f"of {me.serial}")
    await me.receive()


class Relay(Actor):
    def __init__(self, to: Ref[Any]) -> None:
        self.to = to

    def on_message(self, message: Any) -> None:
        self.to.send(message)


async def other(me: Process, watcher: Ref[Any]) -> None:
    await seen(me, watcher)


@needs_bypass
async def test_a_task_runs_one_process_after_another() -> None:
    async with open_node("test") as node, node.mailbox() as me:
        first = await node.spawn(seen, me.ref)
        task, *found = await me.receive()
        assert found == ["seen", "none", True]
        me.monitor(first)
        first.send("end")
        assert isinstance(await me.receive(), Down)
        assert task.name == IDLE
        second = await node.spawn(other, me.ref)
        again, *found = await me.receive()
        assert again is task
        assert found == ["other", "none", True]
        assert len(node.process_tasks.spare) == 0
        me.exit(second, KILL)


@needs_bypass
async def test_a_killed_process_leaves_its_task_to_the_next() -> None:
    async with open_node("test") as node, node.mailbox() as me:
        first = await node.spawn(seen, me.ref)
        task = (await me.receive())[0]
        me.monitor(first)
        me.exit(first, KILL)
        assert (await me.receive()).reason == KILLED
        await node.spawn(seen, me.ref)
        assert (await me.receive())[0] is task
        await trio.lowlevel.checkpoint()  # the scope that was cancelled is not that of the second
        assert len(node.processes) == 2


@needs_bypass
async def test_a_task_begins_the_next_process_where_each_turn_is_timed() -> None:
    """The task stands on the run queue then, where no process is to be blamed for the time that it takes."""
    every_turn = NodeConfig(turn=1, slice=1)
    with trio.fail_after(60):
        async with open_node("test", config=every_turn) as node, node.mailbox() as me:
            for _ in range(2):
                ref = await node.spawn(seen, me.ref)
                await me.receive()
                me.monitor(ref)
                me.exit(ref, KILL)
                await me.receive()


async def test_who_waits_for_a_dispatcher_that_fails_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits on its run queue could not be cancelled, and the node could not end."""

    def broken(*_: Any) -> None:
        raise LookupError("broken")

    async def run() -> None:
        async with open_node("test", config=NodeConfig(turn=1)) as node, node.mailbox() as me:
            relay = await node.spawn(Relay, me.ref)
            await wait_all_tasks_blocked()
            monkeypatch.setattr(dispatcher, "_watch", broken)
            relay.send("the dispatcher fails when this is handled, with its receiver on the run queue")
            await me.receive()
            await trio.sleep_forever()

    with trio.fail_after(60), pytest.raises(RuntimeFault, match=r"Dispatcher\.run"):
        await run()


async def _in_a_scope() -> AsyncIterator[None]:
    with trio.CancelScope() as scope:
        scope.cancel()
        yield


async def _in_a_nursery() -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield


@pytest.mark.parametrize("left", [_in_a_scope, _in_a_nursery])
@pytest.mark.filterwarnings("ignore")
async def test_a_task_in_which_something_is_left_open_runs_no_other(left: Any) -> None:
    """The next process would be cancelled with it."""

    async def leaves(me: Process, watcher: Ref[Any], kept: list[Any]) -> None:
        watcher.send(current_task())
        kept.append(left())
        await anext(kept[0])

    async with open_node("test") as node, node.mailbox() as me:
        kept: list[Any] = []
        me.monitor(await node.spawn(leaves, me.ref, kept))
        task = await me.receive()
        assert isinstance(await me.receive(), Down)
        await wait_all_tasks_blocked()
        await node.spawn(seen, me.ref)
        assert (await me.receive())[0] is not task
        kept.clear()


class Lingers(Actor):
    """Waits in `on_stop`, and notes whether that was cut short."""

    def __init__(self, watcher: Ref[Any]) -> None:
        self.watcher = watcher

    async def on_message(self, message: Any) -> None:
        if message == "crash":
            raise LookupError("on purpose")
        self.process.stop()

    async def on_stop(self, reason: Reason) -> None:
        self.watcher.send((current_task(), trio.current_effective_deadline()))
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.watcher.send("cut short")
            raise


@needs_bypass
@pytest.mark.parametrize("how", ["ends", "crashes", "is killed", "is killed in on_stop", "kills itself"])
async def test_the_next_process_is_not_cancelled_with_the_one_before(how: str) -> None:
    """Processes share a cancel scope of their task only until somebody cancels it."""

    async def first(me: Process, watcher: Ref[Any]) -> None:
        watcher.send(current_task())
        message = await me.receive()
        if message == "crash":
            raise LookupError("on purpose")
        if message == "kill":
            me.exit(me.ref, KILL)

    async def second(me: Process, watcher: Ref[Any]) -> None:
        await trio.lowlevel.checkpoint()
        watcher.send((current_task(), trio.current_effective_deadline()))
        await me.receive()

    async with open_node("test") as node, node.mailbox() as me:
        lingers = how == "is killed in on_stop"
        ref: Ref[Any] = await node.spawn(Lingers if lingers else first, me.ref)
        task = None if lingers else await me.receive()
        me.monitor(ref)
        if lingers:
            ref.send("stop")
            task, deadline = await me.receive()
            assert deadline == math.inf
        if how.startswith("is killed"):
            me.exit(ref, KILL)
        else:
            ref.send({"crashes": "crash", "kills itself": "kill"}.get(how, "end"))
        if lingers:
            assert await me.receive() == "cut short"
        assert isinstance(await me.receive(), Down)
        await wait_all_tasks_blocked()
        await node.spawn(second, me.ref)
        assert await me.receive() == (task, math.inf)


@needs_bypass
async def test_so_many_tasks_wait_and_no_more_and_none_outlives_the_node() -> None:
    async with open_node("test") as node, node.mailbox() as me:
        refs = [await node.spawn(seen, me.ref) for _ in range(SPARE + 5)]
        tasks = [(await me.receive())[0] for _ in refs]
        for ref in refs:
            me.monitor(ref)
            ref.send("end")
        for _ in refs:
            await me.receive()
        await wait_all_tasks_blocked()
        assert len(node.process_tasks.spare) == SPARE
        assert sum(task in node.nursery.child_tasks for task in tasks) == SPARE
    assert not node.nursery.child_tasks
    assert not node.process_tasks.spare


@needs_bypass
async def test_a_node_that_closes_begins_no_process_in_a_task_that_waits() -> None:
    """A process that is about to begin in one runs up to its first checkpoint, as in a task of its own."""
    ended: list[Process] = []

    async def late(me: Process) -> None:
        ended.append(me)
        await trio.sleep_forever()

    async with open_node("test") as node, node.mailbox() as me:
        first = await node.spawn(seen, me.ref)
        await me.receive()
        me.monitor(first)
        first.send("end")
        await me.receive()
        assert len(node.process_tasks.spare) == 1
        await node.spawn(late)
        node.nursery.cancel_scope.cancel()
        node.dispatcher.clear()
        await wait_all_tasks_blocked()
        assert [process.ended for process in ended] == [KILLED]
        assert not node.process_tasks.spare


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@needs_bypass
async def test_a_restart_of_a_function_takes_one_pass_of_the_loop() -> None:
    """That of whoever kills and waits: the end and the next beginning are turns of the run queue."""
    async with open_node("test") as node, node.mailbox() as me:
        await node.spawn(Supervisor, [Child(seen, me.ref)], intensity=100)
        for _ in range(3):  # so that a task waits
            await me.receive()
            me.exit(node.processes[max(node.processes)].ref, KILL)
        await me.receive()
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        for _ in range(20):
            me.exit(node.processes[max(node.processes)].ref, KILL)
            await me.receive()
        trio.lowlevel.remove_instrument(passes)
        assert passes.count <= 30


async def test_a_process_that_is_killed_while_it_waits_leaves_in_the_usual_way() -> None:
    """Its scopes and `finally` blocks are left by `Cancelled`, and only then is its end known."""
    log: list[Any] = []

    async def tidy(me: Process) -> None:
        try:
            with trio.move_on_after(100) as scope:
                await me.receive()
        except trio.Cancelled:
            log.append(
                (
                    "cancelled",
                    scope.cancelled_caught,
                    current_task() is me.node.processes[me.serial].body.task,
                )
            )
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            log.append("tidied")

    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(tidy)
        await wait_all_tasks_blocked()
        me.monitor(ref)
        me.exit(ref, KILL)
        down = await me.receive()
        log.append(down.reason)
    assert log == [("cancelled", False, True), "tidied", KILLED]


async def test_a_process_that_catches_the_cancellation_waits_no_more() -> None:
    """Whatever it waits for next raises again, as in trio."""
    caught: list[str] = []

    async def stubborn(me: Process) -> None:
        for _ in range(3):
            try:
                await me.receive()
            except trio.Cancelled:
                caught.append("cancelled")
        await trio.sleep_forever()

    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(stubborn)
        await wait_all_tasks_blocked()
        me.monitor(ref)
        me.exit(ref, KILL)
        assert (await me.receive()).reason == KILLED
    assert caught == ["cancelled"] * 3


async def test_a_process_that_is_killed_as_the_dispatcher_ends_is_cancelled_by_the_loop() -> None:
    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(seen, me.ref)
        await me.receive()
        process = node.processes[ref.serial]
        await wait_all_tasks_blocked()
        process.interrupt(KILLED)
        node.dispatcher.clear()
        await wait_all_tasks_blocked()
        assert process.ended == KILLED


async def test_a_message_for_a_killed_process_does_not_revive_it() -> None:
    """It has been taken off its wait already: the message finds it on the run queue."""
    got: list[Any] = []

    async def waiting(me: Process) -> None:
        got.append(await me.receive())

    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(waiting)
        await wait_all_tasks_blocked()
        me.monitor(ref)
        me.exit(ref, KILL)
        ref.send("late")
        assert (await me.receive()).reason == KILLED
        ref = await node.spawn(waiting)
        me.monitor(ref)
        ref.send("in time")
        assert (await me.receive()).reason == NORMAL
    assert got == ["in time"]
