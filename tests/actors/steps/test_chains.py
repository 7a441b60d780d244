"""Chains of processes, calls and replies of any length: each is worked off by a loop, none by recursion."""

from __future__ import annotations

import gc
import sys
from itertools import pairwise
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    CallTimeout,
    Crashed,
    Deferred,
    Down,
    Process,
    ProcessDied,
    Ref,
    Request,
    SenderDropped,
)
from enfilade.actors.messages.signals import Call
from tests.actors.steps.bystanders import Bystander, unharmed

LENGTH = 3 * sys.getrecursionlimit()


class Hop(Actor):
    """Forwards a call until none is left to go; then does what `end` says."""

    def go(self, refs: list[Ref[Hop]], left: int, end: str) -> Any:
        if left:
            deferred = self.process.defer()
            deferred.forward(refs[left % len(refs)], Hop.go, refs, left - 1, end)
            return deferred
        if end == "raise":
            raise ValueError("end")
        if end == "drop":
            self.process.defer()
            return None
        if end == "keep":
            self.kept = self.process.defer()
            return self.kept
        return "arrived"


class HopWithTask(Hop):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


async def hop_in_function(me: Process) -> None:
    while True:
        call = await me.receive(Call)
        refs, left, end = call.args
        Deferred(me, call).forward(refs[left % len(refs)], Hop.go, refs, left - 1, end)


@pytest.mark.parametrize("kinds", [[Hop], [HopWithTask], [Hop, HopWithTask, hop_in_function]])
@pytest.mark.parametrize("end", ["reply", "raise", "drop", "keep"])
async def test_forwarded_calls(autojump_clock: object, kinds: list[Any], end: str) -> None:
    """C9: a call that was forwarded any number of times ends as one that was forwarded once."""
    async with unharmed() as (node, _me):
        refs = [await node.spawn(kind) for kind in kinds]
        call = refs[0].within(1).call(Hop.go, refs, LENGTH // 3 * 3, end)
        if end == "reply":
            assert await call == "arrived"
            return
        expected = {"raise": ProcessDied, "drop": SenderDropped, "keep": CallTimeout}[end]
        with pytest.raises(expected):
            await call
        if end == "raise":
            assert sum(1 for ref in refs if ref.serial in node.processes) == len(refs) - 1


async def test_callbacks(autojump_clock: object) -> None:
    """C10: callbacks that make the next request, or the next callback of the same request."""

    class Asks(Actor):
        def __init__(self, bystander: Ref[Bystander]) -> None:
            self.bystander = bystander
            self.left = LENGTH
            self.next()

        def next(self) -> None:
            self.process.request(self.bystander, Bystander.ping).then(self._came)

        def _came(self, request: Request[str]) -> None:
            self.left -= 1
            if self.left > LENGTH // 2:
                self.next()
            elif self.left:
                request.then(self._came)

        def how_many(self) -> int:
            return self.left

    async with unharmed() as (node, _me):
        asks = await node.spawn(Asks, await node.spawn(Bystander))
        await trio.sleep(1)
        assert await asks.call(Asks.how_many) == 0


@pytest.mark.parametrize("kind", [Hop, HopWithTask, hop_in_function])
async def test_links(autojump_clock: object, kind: Any) -> None:
    """L7: the end of one ends all."""
    async with unharmed() as (node, me):
        refs = [await node.spawn(kind) for _ in range(LENGTH)]
        for one, other in pairwise(refs):
            node.processes[one.serial].link(other)
        me.monitor(refs[-1])
        refs[0].exit(Crashed(ValueError("first")))
        await me.receive(Down)
        assert not [ref for ref in refs if ref.serial in node.processes]


async def test_dropped_replies(autojump_clock: object) -> None:
    """C8: deferred replies that hold one another are dropped together."""

    class Keeps(Actor):
        def __init__(self) -> None:
            self.chain: Any = None

        def ask(self) -> Any:
            deferred = self.process.defer()
            self.chain = [deferred, self.chain]
            return deferred

        def drop(self, cycle: bool) -> None:
            if cycle:
                self.chain.append(self.chain)
            self.chain = None

    async with unharmed() as (node, me):
        for cycle in (False, True):
            keeps = await node.spawn(Keeps)
            requests = [me.request(keeps, Keeps.ask) for _ in range(LENGTH)]
            await trio.sleep(1)
            keeps.cast(Keeps.drop, cycle)
            await trio.sleep(1)
            gc.collect()
            for request in requests:
                with pytest.raises(SenderDropped):
                    await request.receive(1)
