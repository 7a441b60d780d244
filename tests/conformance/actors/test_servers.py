"""Group M: the life of a server. Clauses S1 to S14 of docs/semantics.md."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    TIMEOUT,
    Actor,
    AlreadyStarted,
    CallTimeout,
    Crashed,
    Custom,
    Down,
    Exit,
    Exited,
    IdleTimeout,
    Ignore,
    Node,
    NodeStopped,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    StartError,
    StartTimeout,
    UnknownMethod,
    open_node,
    system,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Async, Sync, idle


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
async def test_act_m5_continue_runs_before_queued_messages(
    autojump_clock: MockClock, node: Node, is_async: bool
) -> None:
    """S6: what `on_start` left to be continued runs after the acknowledgement and before anything that was
    queued.
    """
    order: list[Any] = []

    class Continuing(Actor):
        def __init__(self) -> None:
            node.send("it", "queued during init")

        def on_start(self) -> None:
            node.send("it", "queued during start")
            self.process.continue_with(self._load, "loaded")

        def _load(self, what: str) -> None:
            order.append(what)

        def on_message(self, message: Any) -> None:
            order.append(message)

    class AsyncContinuing(Continuing):
        async def _load(self, what: str) -> None:  # type: ignore[override]
            await trio.sleep(1)
            order.append(what)

        async def nothing(self) -> None:
            pass

    await node.spawn(AsyncContinuing if is_async else Continuing, name="it")
    await trio.sleep(2)
    assert order == ["loaded", "queued during init", "queued during start"]


@pytest.mark.parametrize("tier", TIERS)
async def test_stop_with_reply(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S8: on_stop runs first, then the reply is sent."""
    async with node.mailbox() as me:
        ref = await node.spawn(tier, me.ref)
        assert await ref.call(tier.stop_with, SHUTDOWN, "goodbye") == "goodbye"
        assert await me.receive(timeout=0) == ("stopped", SHUTDOWN)
        me.monitor(ref)
        assert isinstance(await me.receive(timeout=1), Down)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_m7_stop_waits(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """stop returns when the process has ended, with the reason asked for; another one is an error."""
    async with node.mailbox() as me:
        ref = await node.spawn(tier, me.ref)
        await ref.stop(SHUTDOWN)
        assert await me.receive(timeout=0) == ("stopped", SHUTDOWN)

    class Stubborn(tier):  # type: ignore[misc]
        def on_stop(self, reason: Any) -> None:
            raise Exit(BOOM)

    ref = await node.spawn(Stubborn)
    with pytest.raises(ProcessDied) as died:
        await ref.stop()
    assert died.value.reason == BOOM


@pytest.mark.parametrize("trap", [False, True])
async def test_stop_of_a_function_process(autojump_clock: MockClock, node: Node, trap: bool) -> None:
    """S8: to plain code an order to stop is an exit signal, whatever the reason."""

    async def plain(me: Process) -> None:
        me.trap_exits = trap
        if trap:
            exited = await me.receive(match=Exited)
            raise Exit(exited.reason)
        await trio.sleep_forever()

    for reason in (NORMAL, SHUTDOWN, BOOM):
        ref = await node.spawn(plain)
        await wait_all_tasks_blocked()
        await ref.stop(reason, timeout=1)
    assert not node.processes


@pytest.mark.parametrize("reason", ["normal", None, ValueError()])
async def test_what_is_no_reason(autojump_clock: MockClock, node: Node, reason: Any) -> None:
    """S1: exit reasons are Reasons; anything else is refused where it is given."""
    ref = await node.spawn(Sync)
    async with node.mailbox() as me:
        with pytest.raises(TypeError, match="Custom"):
            me.exit(ref, reason)
        with pytest.raises(TypeError, match="Custom"):
            ref.exit(reason)
        with pytest.raises(TypeError, match="Custom"):
            await ref.stop(reason)
        with pytest.raises(TypeError, match="Custom"):
            raise Exit(reason)
        for what in (me.link, me.unlink, me.monitor):
            with pytest.raises(TypeError, match="ref"):
                what(3)  # type: ignore[operator]


async def test_act_m7_stop_times_out(autojump_clock: MockClock, node: Node) -> None:
    """With a timeout, stop gives up; the process still stops."""

    class Slow(Actor):
        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(5)

    ref = await node.spawn(Slow)
    with pytest.raises(CallTimeout):
        await ref.stop(timeout=1)
    await trio.sleep(10)
    assert not node.processes


@pytest.mark.parametrize("tier", TIERS)
async def test_crash_runs_on_stop(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S9: after a crash on_stop is called with the reason; a crash in it replaces that."""

    class Worse(tier):  # type: ignore[misc]
        def on_stop(self, reason: Any) -> None:
            raise LookupError(str(reason))

    async with node.mailbox() as me:
        ref = await node.spawn(tier, me.ref)
        with pytest.raises(ProcessDied) as died:
            await ref.call(tier.fail)
        assert await me.receive(timeout=1) == ("stopped", died.value.reason)
        ref = await node.spawn(Worse)
        me.monitor(ref)
        ref.cast(tier.fail)
        down = await me.receive(match=Down, timeout=1)
        assert isinstance(down.reason.error, LookupError)


@pytest.mark.parametrize("is_async", [False, True])
async def test_act_m9_no_handler_for_a_message(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    """S13: without on_message a message is warned about and dropped, and the server lives."""

    class Deaf(Actor):
        def echo(self, value: int) -> int:
            return value

    class AsyncDeaf(Deaf):
        async def nothing(self) -> None:
            pass

    ref = await node.spawn(AsyncDeaf if is_async else Deaf)
    with caplog.at_level(logging.WARNING):
        ref.send("hello")
        assert await ref.call(Deaf.echo, 1) == 1
    assert "hello" in caplog.text


@pytest.mark.parametrize("way", ["call", "cast"])
@pytest.mark.parametrize("tier", TIERS)
async def test_act_m10_unknown_method_crashes(
    autojump_clock: MockClock, node: Node, tier: Any, way: str
) -> None:
    """A call or cast of a method that the actor does not have ends it."""

    class Other(Actor):
        def other(self) -> None:
            pass

    async with node.mailbox() as me:
        ref = await node.spawn(tier)
        me.monitor(ref)
        if way == "call":
            with pytest.raises(ProcessDied):
                await ref.call(Other.other)
        else:
            ref.cast(Other.other)
        down = await me.receive(match=Down, timeout=1)
        assert isinstance(down.reason.error, UnknownMethod)


@pytest.mark.parametrize("is_async", [False, True])
async def test_act_m11_idle_timeout(autojump_clock: MockClock, node: Node, is_async: bool) -> None:
    """S7: no message within the time: IdleTimeout; any message in between cancels it."""

    class Waiting(Actor):
        def __init__(self, observer: Ref[Any]) -> None:
            self.observer = observer

        def wait(self) -> None:
            self.process.timeout_after(1)

        def on_message(self, message: Any) -> None:
            self.observer.send(message)

    class AsyncWaiting(Waiting):
        async def nothing(self) -> None:
            pass

    async with node.mailbox() as me:
        ref = await node.spawn(AsyncWaiting if is_async else Waiting, me.ref)
        await ref.call(Waiting.wait)
        assert await me.receive(timeout=2) == IdleTimeout(1)
        await ref.call(Waiting.wait)
        await trio.sleep(0.5)
        ref.send("in time")
        assert await me.receive(timeout=5) == "in time"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


@pytest.mark.parametrize("is_async", [False, True])
async def test_act_m11_idle_timeout_of_a_busy_process(
    autojump_clock: MockClock, node: Node, is_async: bool
) -> None:
    """S7: a message that waits when the time is up cancels it, wherever it lies."""

    class Waiting(Actor):
        def __init__(self, observer: Ref[Any]) -> None:
            self.observer = observer

        def wait(self) -> None:
            self.process.timeout_after(1)

        def on_message(self, message: Any) -> None:
            self.observer.send(message)

    class AsyncWaiting(Waiting):
        async def nothing(self) -> None:
            pass

    async with node.mailbox() as me:
        ref = await node.spawn(AsyncWaiting if is_async else Waiting, me.ref)
        for delay in (0.5, 1.5):  # before it, and behind it
            await ref.call(Waiting.wait)
            await system.suspend(ref)
            await trio.sleep(delay)
            ref.send("in time")
            await trio.sleep(2)
            await system.resume(ref)
            assert await me.receive(timeout=5) == "in time"
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=5)
        await ref.call(Waiting.wait)
        assert await me.receive(timeout=2) == IdleTimeout(1)


@pytest.mark.parametrize("tier", TIERS)
async def test_act_m12_parent_exit_and_others(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S12: A trapping server stops when its parent exits; the exit of another linked process is a message."""
    async with node.mailbox() as me:

        async def parent(parent: Process) -> None:
            child = await parent.spawn(tier, me.ref, True, link=True)
            me.ref.send(child)
            await trio.sleep_forever()

        parent_ref = await node.spawn(parent)
        child = await me.receive(timeout=1)
        other = await node.spawn(idle)
        await child.call(tier.link_to, other)
        other.exit(BOOM)
        assert await me.receive(timeout=1) == Exited(other, BOOM)
        me.monitor(child)
        parent_ref.exit(SHUTDOWN)
        assert await me.receive(timeout=1) == ("stopped", SHUTDOWN)
        assert (await me.receive(match=Down, timeout=1)).reason == SHUTDOWN


@pytest.mark.parametrize("tier", TIERS)
async def test_exit_signal_skips_on_stop(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """S10: one that does not trap dies of an exit signal without on_stop."""
    async with node.mailbox() as me:
        ref = await node.spawn(tier, me.ref)
        me.monitor(ref)
        ref.exit(SHUTDOWN)
        assert (await me.receive(timeout=1)).reason == SHUTDOWN


@pytest.mark.parametrize("tier", TIERS)
async def test_act_m13_cast_to_the_dead(autojump_clock: MockClock, node: Node, tier: Any) -> None:
    """O3: A cast, or a message, to a dead server is silently lost for its sender."""
    ref = await node.spawn(tier)
    await ref.stop()
    ref.cast(tier.note, 1)
    ref.send(1)
    await ref.send_wait(1)
    assert node.dead_letters.count == 3


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


@pytest.mark.parametrize("is_async", [False, True])
async def test_act_m17_stop_returns_after_on_stop(
    autojump_clock: MockClock, node: Node, is_async: bool
) -> None:
    """When stop returns, on_stop has completed, however long it took."""
    done: list[str] = []

    class Slow(Actor):
        def on_stop(self, reason: Any) -> Any:
            done.append("stopped")

    class AsyncSlow(Actor):
        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(3)
            done.append("stopped")

    ref = await node.spawn(AsyncSlow if is_async else Slow)
    await ref.stop()
    assert done == ["stopped"]


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


@pytest.mark.parametrize("target", [3, "name", Node, lambda me: None])
async def test_what_cannot_be_spawned(autojump_clock: MockClock, node: Node, target: Any) -> None:
    """S1: neither an actor class nor an async function: a TypeError that names it."""
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
    with pytest.raises(TypeError, match="mailbox is a Mailbox"):
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
        me.trap_exits = True
        ref = node.spawn_soon(nothing, link=True, spawner=me)
        exited = await me.receive(Exited)
        assert exited.ref == ref
        assert "takes 0 positional arguments" in str(exited.reason)
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


@pytest.mark.parametrize("tier", TIERS)
async def test_normal_stop_is_not_logged(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, tier: Any
) -> None:
    """S11: normal, shutdown and shutdown with a detail are no errors; anything else is logged once."""
    for reason in (NORMAL, SHUTDOWN):
        ref = await node.spawn(tier)
        await ref.stop(reason)
    await wait_all_tasks_blocked()
    assert not caplog.records
    ref = await node.spawn(tier)
    with pytest.raises(ProcessDied):
        await ref.call(tier.fail)
    await wait_all_tasks_blocked()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
