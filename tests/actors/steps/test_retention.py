"""What the runtime does not keep: limits of calls that are over, and the last message of an idle process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from enfilade.actors import (
    NORMAL,
    SHUTDOWN,
    Actor,
    CallTimeout,
    Crashed,
    Down,
    EventHandler,
    EventManager,
    HandlerRemoved,
    Node,
    Process,
    Reason,
    Ref,
)
from enfilade.actors.messages.signals import Call
from tests.actors.steps.bystanders import unharmed


class Thing:
    """Something large."""


class Takes(Actor):
    """Takes things and keeps none."""

    def take(self, *, thing: Thing) -> Thing:
        return Thing()

    def refuse(self) -> None:
        return None

    def on_message(self, message: object) -> None:
        return None


class TakesWithTask(Takes):
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


async def takes(me: Process) -> None:
    while True:
        received = await me.receive()
        if isinstance(received, Call):
            received.reply(None)
        del received


async def _call(ref: Ref[Any], me: Process, thing: Thing) -> None:
    await ref.call(Takes.take, thing=thing)


async def _request(ref: Ref[Any], me: Process, thing: Thing) -> None:
    await me.request(ref, Takes.take, thing=thing).receive()


async def _misfit(ref: Ref[Any], me: Process, thing: Thing) -> None:
    with pytest.raises(TypeError):
        await me.request(ref, Takes.refuse, thing).receive()  # type: ignore[call-arg]


async def _cast(ref: Ref[Any], me: Process, thing: Thing) -> None:
    ref.cast(Takes.take, thing=thing)


async def _send(ref: Ref[Any], me: Process, thing: Thing) -> None:
    ref.send(thing)


async def _timer(ref: Ref[Any], me: Process, thing: Thing) -> None:
    me.send_after(0.1, ref, thing)
    await trio.sleep(0.2)


async def _stale_timer(ref: Ref[Any], me: Process, thing: Thing) -> None:
    me.send_after(3600, ref, thing).cancel()


WAYS: list[Callable[[Ref[Any], Process, Thing], Any]] = [
    _call,
    _request,
    _misfit,
    _cast,
    _send,
    _timer,
    _stale_timer,
]


@pytest.mark.parametrize("kind", [Takes, TakesWithTask, takes])
async def test_no_last_message(autojump_clock: object, kind: Any) -> None:
    """M5: a message that was handled is nowhere: neither are the arguments of a call."""
    gc.disable()  # so that none is kept in a cycle
    try:
        async with unharmed() as (node, me):
            for way in WAYS:
                if kind is takes and way is _misfit:
                    continue
                ref = await node.spawn(kind)
                thing = Thing()
                kept = weakref.ref(thing)
                await way(ref, me, thing)
                del thing
                await trio.sleep(1)
                if way is _misfit:
                    gc.collect()  # the error's traceback and the frames in it
                assert kept() is None, way.__name__
    finally:
        gc.enable()


async def _distinct(node: Node, ref: Ref[Any], number: int) -> None:
    await ref.within(1000 + 1 / (number + 1)).call(TakesWithTask.wait)


async def _growing(node: Node, ref: Ref[Any], number: int) -> None:
    await ref.within(1000 + number).call(TakesWithTask.wait)


async def _alternating(node: Node, ref: Ref[Any], number: int) -> None:
    await ref.within(1000 + number % 2).call(TakesWithTask.wait)


async def _nested(node: Node, ref: Ref[Any], number: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_distinct, node, ref, number)
        nursery.start_soon(_growing, node, ref, number)


@pytest.mark.parametrize("call", [_distinct, _growing, _alternating, _nested])
async def test_no_limits(call: Callable[[Node, Ref[Any], int], Any]) -> None:
    """C3: time limits that no two calls share leave nothing behind."""
    async with unharmed() as (node, _me):
        ref = await node.spawn(TakesWithTask)
        for number in range(300):
            await call(node, ref, number)
        assert node.statistics().timers == 0
        assert len(node.timers._lanes) <= 1
        assert len(list(node.timers.pending())) <= 3


async def test_limits_still_hold(autojump_clock: object) -> None:
    """C3: a lane that was used and emptied times out its next call as the first."""

    async def never(me: Process) -> None:
        await trio.sleep_forever()

    async with unharmed() as (node, me):
        ref = await node.spawn(never)
        for limit in (2, 1, 2, 3, 1):
            began = trio.current_time()
            request = me.request(ref, Takes.take, thing=Thing())
            with pytest.raises(CallTimeout):
                await request.receive(limit)
            assert trio.current_time() - began == pytest.approx(limit)
        me.monitor(ref)
        ref.exit(SHUTDOWN)
        await me.receive(Down)


class Fragile(EventHandler):
    """Fails with a thing at hand."""

    def on_event(self, event: str) -> None:
        thing = Thing()
        KEPT.append(weakref.ref(thing))
        if event == "crash":
            raise LookupError(event)

    def on_remove(self, reason: Reason) -> None:
        thing = Thing()
        KEPT.append(weakref.ref(thing))
        if reason == NORMAL:
            raise LookupError("removed")


KEPT: list[weakref.ref[Thing]] = []


@pytest.mark.parametrize("way", ["on_event", "on_remove"])
async def test_the_reason_of_a_removal_keeps_no_variables(autojump_clock: object, way: str) -> None:
    """S11: the owner may keep the reason, and keeps with it none of what the handler had at hand."""
    KEPT.clear()
    async with unharmed() as (node, me):
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "key", Fragile, supervised=me.ref)
        if way == "on_event":
            manager.cast(EventManager.notify, "crash")
        else:
            with pytest.raises(LookupError):
                await manager.call(EventManager.delete_handler, "key")
        removed = await me.receive(HandlerRemoved, timeout=1)
        assert isinstance(removed.reason, Crashed)
        gc.collect()
        assert KEPT
        assert [kept() for kept in KEPT] == [None] * len(KEPT)
