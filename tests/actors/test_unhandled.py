"""What an actor has taken and not handled shares the fate of what is in its mailbox. Clauses M9 and M11 of
docs/semantics.md.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    CallingSelf,
    Child,
    DeadLetter,
    Machine,
    Mailbox,
    Node,
    Pool,
    ProcessDied,
    Reason,
    Ref,
    Supervisor,
    Worker,
)
from enfilade.actors.patterns.machine import when

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Gate(Machine):
    """Postpones everything while it is closed."""

    initial = "closed"

    def __init__(self) -> None:
        self.passed: list[Any] = []

    def enter(self, visitor: Any) -> Any:
        self.passed.append(visitor)
        return visitor

    def on_message(self, message: Any) -> None:
        self.passed.append(message)

    def open(self) -> list[Any]:
        self.become("open")
        return self.passed

    def crash(self) -> None:
        raise ValueError

    @when("closed", enter)
    def _wait(self, visitor: Any) -> Any:
        self.postpone()

    @when("closed", on_message)
    def _keep(self, message: Any) -> None:
        self.postpone()


class AsyncGate(Gate):
    """The same with a task."""

    async def nothing(self) -> None:
        """Make it one that has a task."""


TIERS = pytest.mark.parametrize("gate", [Gate, AsyncGate])


async def letters(me: Any) -> list[Any]:
    """What the dead letters hold: the arguments of casts, and plain messages."""
    found = []
    with trio.move_on_after(1):
        while True:
            message = (await me.receive(DeadLetter)).message
            found.append(getattr(message, "args", message))
    return found


@TIERS
@pytest.mark.parametrize("reason", [NORMAL, KILL])
async def test_postponed_events_are_dead_letters(
    node: Node, gate: type[Gate], reason: Reason, autojump_clock: MockClock
) -> None:
    """M9: a call that was postponed fails."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(gate)
        request = me.request(ref, gate.enter, "caller")
        ref.cast(gate.enter, "first")
        ref.send("second")
        await wait_all_tasks_blocked()
        if reason is KILL:
            ref.exit(KILL)
        else:
            await ref.stop(reason)
        with pytest.raises(ProcessDied):
            await request.receive()
        assert await letters(me) == [("first",), "second"]


@TIERS
async def test_postponed_events_pass_to_the_heir(
    node: Node, gate: type[Gate], autojump_clock: MockClock
) -> None:
    """M11: in their order, before what came later."""
    children = [Child(gate, id="gate", name="gate", mailbox=Mailbox(inherit=True))]
    await node.spawn(Supervisor, children)
    ref: Ref[Any] = node.named("gate")
    ref.cast(gate.enter, 1)
    ref.send(2)
    await wait_all_tasks_blocked()
    ref.cast(gate.crash)
    ref.cast(gate.enter, 3)
    await wait_all_tasks_blocked()
    await ref.call(gate.open)
    await wait_all_tasks_blocked()
    assert await ref.call(gate.open) == [1, 2, 3]


class Slow(Worker):
    """Works for ever, or fails."""

    async def work(self, job: Any) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize("routing", ["any", "key"])
async def test_jobs_that_nobody_has_begun_are_dead_letters(
    node: Node, routing: Any, autojump_clock: MockClock
) -> None:
    """M9: the job at hand is lost with its worker, as a message that is being handled."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        pool = await node.spawn(Pool, Slow, kwargs={"size": 1, "routing": routing})
        for job in range(3):
            pool.cast(Pool.submit, job, "key")
        await wait_all_tasks_blocked()
        pool.exit(KILL)
        key = "key" if routing == "key" else None
        assert await letters(me) == [(1, key), (2, key)]


async def test_jobs_that_the_pool_does_not_take_are_dead_letters(
    node: Node, autojump_clock: MockClock
) -> None:
    """M9: if nobody waits for them, nobody else would hear of it."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        for discard, lost in (("newest", 2), ("oldest", 1)):
            pool = await node.spawn(Pool, Slow, size=1, queue_limit=1, discard=discard)
            for job in range(3):
                pool.cast(Pool.submit, job)
            assert await letters(me) == [(lost, None)]
            pool.cast(Pool.drain)
            pool.cast(Pool.submit, "late")
            assert await letters(me) == [("late", None)]


class Selfish(Actor):
    """Calls itself by its alias."""

    async def call(self) -> None:
        await self.process.alias().call(Selfish.call)

    async def stop(self) -> None:
        await self.process.alias().stop()


@pytest.mark.parametrize("method", [Selfish.call, Selfish.stop])
async def test_an_alias_is_no_way_to_call_oneself(node: Node, method: Any) -> None:
    """C4: it is told at once."""
    ref = await node.spawn(Selfish)
    with pytest.raises(ProcessDied) as died:
        await ref.call(method)
    assert isinstance(died.value.__cause__, CallingSelf)
