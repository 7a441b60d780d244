"""A full stack: it costs the process that fills it, not the one that happens to be called there. U2."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from enfilade.actors import Actor, Crashed, ProcessDied, StartError
from tests.actors.steps.bystanders import Bystander, end_of, unharmed


def recurse(depth: int) -> int:
    return 0 if not depth else 1 + recurse(depth - 1)


async def deep(depth: int, fn: Callable[[], Awaitable[Any]]) -> Any:
    """Await `fn()` so many frames further down."""
    return await (deep(depth - 1, fn) if depth else fn())


class Recurses(Actor):
    def go(self, depth: int) -> int:
        return recurse(depth)

    def forever(self) -> None:
        self.forever()


class RecursesWithTask(Recurses):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


@pytest.mark.parametrize("actor", [Recurses, RecursesWithTask])
async def test_in_a_handler(autojump_clock: object, actor: type[Recurses]) -> None:
    """U2: a handler that fills its own stack crashes its process alone."""
    async with unharmed() as (node, me):
        for queued in (False, True):
            ref = await node.spawn(actor)
            me.monitor(ref)
            with pytest.raises(ProcessDied):
                await (me.request(ref, actor.forever).receive() if queued else ref.call(actor.forever))
            reason = await end_of(me, ref)
            assert isinstance(reason, Crashed)
            assert isinstance(reason.error, RecursionError)


async def test_deep_in_the_callers_stack(autojump_clock: object) -> None:
    """U2: a call from so deep that its handler has no room fails in the caller; the callee goes on."""
    room = sys.getrecursionlimit()
    async with unharmed() as (node, _me):
        ref = await node.spawn(Recurses)
        failed = 0
        for depth in range(room // 2, room, 7):
            try:
                assert await deep(depth, lambda: ref.call(Recurses.go, 100)) == 100
            except RecursionError:
                failed += 1
            assert sys.getrecursionlimit() == room
            assert await ref.within(1).call(Recurses.go, 100) == 100
        assert failed
        for depth in range(room - 120, room):  # every last frame
            try:
                await deep(depth, lambda: ref.call(Recurses.go, 0))
            except RecursionError:
                failed += 1
            assert sys.getrecursionlimit() == room
            assert await ref.within(1).call(Recurses.go, 0) == 0


async def test_starts_deep_in_the_stack(autojump_clock: object) -> None:
    """S3: a start from so deep that it has no room fails, and leaves nothing behind."""
    room = sys.getrecursionlimit()
    async with unharmed() as (node, _me):
        before = len(node.processes)
        failed = 0
        for depth in range(room - 150, room):
            try:
                ref = await deep(depth, lambda: node.spawn(Bystander, name="it"))
            except (RecursionError, StartError):
                failed += 1
            else:
                await ref.stop()
            assert node.whereis("it") is None, depth
            assert len(node.processes) == before, depth
        assert failed
