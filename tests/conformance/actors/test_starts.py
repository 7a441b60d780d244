"""Group M: how a server starts, or does not. Clauses S1 to S5 of docs/semantics.md."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    TIMEOUT,
    Actor,
    AlreadyStarted,
    Crashed,
    Custom,
    Exit,
    Exited,
    Ignore,
    Node,
    NodeStopped,
    Process,
    ReceiveTimeout,
    Ref,
    StartError,
    StartTimeout,
    open_node,
)
from enfilade.actors.guests import Guest
from tests.conformance.actors.subjects import BOOM, Async, Sync, idle


class Starter(Actor):
    """Does in `__init__` or `on_start` what it is told to."""

    def __init__(self, error: BaseException | None = None, where: str = "init") -> None:
        self.error = error
        self.where = where
        if error is not None and where == "init":
            raise error

    def on_start(self) -> None:
        if self.error is not None:
            raise self.error

    def on_stop(self, reason: Any) -> None:
        raise AssertionError("a process that never started does not say goodbye")


class AsyncStarter(Starter):
    """The same with a task."""

    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()
        Starter.on_start(self)


@pytest.mark.parametrize("starter", [Starter, AsyncStarter])
@pytest.mark.parametrize("where", ["init", "start"])
@pytest.mark.parametrize("how", ["stop", "ignore", "error", "crash"])
async def test_act_m1_start_outcomes(
    autojump_clock: MockClock, node: Node, starter: Any, where: str, how: str
) -> None:
    """Stop gives its reason, ignore Ignore, error the error, a crash the exception; and what a linked starter
    sees.
    """
    crash = ValueError("crashed")
    error = {
        "stop": Exit(BOOM),
        "ignore": Ignore("nothing to do"),
        "error": StartError(Custom("no")),
        "crash": crash,
    }[how]
    async with node.mailbox() as me:
        me.trap_exits = True
        with pytest.raises((StartError, Ignore)) as raised:
            await me.spawn(starter, error, where, link=True, name="it")
        assert node.whereis("it") is None
        if how == "ignore" or how == "error":
            assert raised.value is error
        else:
            assert isinstance(raised.value, StartError)
            assert raised.value.reason == (BOOM if how == "stop" else Crashed(crash))
        if how in ("stop", "crash"):
            exited = await me.receive(match=Exited, timeout=1)
            assert exited.reason == (BOOM if how == "stop" else Crashed(crash))
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_act_m2_start_timeout(autojump_clock: MockClock, node: Node) -> None:
    """Too long a start fails with a timeout; the process is gone, and no exit message is left."""

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(10)

    async with node.mailbox() as me:
        me.trap_exits = True
        before = set(node.processes)
        with pytest.raises(StartTimeout) as late:
            await me.spawn(Slow, link=True, timeout=1)
        assert (late.value.reason, late.value.seconds) == (TIMEOUT, 1)
        assert set(node.processes) == before
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1)


async def test_cancelled_start_kills_the_child(autojump_clock: MockClock, node: Node) -> None:
    """S3: whoever gives up waiting for a start leaves no half-started process behind."""

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(10)

    with trio.move_on_after(1) as scope:
        await node.spawn(Slow, name="slow")
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert node.whereis("slow") is None
    assert not node.processes


async def test_cancelled_start_of_a_sync_actor(autojump_clock: MockClock, node: Node) -> None:
    """S3: wherever among many starts the cancellation is noticed, nothing is left whose ref nobody got."""
    refs = []
    with trio.CancelScope() as scope:
        scope.cancel()
        while len(refs) < 1000:
            refs.append(await node.spawn(Sync))
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert [process.ref for process in node.processes.values()] == refs


@pytest.mark.parametrize("starter", [Starter, AsyncStarter])
async def test_act_m3_name_is_free_after_a_failed_start(
    autojump_clock: MockClock, node: Node, starter: Any
) -> None:
    """The name is free before spawn raises: the next attempt finds it so."""
    for _ in range(3):
        with pytest.raises(StartError):
            await node.spawn(starter, ValueError("no"), name="it")
    ref = await node.spawn(starter, name="it")
    assert node.whereis("it") == ref
    ref.exit(KILL)


async def test_already_started(autojump_clock: MockClock, node: Node) -> None:
    """S2: a taken name names its holder, and no second process is left."""
    ref = await node.spawn(Sync, name="it")
    with pytest.raises(AlreadyStarted) as taken:
        await node.spawn(Sync, name="it")
    assert taken.value.ref == ref
    assert len(node.processes) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_act_m15_failure_after_the_start(autojump_clock: MockClock, node: Node, is_async: bool) -> None:
    """What continues after the acknowledgement and fails: the linked starter is told, the actor is gone."""

    class Failing(Actor):
        def on_start(self) -> None:
            self.process.continue_with(self._post_start)

        def _post_start(self) -> None:
            raise ValueError("after the start")

    class AsyncFailing(Failing):
        async def nothing(self) -> None:
            pass

    async with node.mailbox() as me:
        me.trap_exits = True
        ref = await me.spawn(AsyncFailing if is_async else Failing, link=True)
        exited = await me.receive(match=Exited, timeout=1)
        assert exited.ref == ref
        assert isinstance(exited.reason, Crashed)
        assert len(node.processes) == 1


async def test_spawn_soon_reports_a_failing_start(autojump_clock: MockClock, node: Node) -> None:
    """S4: a sync actor can spawn; a start that fails is told over the link."""

    class Parent(Actor):
        def __init__(self, observer: Ref[Any]) -> None:
            self.observer = observer
            self.process.trap_exits = True

        def spawn(self, *args: Any) -> Ref[Any]:
            return self.process.spawn_soon(*args, link=True)

        def on_exit(self, exited: Exited) -> None:
            self.observer.send(exited)

    async with node.mailbox() as me:
        parent = await node.spawn(Parent, me.ref)
        child = await parent.call(Parent.spawn, Sync)
        assert await child.call(Sync.echo, 1) == 1
        assert child._process.parent == parent
        child = await parent.call(Parent.spawn, Async)
        assert await child.call(Async.echo, 1) == 1
        child = await parent.call(Parent.spawn, Starter, Exit(BOOM))
        assert await me.receive(timeout=1) == Exited(child, BOOM)


@pytest.mark.parametrize("target", [3, "name", Node, Guest, lambda me: None])
async def test_what_cannot_be_spawned(autojump_clock: MockClock, node: Node, target: Any) -> None:
    """S1: neither an actor class, nor an async function, nor `Spawnable`: a TypeError that names it."""
    with pytest.raises(TypeError, match="cannot spawn"):
        await node.spawn(target)
    assert not node.processes


async def test_what_was_called_too_early(autojump_clock: MockClock, node: Node) -> None:
    """S1: an actor object or a coroutine in place of the class or function; the error says what to pass."""

    async def early(me: Process) -> None:
        """Never begun."""

    with pytest.raises(TypeError, match="pass the class Actor"):
        await node.spawn(Actor())
    with pytest.raises(TypeError, match="pass the function early"):
        await node.spawn(early(None))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mailbox must be a Mailbox"):
        await node.spawn(Sync, mailbox=5)
    assert not node.processes


async def test_arguments_that_a_function_does_not_take(autojump_clock: MockClock, node: Node) -> None:
    """S1: a function that takes no process, or not the arguments of spawn, cannot be spawned."""

    async def nothing() -> None:
        """Never begun."""

    async def one(me: Process, value: int) -> None:
        """Never begun."""

    with pytest.raises(TypeError, match=r"nothing\(\) takes 0 positional.*`async def fn\(me, ...\)`"):
        await node.spawn(nothing)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
        await node.spawn(one)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        await node.spawn(functools.partial(one, value=1), other=2)
    async with node.mailbox() as me:
        with pytest.raises(TypeError, match="takes 0 positional arguments"):
            node.spawn_soon(nothing, link=True, spawner=me)
        await trio.testing.wait_all_tasks_blocked()
        assert not me.queue  # no process, and so no exit of one
    assert not node.processes


async def test_settings_that_are_none() -> None:
    """U1: a node's settings are a NodeConfig."""
    with pytest.raises(TypeError, match="NodeConfig"):
        async with open_node("test", config={"grace": 1}):  # type: ignore[arg-type]
            pass


async def test_spawn_on_a_stopped_node() -> None:
    """S1: a node that has stopped starts nothing."""
    async with open_node("test") as node:
        pass
    with pytest.raises(NodeStopped):
        await node.spawn(Sync)


async def test_link_needs_a_process(autojump_clock: MockClock, node: Node) -> None:
    """S1: plain code has nothing to link with."""
    with pytest.raises(TypeError, match="mailbox"):
        await node.spawn(Sync, link=True)


async def test_parent_and_callers(autojump_clock: MockClock, node: Node) -> None:
    """S5: a process knows who spawned it, and who spawned that."""

    async def generation(me: Process, left: int, observer: Ref[Any]) -> None:
        if left:
            await me.spawn(generation, left - 1, observer, label=f"generation {left}")
        else:
            observer.send((me.label, me.parent, me.callers))
        await trio.sleep_forever()

    async with node.mailbox() as me:
        await node.spawn(generation, 2, me.ref)
        label, parent, callers = await me.receive(timeout=1)
        assert label == "generation 1"
        assert parent == callers[0]
        assert callers[-1] == me.ref
        assert len(callers) == 3
    assert (await node.spawn(idle))._process.parent == node.ref  # type: ignore[attr-defined]
