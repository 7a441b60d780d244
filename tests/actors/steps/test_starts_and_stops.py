"""A start that its starter cancels, and a stop that owes a reply: alike in every kind of process."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    Crashed,
    Down,
    ProcessDied,
    Supervisor,
)
from tests.actors.steps.bystanders import unharmed


class Slow(Actor):
    async def on_start(self) -> None:
        await trio.sleep(10)


class SlowToDie(Actor):
    async def on_start(self) -> None:
        try:
            await trio.sleep(10)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)


class SlowSupervisor(Supervisor):
    def __init__(self) -> None:
        from enfilade.actors import Child

        super().__init__([Child(Slow, id="slow")])


class Quick(Actor): ...


@pytest.mark.parametrize("target", [Slow, SlowToDie, SlowSupervisor])
async def test_a_cancelled_start_gives_its_name_back(autojump_clock: object, target: Any) -> None:
    """S3: the name is free when `spawn` returns, whether the process has ended yet or not."""
    async with unharmed() as (node, _me):
        for _ in range(2):
            with trio.move_on_after(0.1):
                await node.spawn(target, name="it")
            assert node.whereis("it") is None
            quick = await node.spawn(Quick, name="it")
            assert node.whereis("it") == quick
            await trio.sleep(5)
            assert node.whereis("it") == quick
            quick.exit(KILL)
            await trio.sleep(0.1)


async def test_a_cancelled_start_that_has_failed_meanwhile(autojump_clock: object) -> None:
    """S3: cancelling the starter in the very moment in which the start fails takes nobody's name."""

    class Fails(Actor):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    async with unharmed() as (node, _me):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def start() -> None:
                    await node.spawn(Fails, name="it")

                await trio.sleep(1)
                ref = node.whereis("it")
                assert ref is not None
                scope.cancel()
                node.finish(node.processes[ref.serial], NORMAL)
                quick = node.spawn_soon(Quick, name="it")
        assert node.whereis("it") == quick
        quick.exit(KILL)
        await trio.sleep(1)


class Ends(Actor):
    def __init__(self, fails: str) -> None:
        self.fails = fails

    def finish(self) -> str:
        self.process.stop(NORMAL)
        if self.fails == "handler":
            raise ValueError("in the handler")
        return "reply"

    def on_stop(self, reason: object) -> None:
        if self.fails == "on_stop":
            raise ValueError("in on_stop")


class EndsWithTask(Ends):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


class EndsLate(Ends):
    async def on_stop(self, reason: object) -> None:
        await trio.sleep(1)
        super().on_stop(reason)


@pytest.mark.parametrize("actor", [Ends, EndsWithTask, EndsLate])
@pytest.mark.parametrize("fails", ["", "on_stop", "handler"])
@pytest.mark.parametrize("way", ["call", "request"])
async def test_a_stop_replies(
    autojump_clock: object, caplog: pytest.LogCaptureFixture, actor: type[Ends], fails: str, way: str
) -> None:
    """S8, S9: the reply comes after `on_stop`, even if that crashes; the crash is the reason."""
    caplog.set_level(logging.CRITICAL)
    async with unharmed() as (node, me):
        ref = await node.spawn(actor, fails)
        me.monitor(ref)
        call = ref.call(Ends.finish) if way == "call" else me.request(ref, Ends.finish).receive()
        if fails == "handler":
            with pytest.raises(ProcessDied, match="in the handler"):
                await call
        else:
            assert await call == "reply"
        reason = (await me.receive(Down)).reason
        if fails:
            assert isinstance(reason, Crashed)
            assert isinstance(reason.error, ValueError)
        else:
            assert reason == NORMAL


async def test_a_killed_stop_does_not_reply(autojump_clock: object) -> None:
    """S8: a kill during `on_stop` is the end of it, and of the call."""
    async with unharmed() as (node, me):
        ref = await node.spawn(EndsLate, "")
        request = me.request(ref, Ends.finish)
        await trio.sleep(0.5)
        ref.exit(KILL)
        with pytest.raises(ProcessDied, match="killed"):
            await request.receive()
