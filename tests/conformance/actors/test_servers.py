"""Group M: the life of a server. Clauses S1 to S14 of docs/semantics.md."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    NORMAL,
    SHUTDOWN,
    Actor,
    CallTimeout,
    Down,
    Exit,
    Exited,
    IdleTimeout,
    Node,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    UnknownMethod,
    system,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Sync, idle


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
            with pytest.raises(TypeError, match="expected a Ref, got 3"):
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
        await trio.sleep(1)  # the report is made by a task of its own
    assert "hello" in caplog.text


@pytest.mark.parametrize("way", ["call", "cast"])
@pytest.mark.parametrize("tier", TIERS)
async def test_act_m10_unknown_method_crashes(
    autojump_clock: MockClock, node: Node, tier: Any, way: str
) -> None:
    """A call or cast of a method that it does not have ends an actor whose class is strict."""

    class Strict(tier, strict=True):  # type: ignore[misc]
        pass

    class Other(Actor):
        def other(self) -> None:
            pass

    async with node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(Strict)
        me.monitor(ref)
        if way == "call":
            with pytest.raises(ProcessDied):
                await ref.call(Other.other)
        else:
            ref.cast(Other.other)
        down = await me.receive(match=Down, timeout=1)
        assert isinstance(down.reason.error, UnknownMethod)


class Waiting(Actor):
    """Passes on what it receives, an idle time-out too."""

    def __init__(self, observer: Ref[Any]) -> None:
        self.observer = observer

    def wait(self) -> None:
        self.process.timeout_after(1)

    def on_message(self, message: Any) -> None:
        self.observer.send(message)


class AsyncWaiting(Waiting):
    """The same with a task."""

    async def nothing(self) -> None:
        pass


@pytest.mark.parametrize("waiting", [Waiting, AsyncWaiting])
async def test_act_m11_idle_timeout(autojump_clock: MockClock, node: Node, waiting: type[Waiting]) -> None:
    """S7: no message within the time: IdleTimeout; any message in between cancels it."""
    async with node.mailbox() as me:
        ref = await node.spawn(waiting, me.ref)
        await ref.call(Waiting.wait)
        assert await me.receive(timeout=2) == IdleTimeout(1)
        await ref.call(Waiting.wait)
        await trio.sleep(0.5)
        ref.send("in time")
        assert await me.receive(timeout=5) == "in time"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=5)


@pytest.mark.parametrize("waiting", [Waiting, AsyncWaiting])
async def test_act_m11_idle_timeout_of_a_busy_process(
    autojump_clock: MockClock, node: Node, waiting: type[Waiting]
) -> None:
    """S7: a message that waits when the time is up cancels it, wherever it lies."""
    async with node.mailbox() as me:
        ref = await node.spawn(waiting, me.ref)
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
