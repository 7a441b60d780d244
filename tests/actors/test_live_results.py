"""Results that have yet to run, where no handler returns them. Clause C15 of docs/semantics.md."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Call,
    Child,
    ChildEvent,
    CoroutineReturned,
    Crashed,
    EventHandler,
    EventManager,
    HandlerRemoved,
    LiveResult,
    Machine,
    Node,
    Process,
    ProcessDied,
    StartError,
    Supervisor,
    TaskSupervisor,
    async_nolink,
    open_node,
)
from enfilade.actors.patterns.machine import enter
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]


def items() -> Any:
    yield 1


async def nothing() -> None:
    """Do nothing."""


async def async_items() -> Any:
    yield 1


MAKERS: list[Callable[[], Any]] = [items, nothing, async_items, lambda: iter([1])]


class Later(Actor):
    """Answers by a deferred reply."""

    def answer(self, number: int) -> Any:
        deferred = self.process.defer()
        self.process.continue_with(deferred.reply, MAKERS[number]())
        return deferred


class AsyncLater(Later):
    async def nothing(self) -> None:
        """Make it one that has a task."""


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("number", range(len(MAKERS)))
@pytest.mark.parametrize("actor", [Later, AsyncLater])
async def test_deferred_replies(node: Node, actor: type[Later], number: int) -> None:
    """C15, C8: the caller gets `LiveResult`, and the callee lives."""
    ref = await node.spawn(actor)
    for _ in range(2):
        with pytest.raises(LiveResult, match=r"return(ed)? an? .*list of its items"):
            await ref.call(actor.answer, number)


async def answers(me: Process) -> None:
    """Answers calls, as a function process does."""
    while True:
        call = await me.receive(Call)
        call.reply(MAKERS[call.args[0]]())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("number", range(len(MAKERS)))
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
async def test_replies_of_functions(far: bool, number: int) -> None:
    """C15: the same, for each way in which the caller waits."""
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    async with (
        open_node("home", carrier=network.carrier("home"), policy=policy, listen="/home") as home,
        open_node("near", carrier=network.carrier("near"), policy=policy) as near,
        near.mailbox() as me,
    ):
        ref: Any = await (home if far else near).spawn(answers, name="answers")
        if far:
            await near.connect("/home")
            ref = await near.whereis_on(home.full_name, "answers")
        with pytest.raises(LiveResult, match="list of its items"):
            await ref.call(Later.answer, number)
        request = me.request(ref, Later.answer, number)
        await wait_all_tasks_blocked()
        with pytest.raises(LiveResult, match="list of its items"):
            await request.receive(1)


class Tells(Actor):
    def on_start(self) -> Any:
        return items()


class AsyncTells(Actor):
    async def on_start(self) -> Any:
        return items()


@pytest.mark.parametrize("actor", [Tells, AsyncTells])
async def test_starts(node: Node, actor: type[Actor]) -> None:
    """C15, R1: what a start has to tell, in both tiers."""
    with pytest.raises(StartError) as failed:
        await node.spawn(actor)
    assert isinstance(failed.value.reason, Crashed)
    assert isinstance(failed.value.reason.error, LiveResult)


def handler_with(hook: str, function: Callable[..., Any]) -> type[EventHandler]:
    """A class of event handlers."""
    return type("Handler", (EventHandler,), {hook: lambda self, *args: function()})


@pytest.mark.parametrize(("function", "error"), [(items, LiveResult), (nothing, CoroutineReturned)])
async def test_event_handlers(node: Node, function: Callable[..., Any], error: type[Exception]) -> None:
    """C15: a handler whose code does not run is removed, like one that crashes; the manager goes on."""
    manager = await node.spawn(EventManager)
    async with node.mailbox() as me:
        await manager.call(
            EventManager.add_handler, "it", handler_with("on_event", function), supervised=me.ref
        )
        await manager.call(EventManager.notify, "event")
        reason = (await me.receive(HandlerRemoved, timeout=1)).reason
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, error)
    with pytest.raises(error):
        await manager.call(EventManager.add_handler, "it", handler_with("on_add", function))
    await manager.call(EventManager.add_handler, "it", handler_with("on_call", function))
    with pytest.raises(error):
        await manager.call(EventManager.call_handler, "it", 1)
    # As with an actor: a reply that the caller cannot have costs nobody his place.
    assert await manager.call(EventManager.which_handlers) == (["it"] if error is LiveResult else [])
    await manager.call(EventManager.add_handler, "other", handler_with("on_remove", function))
    with pytest.raises(error):
        await manager.call(EventManager.delete_handler, "other")


@pytest.mark.parametrize(("function", "error"), [(items, LiveResult), (nothing, CoroutineReturned)])
async def test_machines(node: Node, function: Callable[..., Any], error: type[Exception]) -> None:
    """C15: so is what runs when a state is entered."""

    class Turning(Machine):
        initial = "off"

        def turn(self) -> None:
            self.become("on")

        @enter("on")
        def _on(self) -> Any:
            return function()

    ref = await node.spawn(Turning)
    with pytest.raises((error, ProcessDied)) as raised:
        await ref.call(Turning.turn)
    reason = getattr(raised.value, "reason", None)
    assert error is LiveResult or (isinstance(reason, Crashed) and isinstance(reason.error, error))


@pytest.mark.parametrize("function", [items, async_items])
def test_a_machine_that_cannot_run_its_code(function: Callable[..., Any]) -> None:
    """C15: a generator function as an `enter` function is refused when the class is made."""
    with pytest.raises(TypeError, match="cannot be a generator"):
        enter("on")(function)


async def test_tasks(node: Node) -> None:
    async def made() -> Any:
        return items()

    task = await async_nolink(await node.spawn(TaskSupervisor), made)
    with pytest.raises(ProcessDied) as died:
        await task.wait()
    assert isinstance(died.value.__cause__, LiveResult)


async def test_child_events(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """C15, SUP-26: the hook of a supervisor is logged, and the supervisor goes on."""

    class Generous(Supervisor):
        def on_child_event(self, event: ChildEvent) -> Any:
            return items()

    caplog.set_level(logging.ERROR)
    ref = await node.spawn(Generous, [Child(Later, id="it")])
    await wait_all_tasks_blocked()
    assert len(await ref.call(Generous.children)) == 1
    assert "on_child_event returned a generator" in caplog.text
