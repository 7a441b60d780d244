"""Bodies: what every body has in common. Clause S1 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    SHUTDOWN,
    Actor,
    Call,
    DispatchedBody,
    Exited,
    Node,
    Process,
    ProcessDied,
    Spawnable,
    Supervisor,
    system,
)
from enfilade.actors.guests.guest_body import GuestBody, LoadingBody
from enfilade.actors.processes.body import Body, is_spawnable
from tests.conformance.actors.subjects import BOOM

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Counting(DispatchedBody):
    """Counts messages."""

    __slots__ = ("counted",)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.counted = 0

    def turn(self, budget: int) -> bool:
        self.counted += len(self.process.queue)
        self.process.queue.clear()
        return super().turn(budget)


@attrs.frozen
class Counter(Spawnable[Any]):
    """Describes a process whose body is `Counting`."""

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Counting:
        return Counting(process)


def below(cls: type[Body]) -> Iterator[type[Body]]:
    for inner in cls.__subclasses__():
        yield inner
        yield from below(inner)


def test_bodies_have_slots() -> None:
    """No body has a `__dict__`: there may be a hundred thousand of them."""
    bodies = list(below(Body))
    assert {GuestBody, LoadingBody} < set(bodies)
    assert not [body for body in bodies if "__slots__" not in vars(body)]


async def test_a_body_of_ones_own(autojump_clock: MockClock, node: Node) -> None:
    """S1: a `DispatchedBody` only has to say what it does with messages; system messages are served."""
    ref = await node.spawn(Counter())
    process = node.processes[max(node.processes)]
    for number in range(3):
        ref.send(number)
    assert (await system.get_status(ref)).queued == 0
    assert process.body.counted == 3
    await system.suspend(ref)
    assert (await system.get_status(ref)).suspended
    with pytest.raises(system.NoState):
        await system.get_state(ref)
    with pytest.raises(system.NoState):
        await system.change_code(ref, Supervisor)
    await system.resume(ref)
    await ref.stop(SHUTDOWN)
    assert not node.processes


@pytest.mark.parametrize("soon", [False, True])
async def test_an_exit_signal_ends_a_body_of_ones_own(
    autojump_clock: MockClock, node: Node, soon: bool
) -> None:
    """S1: `DispatchedBody` obeys exit signals by itself."""
    async with node.mailbox() as me:
        me.trap_exits = True
        ref = me.spawn_soon(Counter(), link=True) if soon else await me.spawn(Counter(), link=True)
        me.exit(ref, BOOM)
        assert await me.receive(Exited, timeout=1) == Exited(ref, BOOM)


def test_a_class_of_spawnables_is_not_spawnable() -> None:
    """S1: what describes a process is spawnable, its class is not."""
    assert is_spawnable(Counter())
    assert not is_spawnable(Counter)
    assert not is_spawnable(Counter().body)


async def stubborn(me: Process) -> None:
    """Takes three seconds to end."""
    with trio.CancelScope(shield=True):
        await trio.sleep(3)


class Owner(Actor):
    """Ends what it has spawned before it ends."""

    def own(self) -> None:
        self.process.open_arena()
        self.process.spawn_soon(stubborn)

    def crash(self) -> None:
        raise ValueError("as asked")


class OwnerWithTask(Owner):
    async def crash(self) -> None:
        raise ValueError("as asked")


async def owner(me: Process) -> None:
    """The same as a function."""
    me.open_arena()
    me.spawn_soon(stubborn)
    while True:
        call = await me.receive(Call)
        if call.method == "crash":
            raise ValueError("as asked")
        call.reply(None)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("target", [Owner, OwnerWithTask, owner])
async def test_a_process_that_ends_its_children(
    autojump_clock: MockClock, node: Node, target: Any, killed: bool
) -> None:
    """U10, C5: meanwhile its body says what is at hand, as all bodies do; then its calls fail."""
    failed: list[str] = []
    ref: Any = await node.spawn(target)
    await ref.call(Owner.own)
    process = node.processes[ref.serial]

    async def ask(method: Any) -> None:
        with pytest.raises(ProcessDied):
            await ref.within(10).call(method)
        failed.append(method.__name__)

    async with trio.open_nursery() as nursery:
        await system.suspend(ref)
        nursery.start_soon(ask, Owner.crash)
        await trio.sleep(0.1)
        nursery.start_soon(ask, Owner.own)
        await trio.sleep(0.1)
        await system.resume(ref)
        await trio.sleep(0.1)
        if killed:
            ref.exit(KILL)
            await trio.sleep(0.1)
        if target is Owner:  # a task stays what it is until it is over
            assert process.body.kind == "ending"
        if target is not owner:  # whose calls are at hand until it replies
            assert process.body.at_hand.method == "crash"
        assert process.serial in node.processes
    assert sorted(failed) == ["crash", "own"]
    assert not node.processes
    assert not node.statistics().timers


@pytest.mark.parametrize("end", ["terminated", "asked"])
async def test_a_suspended_supervisor_ends(autojump_clock: MockClock, node: Node, end: str) -> None:
    """SUP-7: a supervisor that is to end does so, although it is suspended."""
    ref = await node.spawn(Supervisor, [])
    process = node.processes[max(node.processes)]
    await system.suspend(ref)
    if end == "asked":
        await ref.stop(SHUTDOWN)
    else:
        await system.terminate(ref, SHUTDOWN)
        async with node.mailbox() as me:
            me.monitor(ref)
            await me.receive(timeout=1)
    assert process.ended == SHUTDOWN
