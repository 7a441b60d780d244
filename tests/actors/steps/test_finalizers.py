"""Deferred replies that Python's garbage collector finds: at any line of the runtime, in any thread. C8."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from enfilade.actors import Actor, Deferred, SenderDropped
from tests.actors.steps.bystanders import Bystander, unharmed
from tests.tracer import Tracer


class Drops(Actor):
    """Leaves deferred replies to the garbage collector."""

    def ask(self) -> Deferred[None]:
        deferred = self.process.defer()
        cycle: list[object] = [deferred]
        cycle.append(cycle)
        return deferred

    def on_message(self, message: object) -> None:
        return None


class DropsWithTask(Drops):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


@contextmanager
def collecting_at(number: int) -> Iterator[Tracer]:
    """Collect garbage at that line of the runtime, counted from now, and at no other."""
    gc.collect()
    gc.disable()
    try:
        with Tracer(number, lambda: gc.collect(0)) as tracer:
            yield tracer
    finally:
        gc.enable()


async def _ask(actor: type[Drops], number: int) -> int:
    with trio.fail_after(100):
        async with unharmed() as (node, me):
            drops, bystander = await node.spawn(actor), await node.spawn(Bystander)
            with collecting_at(number) as tracer:
                request = me.request(drops, Drops.ask)
                drops.send("wake")
                assert await bystander.call(Bystander.ping) == "pong"
                await trio.lowlevel.checkpoint()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_collect_soon)
                    with pytest.raises(SenderDropped):
                        await drops.within(5).call(Drops.ask)
            gc.collect()
            with pytest.raises(SenderDropped):
                await request.receive(5)
    return len(tracer.lines)


async def _collect_soon() -> None:
    await trio.sleep(1)
    gc.collect()


@pytest.mark.parametrize("actor", [Drops, DropsWithTask])
def test_at_every_line(actor: type[Drops]) -> None:
    """C8: wherever the collector finds it, the caller gets `SenderDropped`, and nobody else notices."""
    number, lines = -1, 0
    while number < lines:
        lines = trio.run(_ask, actor, number, clock=MockClock(autojump_threshold=0))
        number += 1
    assert number > 100


@pytest.mark.parametrize("actor", [Drops, DropsWithTask])
async def test_at_every_allocation(autojump_clock: object, actor: type[Drops]) -> None:
    """C8: as above, when the collector runs as often as it can."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        async with unharmed() as (node, me):
            drops = await node.spawn(actor)
            requests = [me.request(drops, Drops.ask) for _ in range(20)]
            for request in requests:
                with pytest.raises(SenderDropped):
                    await request.receive(5)
            for _ in range(20):
                with pytest.raises(SenderDropped):
                    await drops.within(5).call(Drops.ask)
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("actor", [Drops, DropsWithTask])
async def test_in_another_thread(actor: type[Drops]) -> None:
    """C8: the caller gets `SenderDropped` at once, also when another thread finds the deferred reply."""
    gc.disable()
    try:
        async with unharmed() as (node, me):
            drops = await node.spawn(actor)
            request = me.request(drops, Drops.ask)
            await trio.sleep(0.01)
            await trio.to_thread.run_sync(gc.collect)
            with pytest.raises(SenderDropped):
                await request.receive(1)
    finally:
        gc.enable()


def test_after_the_end() -> None:
    """C8: a deferred reply that outlives the loop, or its process, harms nobody."""
    kept: list[Deferred[Any]] = []

    class Keeps(Actor):
        def ask(self) -> Deferred[None]:
            kept.append(self.process.defer())
            return kept[-1]

        def end(self) -> None:
            self.process.stop()

    async def main() -> None:
        async with unharmed() as (node, me):
            for _ in range(2):
                me.request(await node.spawn(Keeps), Keeps.ask)
            await trio.lowlevel.checkpoint()
            await node.spawn(Bystander)
            for process in list(node.processes.values()):
                if type(process.actor) is Keeps:
                    await process.ref.call(Keeps.end)
                    break
            kept.pop()

    trio.run(main)
    kept.clear()
    gc.collect()
