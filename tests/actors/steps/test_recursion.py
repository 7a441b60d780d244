"""A full stack: it costs the process that fills it, not the one that happens to be called there. U2."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import (
    KILL,
    SHUTDOWN,
    UNBOUNDED,
    Actor,
    Call,
    Crashed,
    Down,
    Like,
    Mailbox,
    NoProcess,
    Process,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    StartError,
)
from tests.actors.isolation.hostile import stack_left
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

    def fail(self) -> None:
        raise ValueError("fails")

    def leave(self) -> int:
        self.process.stop()
        return 0

    def on_message(self, message: object) -> None:
        """Nothing."""


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


def from_the_last_frames(frames: int, fn: Callable[[], Any]) -> bool:
    """Call `fn` where so many frames of the stack are left; tell whether it had room."""
    try:
        stack_left(frames, fn)
    except RecursionError:
        return False
    return True


async def serve(me: Process) -> None:
    while True:
        message = await me.receive()
        if isinstance(message, Call):
            message.reply(0)


DEEDS: dict[str, Callable[[Process, Ref[Any]], Any]] = {
    "send": lambda _me, ref: ref.send("message"),
    "cast": lambda _me, ref: ref.cast(Recurses.go, 0),
    "request": lambda me, ref: me.request(ref, Recurses.go, 0),
    "monitor": lambda me, ref: me.demonitor(me.monitor(ref), flush=True),
    "link": lambda me, ref: (me.link(ref), me.unlink(ref)),
    "alias": lambda me, _ref: me.alias("reply").send("message"),
    "timer": lambda me, ref: me.send_after(0, ref, "message"),
    "exit": lambda me, ref: me.exit(ref, SHUTDOWN),
    "kill": lambda _me, ref: ref.exit(KILL),
    "order": lambda me, ref: me.request(ref, Recurses.leave),
}


@pytest.mark.parametrize("mailbox", [UNBOUNDED, Mailbox(1000, "fail")], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("target", [Recurses, RecursesWithTask, serve])
@pytest.mark.parametrize("deed", DEEDS)
async def test_signals_from_the_last_frames(
    autojump_clock: object, deed: str, target: Any, mailbox: Mailbox
) -> None:
    """U2, C2: a signal from where the stack is full is sent or raises in the sender, and hurts nobody."""
    sent = refused = 0
    async with unharmed() as (node, me):
        for frames in (*range(3, 90), 200):
            ref = await node.spawn(target, mailbox=mailbox)
            await trio.testing.wait_all_tasks_blocked()
            if from_the_last_frames(frames, partial(DEEDS[deed], me, ref)):
                sent += 1
            else:
                refused += 1
                assert await ref.within(1).call(Recurses.go, 0) == 0, frames
            watch = me.monitor(ref)
            ref.exit(KILL)
            assert (await me.receive(Like(Down, monitor=watch), timeout=1)).ref == ref
        with suppress(ReceiveTimeout):
            while True:
                await me.receive(timeout=0)
    assert sent
    assert refused


@pytest.mark.parametrize("method", [Recurses.fail, Recurses.leave])
@pytest.mark.parametrize("actor", [Recurses, RecursesWithTask])
async def test_ends_in_the_last_frames(autojump_clock: object, actor: type[Recurses], method: Any) -> None:
    """U2, C7: a handler that ends its actor in the caller's last frames ends it wholly, or not at all."""
    ends = 0
    async with unharmed() as (node, me):
        for frames in (*range(3, 90), 200):
            ref = await node.spawn(actor)
            await trio.testing.wait_all_tasks_blocked()
            watch = me.monitor(ref)
            with suppress(ProcessDied, RecursionError):
                stack_left(frames, partial(driven, partial(ref.call, method)))
            if await has_ended(ref):
                ends += 1
            else:
                assert await ref.within(1).call(Recurses.go, 0) == 0, frames
                ref.exit(KILL)
            assert (await me.receive(Like(Down, monitor=watch), timeout=1)).ref == ref
    assert ends


async def has_ended(ref: Ref[Recurses]) -> bool:
    """Whether a call finds it there, when all that is under way has been done."""
    await trio.testing.wait_all_tasks_blocked()
    try:
        await ref.within(1).call(Recurses.go, 0)
    except (NoProcess, ProcessDied):
        return True
    return False


def driven(call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run a call up to where it waits, if it does."""
    coroutine = call()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    finally:
        coroutine.close()
