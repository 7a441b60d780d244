"""Bodies: what every body has in common. Clause S1 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from enfilade.actors import SHUTDOWN, DispatchedBody, Exited, Node, Process, Spawnable, Supervisor, system
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
