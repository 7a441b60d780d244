"""A call that a machine has postponed is handled in the next state as any other. Clauses C8, C12, C15, S8
and S15 of docs/semantics.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    LiveResult,
    Machine,
    Mailbox,
    Node,
    ProcessDied,
    Resume,
    SenderDropped,
    spawn_started,
)
from enfilade.actors.patterns.machine import enter, when

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Adder(Actor):
    def add(self, number: int) -> int:
        return number + 1


class Gate(Machine):
    """Postpones calls while it is closed; then does with them what they say."""

    initial = "closed"

    def open(self) -> None:
        self.become("open")

    def ask(self, fn: Callable[[Any], Any]) -> Any:
        self.postpone()

    def open_and_ask(self, fn: Callable[[Any], Any]) -> Any:
        if self.state == "closed":
            self.become("open")
            self.postpone()
        return fn(self)

    @when("open", ask)
    def _ask(self, fn: Callable[[Any], Any]) -> Any:
        return fn(self)


class TaskGate(Gate):
    """The same with a task."""

    async def nothing(self) -> None: ...


class AsyncGate(Machine):
    """The same with async events."""

    initial = "closed"

    async def open(self) -> None:
        self.become("open")

    async def ask(self, fn: Callable[[Any], Any]) -> Any:
        self.postpone()

    async def open_and_ask(self, fn: Callable[[Any], Any]) -> Any:
        if self.state == "closed":
            self.become("open")
            self.postpone()
        return fn(self)

    @when("open", ask)
    async def _ask(self, fn: Callable[[Any], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return fn(self)


GATES = pytest.mark.parametrize("gate", [Gate, TaskGate, AsyncGate])
AT_ONCE = pytest.mark.parametrize("at_once", [False, True], ids=["later", "by its own handler"])


async def outcome(node: Node, ref: Any, gate: Any, at_once: bool, fn: Callable[[Any], Any]) -> Any:
    """What a caller gets whose call is postponed, and then does `fn`."""
    came: list[Any] = []

    async def call() -> None:
        try:
            came.append(await ref.call(gate.open_and_ask if at_once else gate.ask, fn))
        except Exception as error:
            came.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        if not at_once:
            assert not came
            await ref.call(gate.open)
    (got,) = came
    return got


def defers(self: Any) -> Any:
    deferred = self.process.defer()
    self.process.continue_with(deferred.reply, "later")
    return deferred


def drops(self: Any) -> None:
    self.process.defer()


def fails(self: Any) -> None:
    raise LookupError("gone")


def items(self: Any) -> Any:
    return iter([1])


@GATES
@AT_ONCE
async def test_it_is_at_hand_again(
    autojump_clock: MockClock, node: Node, gate: type[Machine], at_once: bool
) -> None:
    """It can be refused, deferred, forwarded, and dropped; what cannot be handed over is refused."""
    adder = await node.spawn(Adder)

    def forwards(self: Any) -> Any:
        deferred = self.process.defer()
        deferred.forward(adder, Adder.add, 4)
        return deferred

    for fn, expected in (
        (lambda _: "plain", "plain"),
        (lambda self: self.process.refuse(ValueError("no")), ValueError),
        (defers, "later"),
        (forwards, 5),
        (drops, SenderDropped),
        (items, LiveResult),
    ):
        ref = await node.spawn(gate)
        got = await outcome(node, ref, gate, at_once, fn)
        assert got == expected or type(got) is expected, fn
        await ref.stop()


@GATES
@AT_ONCE
async def test_its_failure_is_its_callers(
    autojump_clock: MockClock,
    node: Node,
    gate: type[Machine],
    at_once: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C12, S15: the caller gets `ProcessDied`, or the error itself when the machine is resumed; reports say
    what was being handled.
    """
    ref = await node.spawn(gate, on_failure=Resume(LookupError))
    assert isinstance(await outcome(node, ref, gate, at_once, fails), LookupError)
    await ref.stop()
    with caplog.at_level(logging.INFO):
        got = await outcome(node, await node.spawn(gate), gate, at_once, fails)
        await wait_all_tasks_blocked()
    assert isinstance(got, ProcessDied)
    assert isinstance(got.__cause__, LookupError)
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert any("was handling a call" in note for error in errors for note in getattr(error, "__notes__", ()))


@GATES
@AT_ONCE
async def test_its_reply_comes_after_on_stop(
    autojump_clock: MockClock, node: Node, gate: type[Machine], at_once: bool
) -> None:
    """S8: as that of every handler that stops its actor."""
    log: list[str] = []

    class Logging(gate):  # type: ignore[misc, valid-type]
        async def _closing(self) -> None: ...

        def on_stop(self, reason: object) -> None:
            log.append("on_stop")

    def stops(self: Any) -> str:
        self.process.stop()
        return "bye"

    ref = await node.spawn(Logging)
    assert await outcome(node, ref, Logging, at_once, stops) == "bye"
    assert log == ["on_stop"]


@pytest.mark.parametrize("overflow", ["fail", "drop_newest", "block"])
async def test_a_bound_keeps_no_postponed_event_out(
    autojump_clock: MockClock, node: Node, overflow: Any
) -> None:
    """M7: they were let in once."""
    ref = await node.spawn(Gate, mailbox=Mailbox(2, overflow))
    async with node.mailbox() as me:
        requests = []
        for number in range(5):
            requests.append(me.request(ref, Gate.ask, lambda _, number=number: number))
            await wait_all_tasks_blocked()
        await ref.call(Gate.open)
        assert [await request.receive() for request in requests] == list(range(5))


@pytest.mark.parametrize("of_task", [False, True])
async def test_what_on_start_tells(node: Node, of_task: bool) -> None:
    """SUP-6: also where the machine's own `on_start` is wrapped."""

    class Tells(Machine):
        initial = "on"

        def on_start(self) -> str:
            return "told"

    class AsyncTells(Machine):
        initial = "on"

        async def on_start(self) -> str:
            return "told"

    assert (await spawn_started(node, AsyncTells if of_task else Tells)).info == "told"


async def test_a_state_that_cannot_be_one(autojump_clock: MockClock, node: Node) -> None:
    """It is refused before anything has changed."""

    class Light(Machine):
        initial = "red"

        def turn(self, state: Any) -> Any:
            try:
                self.become(state)
            except TypeError:
                return f"still {self.state}"
            return self.state

        @enter("green")
        def _go(self) -> None: ...

    ref = await node.spawn(Light)
    assert await ref.call(Light.turn, []) == "still red"
    assert await ref.call(Light.turn, "green") == "green"
