"""Function processes that acknowledge their start themselves. S16, SUP-9."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    NORMAL,
    TIMEOUT,
    Actor,
    Child,
    Crashed,
    Custom,
    Down,
    DynamicSupervisor,
    Exit,
    Exited,
    FailedToStart,
    Ignore,
    Node,
    Process,
    ReceiveTimeout,
    Ref,
    RemoteEntry,
    Shutdown,
    Started,
    StartError,
    StartFailed,
    StartTimeout,
    Supervisor,
    acknowledges_start,
    open_node,
    spawn_started,
)
from enfilade.actors.supervision.child_spec import InvalidChild
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]

BOOM = Custom("boom")
STRATEGIES = pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])


@acknowledges_start
async def slow(me: Process, info: Any = None, journal: list[str] | None = None, seconds: float = 1) -> None:
    """Is ready after a second; ends with the reason that it is sent."""
    await trio.sleep(seconds)
    if journal is not None:
        journal.append("ready")
    me.started(info)
    raise Exit(await me.receive())


@acknowledges_start
async def failing(me: Process, error: BaseException | None) -> None:
    """Ends without having been ready."""
    await trio.sleep(1)
    if error is not None:
        raise error


class Journalist(Actor):
    """The child that is started next."""

    def __init__(self, journal: list[str]) -> None:
        journal.append("next")


async def test_spawn_waits(autojump_clock: MockClock, node: Node) -> None:
    """S16: `spawn` returns once the function has called `started`, and the function goes on."""
    before = trio.current_time()
    ref = await node.spawn(slow)
    assert trio.current_time() == before + 1
    async with node.mailbox() as me:
        me.monitor(ref)
        ref.send(BOOM)
        assert (await me.receive(Down)).reason == BOOM


class Answering(Actor):
    def on_start(self) -> str:
        return "news"


class AnsweringSlowly(Actor):
    async def on_start(self) -> str:
        return "news"


class Gone:
    """A callable object whose process ends in the step in which it has started."""

    @acknowledges_start
    async def __call__(self, me: Process) -> None:
        me.started("news")


SUBJECTS = {
    "function": slow,
    "partial": functools.partial(slow, info="news"),
    "callable": Gone(),
    "actor": Answering,
    "async actor": AnsweringSlowly,
}


@pytest.mark.parametrize("spawner", ["node", "process"])
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_value(autojump_clock: MockClock, node: Node, subject: str, spawner: str) -> None:
    """S16: whoever starts a process is told what that had to tell, even if it has ended by then."""
    target: Any = SUBJECTS[subject]
    args = ("news",) if subject == "function" else ()
    async with node.mailbox() as me:
        started = await spawn_started(me if spawner == "process" else node, target, *args, name="it")
    assert isinstance(started, Started)
    assert started.info == "news"
    assert isinstance(started.ref, Ref)


@pytest.mark.parametrize("how", ["crash", "exit", "error", "ignore", "return"])
async def test_failures(autojump_clock: MockClock, node: Node, how: str) -> None:
    """S16: what ends before it has acknowledged its start has failed to start, as an actor does (S3)."""
    errors = {
        "crash": ValueError("no"),
        "exit": Exit(BOOM),
        "error": StartError(Custom("quiet")),
        "ignore": Ignore("nothing to do"),
        "return": None,
    }
    error = errors[how]
    reason = {"crash": Crashed, "exit": Custom, "return": type(NORMAL)}.get(how)
    async with node.mailbox() as me:
        me.trap_exits = True
        with pytest.raises((StartError, Ignore)) as raised:
            await me.spawn(failing, error, link=True, name="it")
        assert node.whereis("it") is None
        if reason is None:
            assert raised.value is error
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=1)
        else:
            assert isinstance(raised.value, StartError)
            assert isinstance(raised.value.reason, reason)
            assert (await me.receive(Exited, timeout=1)).reason == raised.value.reason
        if how == "return":
            assert "ended before it had acknowledged its start" in str(raised.value)


async def test_time_limit(autojump_clock: MockClock, node: Node) -> None:
    """S16: a start that takes longer than `spawn` allows is killed, and its name is free."""
    with pytest.raises(StartTimeout):
        await node.spawn(slow, name="it", timeout=0.5)
    assert node.whereis("it") is None
    assert not node.processes


async def test_cancelled(autojump_clock: MockClock, node: Node) -> None:
    """S16: whoever gives up waiting leaves no half-started process behind."""
    with trio.move_on_after(0.5) as scope:
        await node.spawn(slow, name="it")
    assert scope.cancelled_caught
    assert node.whereis("it") is None


async def test_nobody_waits(autojump_clock: MockClock, node: Node) -> None:
    """S16: with `spawn_soon` the function acknowledges all the same, and its failure goes over the link."""
    async with node.mailbox() as me:
        me.trap_exits = True
        ref = me.spawn_soon(slow, link=True)
        ref.send(BOOM)
        assert (await me.receive(Exited)).reason == BOOM
        me.spawn_soon(failing, Exit(BOOM), link=True)
        assert (await me.receive(Exited)).reason == BOOM


@STRATEGIES
async def test_supervisors_wait(autojump_clock: MockClock, node: Node, strategy: Any) -> None:
    """SUP-9: the next child is started once the function has acknowledged its start, after a restart too."""
    journal: list[str] = []
    children = [Child(slow, "news", journal, id="slow"), Child(Journalist, journal, id="next")]
    supervisor = await node.spawn(Supervisor, children, strategy=strategy)
    assert journal == ["ready", "next"]
    [first, _] = await supervisor.call(Supervisor.children)
    assert isinstance(first.ref, Ref)
    first.ref.send(BOOM)
    await trio.sleep(0.5)
    [first, _] = await supervisor.call(Supervisor.children)  # served when the restart is over
    assert trio.current_time() % 1 == 0
    assert journal == ["ready", "next", "ready"] + (["next"] if strategy != "one_for_one" else [])
    assert isinstance(first.ref, Ref)


@STRATEGIES
async def test_failed_first_start(autojump_clock: MockClock, node: Node, strategy: Any) -> None:
    """SUP-9: a supervisor does not start without a child that ends before it has acknowledged its start."""
    for error, reason in ((None, NORMAL), (Exit(BOOM), BOOM)):
        with pytest.raises(StartError) as raised:
            await node.spawn(Supervisor, [Child(failing, error, id="it")], strategy=strategy)
        assert raised.value.reason == Shutdown(FailedToStart("it", reason))


@asynccontextmanager
async def two_nodes(**entries: Any) -> AsyncIterator[tuple[Node, Node]]:
    """A node, and another one that exports these entries."""
    network = MemoryNetwork()
    policy = Policy.same_user(entries="*")
    async with (
        open_node(
            "away", carrier=network.carrier("away"), listen="/away", policy=policy, entries=entries
        ) as away,
        open_node("home", carrier=network.carrier("home"), policy=policy) as home,
    ):
        await home.connect("/away")
        yield home, away


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_child_on_request(autojump_clock: MockClock, kind: type[Supervisor], side: str) -> None:
    """SUP-9: the caller of `start_child` waits, too, and gets the value."""
    async with two_nodes(slow=slow) as (home, away):
        target: Any = slow if side == "near" else RemoteEntry("slow", away.full_name)
        supervisor = await home.spawn(kind)
        before = trio.current_time()
        answer: Any = await supervisor.call(Supervisor.start_child, Child(target, "news", id="it"))
        assert trio.current_time() >= before + 1
        assert isinstance(answer, Started)
        assert answer.info == "news"


@pytest.mark.parametrize("side", ["near", "far"])
@STRATEGIES
async def test_limit_under_a_supervisor(autojump_clock: MockClock, side: str, strategy: Any) -> None:
    """SUP-9: a start that takes longer than the child's `start_timeout` is killed, and has failed."""
    async with two_nodes(slow=slow) as (home, away):
        target: Any = slow if side == "near" else RemoteEntry("slow", away.full_name)
        supervisor = await home.spawn(Supervisor, [], strategy=strategy)
        child = Child(target, kwargs={"seconds": 3}, id="it", start_timeout=2)
        before = trio.current_time()
        with pytest.raises(StartFailed) as raised:
            await supervisor.call(Supervisor.start_child, child)
        assert raised.value.reason == TIMEOUT
        assert trio.current_time() == before + 2
        await trio.sleep(0.1)
        assert not [process for process in away.processes.values() if process.body.kind == "function"]
        in_time = Child(target, kwargs={"seconds": 1}, id="it", start_timeout=2)
        ref = await supervisor.call(Supervisor.start_child, in_time)
        await trio.sleep(5)
        [info] = await supervisor.call(Supervisor.children)
        assert info.ref == ref


async def test_limit_holds_for_actors(autojump_clock: MockClock, node: Node) -> None:
    """SUP-9: the limit is for every child whose start takes time."""

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(10)

    with pytest.raises(StartError) as raised:
        await node.spawn(Supervisor, [Child(Slow, id="it", start_timeout=0)])
    assert raised.value.reason == Shutdown(FailedToStart("it", TIMEOUT))
    with pytest.raises(InvalidChild, match="start_timeout"):
        Child(Slow, start_timeout=-1)


async def test_stop_while_a_child_starts(autojump_clock: MockClock, node: Node) -> None:
    """SUP-9: the limit of a start has nothing to say once the supervisor stops."""

    @acknowledges_start
    async def careful(me: Process) -> None:
        me.trap_exits = True
        await me.receive(Exited)
        await trio.sleep(3)

    ref = node.spawn_soon(Supervisor, [Child(careful, start_timeout=2)])
    await trio.sleep(1)
    before = trio.current_time()
    await ref.stop()
    assert trio.current_time() == before + 3


async def test_spawn_elsewhere(autojump_clock: MockClock) -> None:
    """S16: `spawn_on` waits for the acknowledgement on the other node, and tells of a failure."""
    async with two_nodes(slow=slow, failing=failing) as (home, away):
        before = trio.current_time()
        await home.spawn_on(away.full_name, "slow")
        assert trio.current_time() >= before + 1
        with pytest.raises(StartError):
            await home.spawn_on(away.full_name, "failing", None)


async def test_misuse(autojump_clock: MockClock, node: Node) -> None:
    """S16: `started` is for decorated functions, once; the error says so."""

    async def undecorated(me: Process) -> None:
        me.started()

    @acknowledges_start
    async def twice(me: Process) -> None:
        me.started()
        me.started()

    class Calls(Actor):
        def on_start(self) -> None:
            self.process.started()

    async with node.mailbox() as me:
        for fn in (undecorated, twice):
            await me.spawn(fn, monitor=True)
            reason = (await me.receive(Down)).reason
            assert isinstance(reason, Crashed)
            assert "call `started` once, and only in a function" in str(reason.error)
        with pytest.raises(RuntimeError, match="is acknowledged when its `on_start` returns"):
            me.started()
    with pytest.raises(StartError, match="acknowledged when its `on_start` returns"):
        await node.spawn(Calls)
    with pytest.raises(TypeError, match="acknowledges_start is for async functions, got"):
        acknowledges_start(lambda me: None)  # type: ignore[arg-type, return-value]
