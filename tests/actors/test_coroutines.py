"""Coroutines that methods of sync actors return. Clause C15 of docs/semantics.md."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    Child,
    CoroutineReturned,
    Crashed,
    Machine,
    Node,
    ProcessDied,
    Reason,
    Ref,
    StartError,
    Supervisor,
    system,
)
from enfilade.actors.patterns.machine import enter, leave

pytest_plugins = ["enfilade.actors.testing.plugin"]


async def later() -> None:
    """What a sync actor cannot wait for."""


def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hides that `method` is a coroutine function."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


class Sync(Actor):
    def waits(self, *args: Any, **kwargs: Any) -> Any:
        return later()

    @decorated
    async def looks_sync(self) -> None:
        pass

    def ask_later(self) -> None:
        self.process.continue_with(self.waits)

    def nothing(self) -> None:
        pass

    def on_message(self, message: Any) -> Any:
        return later()

    def on_down(self, down: Any) -> Any:
        return later()

    def on_exit(self, exited: Any) -> Any:
        return later()


def blames(reason: Reason | None, method: str) -> bool:
    """Whether an actor ended because `method` returned a coroutine."""
    if not isinstance(reason, Crashed) or type(reason.error) is not CoroutineReturned:
        return False
    return f"{method} returned a coroutine" in str(reason.error) and "`async def`" in str(reason.error)


async def watched(ref: Ref[Any]) -> None:
    """Have the actor observed, which takes its messages the careful way."""
    await system.statistics(ref, on=True)


METHODS = [(Sync.waits, "Sync.waits"), (Sync.looks_sync, "Sync.looks_sync")]


@pytest.mark.parametrize("queued", [False, True], ids=["handed off", "queued"])
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
@pytest.mark.parametrize(("method", "name"), METHODS, ids=[name for _, name in METHODS])
async def test_the_caller_of_a_coroutine_is_told(
    autojump_clock: MockClock, node: Node, method: Any, name: str, observed: bool, queued: bool
) -> None:
    """C15: who calls learns of it, and the actor has ended of it."""
    ref = await node.spawn(Sync)
    if observed:
        await watched(ref)
    if queued:
        ref.cast(Sync.nothing)
    with pytest.raises(ProcessDied) as caught:
        await ref.call(method)
    assert blames(caught.value.reason, name)
    assert isinstance(caught.value.__cause__, CoroutineReturned)


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (lambda ref: ref.cast(Sync.waits), "Sync.waits"),
        (lambda ref: ref.cast(Sync.waits, 1), "Sync.waits"),
        (lambda ref: ref.cast(Sync.waits, 1, two=2), "Sync.waits"),
        (lambda ref: ref.cast(Sync.ask_later), "Sync.waits"),
        (lambda ref: ref.send("message"), "Sync.on_message"),
    ],
    ids=["cast", "cast with an argument", "cast with arguments", "continuation", "message"],
)
async def test_nobody_waits(
    autojump_clock: MockClock, node: Node, ask: Callable[[Ref[Sync]], None], method: str, observed: bool
) -> None:
    """C15: where nobody waits for an answer the actor ends all the same."""
    async with node.mailbox() as me:
        ref = await me.spawn(Sync)
        if observed:
            await watched(ref)
        me.monitor(ref)
        ask(ref)
        assert blames((await me.receive()).reason, method)


@pytest.mark.parametrize("hook", ["on_down", "on_exit"])
async def test_a_hook_that_returns_a_coroutine_fails(
    autojump_clock: MockClock, node: Node, hook: str
) -> None:
    """C15: hooks are methods too."""
    async with node.mailbox() as me:
        ref, other = await me.spawn(Sync), await me.spawn(Sync)
        me.monitor(ref)
        process = node.processes[ref.serial]
        process.trap_exits = True
        process.monitor(other) if hook == "on_down" else process.link(other)
        other.exit(SHUTDOWN)
        assert blames((await me.receive()).reason, f"Sync.{hook}")


async def test_start_and_stop(autojump_clock: MockClock, node: Node) -> None:
    """C15: `on_start` fails the start, `on_stop` becomes the reason."""

    class Starts(Actor):
        def on_start(self) -> Any:
            return later()

    class Stops(Actor):
        def on_stop(self, reason: Reason) -> Any:
            return later()

    with pytest.raises(StartError) as refused:
        await node.spawn(Starts)
    assert blames(refused.value.reason, "Starts.on_start")
    ref = await node.spawn(Stops)
    with pytest.raises(ProcessDied) as died:
        await ref.stop()
    assert blames(died.value.reason, "Stops.on_stop")


@pytest.mark.parametrize("queued", [False, True], ids=["handed off", "queued"])
async def test_a_method_of_a_supervisor_that_returns_a_coroutine_fails(
    autojump_clock: MockClock, node: Node, queued: bool
) -> None:
    """C15: methods that a subclass gives a supervisor."""

    class Chief(Supervisor):
        def waits(self) -> Any:
            return later()

    ref = await node.spawn(Chief, [Child(Sync)])
    if queued:
        await watched(ref)
    with pytest.raises(ProcessDied) as died:
        await ref.call(Chief.waits)
    assert blames(died.value.reason, "Chief.waits")
    await wait_all_tasks_blocked()
    assert node.statistics().processes == 0


async def test_with_a_task_it_is_awaited(autojump_clock: MockClock, node: Node) -> None:
    """C15: an actor with a task awaits it."""

    class Async(Sync):
        async def also(self) -> None:
            pass

    ref = await node.spawn(Async)
    assert await ref.call(Async.waits) is None


@pytest.mark.parametrize("mark", [enter("open"), leave("open")])
def test_transitions_of_a_machine_are_sync(mark: Callable[[Any], Any]) -> None:
    """What runs when a state begins or ends cannot wait."""
    with pytest.raises(TypeError, match="cannot be async"):

        class Door(Machine):
            @mark
            async def changed(self) -> None:
                pass
