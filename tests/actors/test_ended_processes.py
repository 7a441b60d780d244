"""Processes that have ended are freed by their reference counts: the garbage collector has no part in it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    Custom,
    Deferred,
    Down,
    DynamicSupervisor,
    Mailbox,
    Node,
    NoProcess,
    Process,
    Ref,
    StartError,
    Supervisor,
    open_node,
)

AWAY = Custom("away")


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node("town") as opened:
        yield opened


def records() -> int:
    """The number of process records that there are, whether their processes live or not."""
    return sum(issubclass(type(thing), Process) for thing in gc.get_objects())


class Uncollected:
    """A block in which the collector does not run, and at whose end there must be no more records."""

    async def __aenter__(self) -> None:
        await wait_all_tasks_blocked()
        gc.collect()
        gc.disable()
        self.before = records()

    async def __aexit__(self, *error: object) -> None:
        try:
            await wait_all_tasks_blocked()
            left = records() - self.before
        finally:
            gc.enable()
        assert error[0] is not None or left == 0, f"{left} records of ended processes are left"


async def expect(error: type[Exception], awaited: Awaitable[Any]) -> None:
    """As `pytest.raises`, which would keep the traceback, and its frames what they held."""
    try:
        await awaited
    except error:
        return
    pytest.fail(f"nothing raised {error.__name__}")


class Sync(Actor):
    """Does what it is told."""

    def on_message(self, message: Any) -> None:
        if message == "crash":
            raise ValueError("as asked")
        self.process.stop(message)

    def leave(self) -> str:
        self.process.stop()
        return "left"

    def fail(self) -> None:
        raise ValueError("as asked")

    def keep(self) -> Deferred[Any]:
        self.kept = self.process.defer()
        return self.kept

    def hold(self, other: Ref[Any]) -> None:
        me = self.process
        me.trap_exits = True
        me.link(other)
        me.monitor(other)
        me.monitor(other, alias="demonitor")
        me.alias()
        me.send_after(1000, me.ref, "late")
        me.timers.start("key", 1000, "late", every=True)
        me.timeout_after(1000)
        me.stash("aside")


class Async(Sync):
    async def on_exit(self, exited: Any) -> None:
        """Only to be of the other tier."""


async def function(me: Process) -> None:
    message = await me.receive()
    if message == "crash":
        raise ValueError("as asked")


async def hopeless(me: Process) -> None:
    with trio.CancelScope(shield=True):
        await trio.lowlevel.checkpoint()
    await trio.sleep_forever()


async def stop(node: Node, ref: Ref[Any]) -> None:
    await ref.stop()


async def stop_itself(node: Node, ref: Ref[Any]) -> None:
    ref.send(AWAY)


async def crash(node: Node, ref: Ref[Any]) -> None:
    ref.send("crash")


async def kill(node: Node, ref: Ref[Any]) -> None:
    ref.exit(KILL)


async def signal(node: Node, ref: Ref[Any]) -> None:
    ref.exit(AWAY)


async def end_by_link(node: Node, ref: Ref[Any]) -> None:
    async with node.mailbox() as me:
        me.trap_exits = True
        me.link(ref)
        me.monitor(ref)
        ref.exit(AWAY)
        assert (await me.receive()).reason == AWAY
        assert (await me.receive()).reason == AWAY


async def end_with_messages(node: Node, ref: Ref[Any]) -> None:
    async with node.mailbox() as me:
        ref.exit(KILL)
        ref.send("too late")
        request = me.request(ref, Sync.leave)
        await wait_all_tasks_blocked()
        assert request.settled
    ref.send("later still")


WAYS = [stop, stop_itself, crash, kill, signal, end_by_link, end_with_messages]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [Sync, Async, function, hopeless])
async def test_frees_a_process_however_it_ends(
    node: Node, target: Any, way: Callable[[Node, Ref[Any]], Awaitable[None]]
) -> None:
    if target is hopeless and way in (stop_itself, crash):
        pytest.skip("it takes no messages")
    async with Uncollected():
        for spawn in (node.spawn, node.spawn_soon):
            ref = spawn(target)
            ref = ref if isinstance(ref, Ref) else await ref
            await wait_all_tasks_blocked()
            await way(node, ref)
            await wait_all_tasks_blocked()
            assert node.statistics().processes == 0
            del ref


@pytest.mark.parametrize("target", [Sync, Async])
async def test_frees_an_actor_whose_call_ends_it(node: Node, target: type[Sync]) -> None:
    async with Uncollected():
        ref = await node.spawn(target)
        assert await ref.call(Sync.leave) == "left"
        ref = await node.spawn(target)
        ref.cast(Sync.fail)
        await wait_all_tasks_blocked()
        del ref


@pytest.mark.parametrize("target", [Sync, Async])
async def test_frees_an_actor_that_owes_a_reply(node: Node, target: type[Sync]) -> None:
    async with Uncollected(), node.mailbox() as me:
        ref = await node.spawn(target)
        request = me.request(ref, Sync.keep)
        await wait_all_tasks_blocked()
        ref.exit(KILL)
        await wait_all_tasks_blocked()
        assert request.settled
        del ref, request, me


@pytest.mark.parametrize("target", [Sync, Async])
async def test_frees_an_actor_with_timers_links_monitors_aliases_and_a_stash(
    node: Node, target: type[Sync]
) -> None:
    async with Uncollected():
        one, other = await node.spawn(target), await node.spawn(target)
        await one.call(Sync.hold, other)
        await other.call(Sync.hold, one)
        one.exit(KILL)
        await wait_all_tasks_blocked()
        other.exit(KILL)
        del one, other


class Unfit(Actor):
    def __init__(self) -> None:
        raise ValueError("as asked")


class UnfitAsync(Unfit):
    async def on_exit(self, exited: Any) -> None:
        """Only to be of the other tier."""


@pytest.mark.parametrize("target", [Unfit, UnfitAsync])
async def test_frees_a_process_that_does_not_start(node: Node, target: type[Actor]) -> None:
    async with Uncollected():
        if target is Unfit:
            await expect(StartError, node.spawn(target))
        node.spawn_soon(target)
        await expect(TypeError, node.spawn(5))  # type: ignore[call-overload]


async def test_frees_a_mailbox(node: Node) -> None:
    async with Uncollected():
        async with node.mailbox() as me:
            me.ref.send("unread")
        del me
        with suppress(ValueError):
            async with node.mailbox() as me:
                raise ValueError("as asked")
        del me


class Registered(Sync):
    def __init__(self, board: dict[str, Ref[Any]]) -> None:
        board["latest"] = self.process.ref


@pytest.mark.parametrize("inherit", [False, True])
async def test_frees_the_incarnations_of_a_child(node: Node, inherit: bool) -> None:
    board: dict[str, Ref[Any]] = {}
    child = Child(Registered, board, id="it", name="it", mailbox=Mailbox(inherit=inherit))
    supervisor = await node.spawn(Supervisor, [child], intensity=100)
    async with Uncollected():
        for _ in range(5):
            former = board["latest"]
            former.send("crash")
            former.send("crash") if inherit else None
            await wait_all_tasks_blocked()
            assert board["latest"] != former
        del former
    await supervisor.stop()


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("way", [stop, kill, signal])
async def test_frees_a_supervisor_and_its_tree(
    node: Node, kind: Any, way: Callable[[Node, Ref[Any]], Awaitable[None]]
) -> None:
    async with Uncollected():
        if kind is Supervisor:
            ref = await node.spawn(Supervisor, [Child(Sync, id=1), Child(Async, id=2), Child(function, id=3)])
        else:
            ref = await node.spawn(DynamicSupervisor, Child(Sync, id="template"))
            await ref.call(DynamicSupervisor.start_from_template)
        await wait_all_tasks_blocked()
        await way(node, ref)
        del ref


async def test_answers_for_the_ended_as_before(node: Node) -> None:
    """What is made anew for an ended process is as good as what it had."""
    async with node.mailbox() as me:
        ref = await node.spawn(Sync, name="gone", label="the late")
        down = me.monitor(ref)
        ref.exit(AWAY)
        assert await me.receive() == Down(down, ref, AWAY)
        process = ref._process  # type: ignore[attr-defined]
        assert process.ref == ref
        assert hash(process.ref) == hash(ref)
        assert str(process.ref) == str(ref)
        assert process.ended == AWAY
        node.dead_letters.subscribe(me.ref)
        ref.send("too late")
        letter = await me.receive()
        assert (letter.message, letter.ref, letter.reason) == ("too late", ref, AWAY)
        with pytest.raises(NoProcess):
            await ref.call(Sync.leave)
        assert me.monitor(ref)
        assert (await me.receive(Down)).ref == ref
        assert isinstance(process, Process)
