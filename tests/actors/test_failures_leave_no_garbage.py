"""A call, start or request that fails leaves nothing for Python's garbage collector.

The error that a caller is given holds, by its traceback, the frames that it has come through. If one of
these held what holds the error (the request, or the error itself), the arguments of each failed call would
lie about until the collector runs.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    Deferred,
    Node,
    Process,
    RequestCollection,
    Supervisor,
    acknowledges_start,
    multi_call,
    open_node,
    system,
)


class Sync(Actor):
    """Fails its callers."""

    def ok(self) -> None:
        """Takes no argument."""

    def crash(self) -> None:
        raise ValueError("as asked")

    def refuse(self) -> Any:
        return self.process.refuse(LookupError("as asked"))

    def keep(self) -> Deferred[Any]:
        self.kept = self.process.defer()
        return self.kept

    def drop(self) -> None:
        self.process.defer()

    def live(self) -> Any:
        return (number for number in ())


class Async(Sync):
    async def nothing(self) -> None:
        """Makes the class an async one."""


class Other(Actor):
    def unknown(self) -> None:
        """No other class has it."""


class Unable(Actor):
    def __init__(self) -> None:
        raise ValueError("as asked")


@acknowledges_start
async def never(me: Process) -> None:
    await trio.sleep_forever()


Failing = Callable[[Node, Process, Any, type[Sync]], Awaitable[Any]]


async def _died(node: Node, me: Process, actor: Any, kind: type[Sync]) -> None:
    await (await node.spawn(kind)).call(kind.crash)


async def _dead(node: Node, me: Process, actor: Any, kind: type[Sync]) -> None:
    other = await node.spawn(kind)
    me.exit(other, KILL)
    await trio.sleep(0.01)
    await other.stop()


async def _collected(node: Node, me: Process, actor: Any, kind: type[Sync]) -> None:
    collection: RequestCollection[int] = RequestCollection()
    collection.add(me.request(actor, kind.keep), 1)
    await collection.receive(1.0)


async def _many(node: Node, me: Process, actor: Any, kind: type[Sync]) -> None:
    _, failures = await multi_call([actor], kind.keep, timeout=1.0)
    raise LookupError(len(failures))


async def _child(node: Node, me: Process, actor: Any, kind: type[Sync]) -> None:
    supervisor = await node.spawn(Supervisor, [Child(kind, id="child")])
    try:
        await supervisor.call(Supervisor.restart_child, "child")
    finally:
        await supervisor.stop()


def _broken(state: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("as asked")


FAILURES: dict[str, Failing] = {
    "a call out of time": lambda node, me, actor, kind: actor.within(1.0).call(kind.keep),
    "a request out of time": lambda node, me, actor, kind: me.request(actor, kind.keep).receive(1.0),
    "an error for an answer": lambda node, me, actor, kind: actor.call(kind.refuse),
    "the same, to a request": lambda node, me, actor, kind: me.request(actor, kind.refuse).receive(),
    "a dropped answer": lambda node, me, actor, kind: actor.call(kind.drop),
    "a live answer": lambda node, me, actor, kind: actor.call(kind.live),
    "an unknown method": lambda node, me, actor, kind: actor.call(Other.unknown),
    "bad arguments": lambda node, me, actor, kind: actor.call(kind.ok, 1),
    "a crash": _died,
    "a dead process": _dead,
    "a collection out of time": _collected,
    "many calls out of time": _many,
    "a system message": lambda node, me, actor, kind: system.replace_state(actor, _broken),
    "a refused request of a supervisor": _child,
    "a failed start": lambda node, me, actor, kind: node.spawn(Unable),
    "a start out of time": lambda node, me, actor, kind: node.spawn(never, timeout=1.0),
    "a failed start of a child": lambda node, me, actor, kind: node.spawn(Supervisor, [Child(Unable)]),
}


async def _fails(failing: Failing, *given: Any) -> None:
    try:
        await failing(*given)
    except Exception:
        return
    raise AssertionError("expected an error")


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_leaves_no_garbage(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, name: str, kind: type[Sync]
) -> None:
    """Issue 10, item 8: what has failed is gone with its error, by reference counts alone."""
    caplog.set_level(logging.CRITICAL, "enfilade")  # caplog keeps the errors that it sees
    async with open_node("node") as node, node.mailbox() as me:
        actor = await node.spawn(kind)
        given = FAILURES[name], node, me, actor, kind
        await _fails(*given)  # what is made once, and kept, is made now
        await trio.sleep(1.0)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await _fails(*given)
            await trio.sleep(1.0)
            gc.collect()
            left = [type(each).__name__ for each in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert not left
